"""Several processes that share one schedule: deals it out, gathers their records, merges what they measured.

It does not know how workers are reached: `Workers` does, over pipes (`workers`) or Locust's messages. A worker that
dies, falls silent or says nonsense ends the run as invalid: what it had to send has no record. Needs gevent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter_ns
from typing import Any, Final, Protocol

from gevent.event import Event

from loadtest.carrier import Job, Keep
from loadtest.own_figures import OwnFigures
from loadtest.profile import Profile
from loadtest.schedule import Schedule
from serving.errors import CannotObserve
from serving.facts.traffic import read_request

START_S: Final = 60.0
SILENT_S: Final = 20.0
LOOK_S: Final = 0.5

OnReport = Callable[[int, Any], None]
OnEnd = Callable[[int, str], None]


class Workers(Protocol):
    """Reaches the workers of a run, which count from 0."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def clock_uncertainty_ms(self) -> float | None:
        """How well the workers' clocks are known, at worst; None where they have one clock."""

    def begin(self, job: Job, shares: list[Profile], on_report: OnReport, on_end: OnEnd) -> None:
        """Get the workers ready, each with its share of the profile's bounds; from now on tell what they say."""

    def send(self, worker: int, order: dict[str, Any]) -> None:
        """Give an order. A worker that cannot get it shows as one that has ended."""

    def clock_ns(self, worker: int, at_ns: int) -> int:
        """A moment of our perf_counter on the worker's."""

    def check(self) -> None:
        """See whether they are still there, where that does not show by itself."""

    def clocks(self) -> None:
        """Measure their clocks, where they have their own."""

    def drop(self, worker: int) -> None:
        """End a worker that cannot be used any more."""

    def close(self) -> None:
        """Let all of them go, and wait until they are gone."""


@dataclass
class _Member:
    state: str = "beginning"
    heard_s: float = field(default_factory=time.monotonic)
    started: int = 0
    in_flight: int = 0
    lag_ms: float | None = None
    measured: OwnFigures | None = None
    gone: str | None = None


