"""Carries out schedules in this process: prompts to bytes, bytes to the wire, the wire to a record.

It is what a run, a probe of a sweep and each worker have in common. It judges nothing and writes nothing: each record
goes to `on_record`. Needs gevent.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final

from gevent.event import Event

from loadtest.dispatcher import Dispatcher
from loadtest.outcome import Reading
from loadtest.own_figures import OwnFigures
from loadtest.pool import Pool
from loadtest.profile import Profile
from loadtest.prompts.draws import drawn
from loadtest.prompts.prompt import Prompt, Prompts, sane
from loadtest.request import Requests
from loadtest.schedule import Schedule
from loadtest.settler import Settler
from loadtest.target import Served, Target
from loadtest.transport import Limits, Wire, exchange
from serving.facts.traffic import RequestSeen

SPARE: Final = 8
MOST_PREPARED: Final = 256
SIDES: Final = 0x5BD1  # keeps the draw of sides apart from every other draw of the seed

Watch = Callable[[RequestSeen], None]


@dataclass(frozen=True)
class Arm:
    """An endpoint under load: the only one (no name), or a side of an A/B run."""

    target: Target
    served: Served
    name: str = ""


class Engine:
    """Loads one endpoint, or two interleaved ones. `stop` ends it early; it can carry out schedules one by one."""

    def __init__(
        self,
        profile: Profile,
        arms: tuple[Arm, ...],
        prompts: Prompts,
        seed: int,
        on_record: Watch,
        stop: Event,
    ) -> None:
        self._profile, self._arms, self._prompts, self._seed = profile, arms, prompts, seed
        self._on_record, self._stop = on_record, stop
        self._limits = Limits(**profile.timeouts.model_dump())
        self._requests = [Requests(arm.target, arm.served, profile) for arm in arms]
        self._pools = [
            Pool(arm.target.peer, profile.timeouts.connect_s, spare=SPARE, reuse=profile.connections == "reuse")
            for arm in arms
        ]
        self._asked: dict[int, Prompt] = {}
        self.dispatcher: Dispatcher | None = None

    def prepare(self, schedule: Schedule) -> None:
        """Open connections ahead: as many as will be in flight, as far as that is known."""
        for pool in self._pools:
            pool.prepare(min(_most_open(schedule), self._profile.max_in_flight, MOST_PREPARED))
        gc.collect()  # now, and not when the first requests are due

    def carry_out(
        self, schedule: Schedule, begin_ns: int, *, run_origin_ns: int | None = None, phase_offset: int = 0
    ) -> OwnFigures:
        """Carry out a schedule that begins at a moment of perf_counter, and wait for its streams.

        Records count their times from `run_origin_ns`, where the schedule is a part of a longer run, and their phases
        from `phase_offset`. Raises what `on_record` raised.
        """
        measured = OwnFigures()
        origin_ns = begin_ns if run_origin_ns is None else run_origin_ns
        now = _Now(schedule, origin_ns, (begin_ns - origin_ns) / 1e9, phase_offset, measured)
        settler = Settler(lambda *settled: self._record(now, *settled), self._stop.set)
        dispatcher = Dispatcher(
            lambda index, due_s, wire: self._send(schedule, index, wire),
            settler.put,
            self._stop,
            max_in_flight=self._profile.max_in_flight,
            drain_s=self._profile.drain_s,
            origin_ns=begin_ns,
        )
        self.dispatcher = dispatcher
        cpu_s = time.process_time()
        gc.freeze()  # what is here now stays: no collection during the run needs to look at it again
        try:
            dispatcher.walk(schedule)
            settler.finish()
        finally:
            gc.unfreeze()
        measured.cpu_s = time.process_time() - cpu_s
        measured.core_share = measured.cpu_s / max(dispatcher.elapsed_s, 1e-9)
        measured.loop_lag.merge(dispatcher.loop_lag_ms)
        measured.settle()
        return measured

    def close(self) -> None:
        """Close the idle connections."""
        for pool in self._pools:
            pool.close()

    def _send(self, schedule: Schedule, index: int, wire: Wire) -> None:
        side = self._side(index)
        length = schedule.length_of(index)
        self._asked[index] = prompt = self._prompts.prompt_of(self._prompt(index))
        request = self._requests[side].bytes_of(
            prompt,
            f"warmgate-{self._seed}-{index}",
            None if length is None else length.output_tokens,
        )
        exchange(self._arms[side].target.peer, request, self._limits, wire, self._pools[side])

    def _record(self, now: _Now, index: int, due_s: float, wire: Wire, reading: Reading) -> None:
        prompt = self._asked.pop(index, None) or self._prompts.prompt_of(self._prompt(index))
        seen = reading.record(
            index,
            prompt.id,
            due_s + now.shift_s,
            now.origin_ns,
            phase=now.phase_offset + now.schedule.phase_of(due_s),
            arm=self._arms[self._side(index)].name,
            check=lambda answer: sane(prompt, answer),
        )
        now.measured.take(wire, seen.chunks, reading.coalesced)
        self._on_record(seen)

    def _side(self, index: int) -> int:
        """Which endpoint: of each two requests one goes to each, a coin decides which, so neither is always first."""
        if len(self._arms) == 1:
            return 0
        return (index + drawn(self._seed, index // 2, SIDES)) % 2

    def _prompt(self, index: int) -> int:
        """The number of the prompt: both sides of a pair are asked the same."""
        return index if len(self._arms) == 1 else index // 2


@dataclass(frozen=True)
class _Now:
    """What the records of the schedule at hand need."""

    schedule: Schedule
    origin_ns: int
    shift_s: float
    phase_offset: int
    measured: OwnFigures


def _most_open(schedule: Schedule) -> int:
    if schedule.closed:
        return max(phase.concurrency or 0 for phase in schedule.phases) + 1
    rates = [phase.rate_per_s for phase in schedule.phases if phase.rate_per_s is not None]
    return SPARE + ceil(2 * max(rates, default=8.0))