class Crew:
    """Carries out schedules with several processes, as `Engine` does with one.

    `keep` gets each record and its line, `trouble` why the run is not worth going on with; `stop` ends it early.
    """

    def __init__(self, job: Job, workers: Workers, keep: Keep, stop: Event, trouble: Callable[[str], None]) -> None:
        self._job, self._workers, self._keep, self._stop, self._trouble = job, workers, keep, stop, trouble
        self._members: list[_Member] = []
        self._shards: list[Schedule] = []
        self._news = Event()
        self._crash: Exception | None = None
        self.dispatcher: _Gauges | None = None

    @property
    def clock_uncertainty_ms(self) -> float | None:
        """How well the workers' clocks are known, at worst; None where they have one clock."""
        return self._workers.clock_uncertainty_ms

    def prepare(self, schedule: Schedule) -> None:
        """Start the workers, if they are not yet, and let each open its connections. Raises CannotAct."""
        count = self._workers.count
        if not self._members:
            self._members = [_Member() for _ in range(count)]
            shares = [_share(self._job.profile, worker, count) for worker in range(count)]
            self._workers.begin(self._job, shares, self._heard, self._ended)
            self._wait("ready", START_S)
        self._shards = [_shard(schedule, worker, count) for worker in range(count)]
        for worker, shard in enumerate(self._shards):
            self._order(worker, {"do": "prepare", "schedule": shard})
        self._wait("prepared", START_S)

    def carry_out(
        self, schedule: Schedule, begin_ns: int, *, run_origin_ns: int | None = None, phase_offset: int = 0
    ) -> OwnFigures:
        """Carry out what was prepared, and wait for all workers. Raises what `keep` raised."""
        origin_ns = begin_ns if run_origin_ns is None else run_origin_ns
        cpu_s = time.process_time()
        self.dispatcher = _Gauges(self._members, begin_ns)
        for worker, member in enumerate(self._members):
            if member.gone is None:
                member.state, member.started, member.measured = "working", 0, None
            clock_ns = self._workers.clock_ns
            order = {"begin_ns": clock_ns(worker, begin_ns), "origin_ns": clock_ns(worker, origin_ns)}
            self._order(worker, {"do": "carry_out", "phase_offset": phase_offset, **order})
        self._wait("done", None)
        if self._crash is not None:
            raise self._crash
        if not self._stop.is_set():
            self._workers.clocks()
            if (gone := self._gone()) is not None:
                self._trouble(gone)
        measured = OwnFigures()
        for member in self._members:
            if member.measured is not None:
                measured.merge(member.measured)
        measured.cpu_s += time.process_time() - cpu_s
        return measured

    def close(self) -> None:
        """Let the workers go."""
        if self._members:
            self._workers.close()

    def _order(self, worker: int, order: dict[str, Any]) -> None:
        member = self._members[worker]
        if member.gone is None:
            member.heard_s = time.monotonic()
            self._workers.send(worker, order)

    def _wait(self, state: str, within_s: float | None) -> None:
        """Wait until all workers that are left are in this state. Whoever goes on the way stops the run."""
        give_up_s = None if within_s is None else time.monotonic() + within_s
        told = False
        while any(member.gone is None and member.state != state for member in self._members):
            if (gone := self._gone()) is not None:
                self._trouble(gone)
            if self._stop.is_set() and not told:
                told = True
                for worker in range(len(self._members)):
                    self._order(worker, {"do": "stop"})
                if state != "done":
                    return
            self._news.wait(LOOK_S)
            self._news.clear()
            self._workers.check()
            now_s = time.monotonic()
            for worker, member in enumerate(self._members):
                if member.gone is not None or member.state == state:
                    continue
                if give_up_s is not None and now_s > give_up_s:
                    self._lose(worker, f"was not {state} within {within_s:g} s")
                elif give_up_s is None and now_s > member.heard_s + SILENT_S:
                    self._lose(worker, f"was silent for {SILENT_S:g} s")
        if (gone := self._gone()) is not None:
            self._trouble(gone)

    def _gone(self) -> str | None:
        for worker, member in enumerate(self._members):
            if member.gone is not None:
                return f"worker {worker + 1} {member.gone}"
        return None

    def _lose(self, worker: int, why: str) -> None:
        self._workers.drop(worker)
        self._ended(worker, why)

    def _ended(self, worker: int, why: str) -> None:
        """A worker is not there any more."""
        member = self._members[worker]
        if member.gone is None:
            member.gone, member.in_flight = why, 0
            self._news.set()

    def _heard(self, worker: int, report: Any) -> None:
        member = self._members[worker]
        if member.gone is not None:
            return
        member.heard_s = time.monotonic()
        try:
            self._take(worker, member, report)
        except (KeyError, TypeError, ValueError, AttributeError, CannotObserve) as error:
            self._lose(worker, f"said what makes no sense ({type(error).__name__})")
        if member.state != "working":
            self._news.set()

    def _take(self, worker: int, member: _Member, report: Any) -> None:
        match report["is"]:
            case "news":
                member.started, member.in_flight = int(report["started"]), int(report["in_flight"])
                if report["lag_ms"] is not None:
                    member.lag_ms = max(member.lag_ms or 0.0, float(report["lag_ms"]))
                self._record(worker, report["lines"].splitlines())
            case "done":
                member.measured = OwnFigures.of_document(report["measured"])
                member.state = "done"
                if report["stopped"] and not self._stop.is_set():
                    self._trouble(f"worker {worker + 1} was stopped")
            case "failed":
                self._lose(worker, f"could not go on: {report['why']}")
            case "ready" | "prepared":
                member.state = report["is"]
            case other:
                raise ValueError(other)

    def _record(self, worker: int, lines: list[str]) -> None:
        shard = self._shards[worker]
        for line in lines:
            seen = read_request(line, f"worker {worker + 1}")
            if seen.index < shard.first or (seen.index - shard.first) % shard.stride:
                raise ValueError(f"a record of request {seen.index}, which is not this worker's")
            if self._crash is not None:
                return
            try:
                self._keep(seen, line)
            except Exception as error:  # noqa: BLE001 - raised again by carry_out, where it can be told
                self._crash = error
                self._stop.set()
                self._news.set()


class _Gauges:
    """How all workers together fare."""

    def __init__(self, members: list[_Member], begin_ns: int) -> None:
        self._members, self._begin_ns = members, begin_ns

    @property
    def in_flight(self) -> int:
        """Streams that are open now."""
        return sum(member.in_flight for member in self._members)

    @property
    def started(self) -> int:
        """Requests that were begun."""
        return sum(member.started for member in self._members)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start of the schedule."""
        return max(0.0, (perf_counter_ns() - self._begin_ns) / 1e9)

    def worst_lag_ms(self) -> float | None:
        """How late the worst of the workers' event loops was since this was last asked."""
        lags = [member.lag_ms for member in self._members if member.lag_ms is not None]
        for member in self._members:
            member.lag_ms = None
        return max(lags, default=None)


def _share(profile: Profile, worker: int, workers: int) -> Profile:
    """The profile of one worker: its part of the bound on open streams."""
    most = profile.max_in_flight
    return profile.model_copy(update={"max_in_flight": most // workers + (worker < most % workers)})


def _shard(schedule: Schedule, worker: int, workers: int) -> Schedule:
    """Its part of the schedule; what its phases say of the rate is its part too, which sizes its connection pool."""
    shard = schedule.shard(worker, workers)
    phases = (
        replace(phase, rate_per_s=None if phase.rate_per_s is None else phase.rate_per_s / workers)
        for phase in shard.phases
    )
    return replace(shard, phases=tuple(phases))
