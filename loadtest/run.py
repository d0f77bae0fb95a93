"""One load run from a profile to its Traffic: preflight, prompts, schedule, dispatch, ledger. All shells call `Run`.

It decides nothing about the result; `conclude` and serving.judge do. Needs gevent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from time import perf_counter_ns
from typing import Any, Final

import gevent
from gevent.event import Event

from loadtest.account import end_of, head_of
from loadtest.carrier import Carrier, Job, Keep
from loadtest.crew import Crew
from loadtest.document_parts import Swept
from loadtest.engine import Arm, Engine
from loadtest.ledger import Ledger
from loadtest.live import Recent
from loadtest.load import Sweep
from loadtest.own_figures import OwnFigures
from loadtest.plan import schedule_of
from loadtest.profile import Profile
from loadtest.prompts.counting import Counter, counter_of
from loadtest.prompts.prepare import Prepared, prepare
from loadtest.prompts.synthetic import nothing_recorded
from loadtest.schedule import Schedule
from loadtest.sweeping import Sweeper
from loadtest.target import Target, find_model
from loadtest.telemetry.files import HARNESS_FILE, SAMPLES_FILE, HarnessRows, open_telemetry
from loadtest.telemetry.options import asks_of
from loadtest.telemetry.sampler import Sampler
from loadtest.workers import Processes
from serving.errors import CannotAct, CannotObserve
from serving.facts.telemetry import Telemetry
from serving.facts.traffic import Phase, RequestSeen, RunPlan, Traffic
from serving.judge.telemetry import blind_gates

SEEDS: Final = 2**31
LEAD_NS: Final = 250_000_000  # by then the other processes of the run know when it begins
LEDGER: Final = "ledger.jsonl"
BASELINE, CANDIDATE = "baseline", "candidate"

Watch = Callable[[RequestSeen], None]
MakeCarrier = Callable[[Job, Keep, Event, Callable[[str], None]], Carrier]


def carrier_of(job: Job, keep: Keep, stop: Event, trouble: Callable[[str], None]) -> Carrier:
    """This process, or as many as the profile says."""
    workers = job.profile.workers
    if workers == 1:
        return Engine(job.profile, job.arms, job.prompts, job.seed, keep, stop)
    return Crew(job, Processes(workers), keep, stop, trouble)


@dataclass
class Run:
    """A run that can be watched and stopped while `perform` is at work; `preflight` comes first.

    `on_record` gets every record as it is made, `say` each line for the person who waits. `candidate` makes it an A/B
    run: its requests are interleaved with those to `target`, the baseline. `gone` says afterwards why an endpoint that
    answered at first did so no longer.
    """

    name: str
    profile: Profile
    target: Target
    model: str | None
    on_record: Watch = lambda _: None
    say: Callable[[str], None] = lambda _: None
    candidate: Target | None = None
    candidate_model: str | None = None
    ca_cert: Path | None = None
    carrier_of: MakeCarrier = carrier_of
    requests: list[RequestSeen] = field(default_factory=list)
    interrupted: str | None = None
    schedule: Schedule | None = None
    swept: Swept | None = None
    telemetry: Telemetry | None = None
    gone: str | None = None
    carrier: Carrier | None = None
    phases: list[Phase] = field(default_factory=list)
    origin_ns: int | None = None
    recent: Recent = field(init=False)
    _arms: tuple[Arm, ...] = ()
    _stop: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self.recent = Recent(self.profile.slos)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start of the run; 0 before it."""
        return 0.0 if self.origin_ns is None else max(0.0, (perf_counter_ns() - self.origin_ns) / 1e9)

    def stop(self, why: str) -> None:
        """End the run now: open streams are cut and recorded as censored, and the run is not judged."""
        self.interrupted = self.interrupted or why
        self._stop.set()

    def preflight(self) -> str:
        """Find the models to load and say which. Raises CannotObserve: nothing was sent, nothing was written."""
        connect_s = self.profile.timeouts.connect_s
        served = find_model(self.target, self.model, connect_s)
        if self.candidate is None and self.candidate_model is None:
            self._arms = (Arm(self.target, served),)
            return served.model
        other = self.candidate or self.target
        compared = find_model(other, self.candidate_model or self.model, connect_s)
        self._arms = (Arm(self.target, served, BASELINE), Arm(other, compared, CANDIDATE))
        return f"{served.model}, against {compared.model} at {other.base_url}"

    def perform(self, directory: Path) -> Traffic:
        """Load the endpoint as the profile says. Raises CannotAct when the ledger cannot be written."""
        if not self._arms:
            raise CannotAct("a run needs its preflight first")
        load = self.profile.load
        seed = load.seed if load.seed is not None else SystemRandom().randrange(SEEDS)
        if not isinstance(load, Sweep):
            self.schedule = schedule_of(self.profile, seed)
            self.phases = list(self.schedule.phases)
        prepared = self._prompts(seed)
        plan = head_of(
            self.name, self.profile, self._arms, self.schedule, seed, datetime.now(UTC).isoformat(timespec="seconds")
        )
        with Ledger(directory / LEDGER, plan) as ledger:

            def keep(seen: RequestSeen, line: str | None = None) -> None:
                ledger.add(seen, line)
                self.requests.append(seen)
                self.recent.take(seen)
                self.on_record(seen)

            calibration, schedule = prepared.calibration, self.schedule
            costs = None if calibration is None else calibration.costs
            lengths = None if schedule is None else schedule.lengths
            job = Job(self.profile, self._arms, prepared.prompts, seed, costs, lengths)
            self.carrier = carrier = self.carrier_of(job, keep, self._stop, self.stop)
            measured = self._carry_out(carrier, plan, seed, directory)
            end = end_of(
                self.requests,
                measured,
                prepared,
                arms=len(self._arms),
                elapsed_s=self.elapsed_s,
                interrupted=self.interrupted,
                workers=self.profile.workers,
                clock_uncertainty_ms=carrier.clock_uncertainty_ms if isinstance(carrier, Crew) else None,
                phases=() if self.schedule is not None else tuple(self.phases),
            )
            ledger.finish(end)
        self.telemetry = open_telemetry(directory)
        self.gone = None if self.interrupted else self._gone()
        return Traffic(plan, tuple(self.requests), end)

    def _gone(self) -> str | None:
        """Why an endpoint no longer serves its model now that the load has ended; None when all do."""
        for arm in self._arms:
            try:
                find_model(arm.target, arm.served.model, self.profile.timeouts.connect_s)
            except CannotObserve as error:
                return str(error)
        return None

    def _carry_out(self, carrier: Carrier, plan: RunPlan, seed: int, directory: Path) -> OwnFigures:
        """Do it; returns what the harness measured of itself."""
        try:
            with self._sampled(carrier, directory) as begin:
                if self.schedule is not None:
                    carrier.prepare(self.schedule)
                    return carrier.carry_out(self.schedule, begin())
                origin_ns = begin()
                sweeper = Sweeper(self.profile, carrier, plan, seed, origin_ns, self._stop, self.say)
                self.phases = sweeper.phases
                self.swept, measured = sweeper.search(self.requests)
                return measured
        finally:
            carrier.close()

    @contextmanager
    def _sampled(self, carrier: Carrier, directory: Path) -> Iterator[Callable[[], int]]:
        """Telemetry while the context is open; what it gives begins the run and returns its origin."""
        asks = asks_of(self.profile.telemetry, self.target.base_url)
        sampler = Sampler(asks, directory / SAMPLES_FILE, ca_cert=self.ca_cert)
        rows: list[HarnessRows] = []
        watching: list[Any] = []

        def begin() -> int:
            self.origin_ns = origin_ns = perf_counter_ns() + LEAD_NS
            sampler.start(origin_ns)
            rows.append(HarnessRows(directory / HARNESS_FILE, origin_ns))
            watching.append(gevent.spawn(_watch, carrier, rows[0]))
            return origin_ns

        try:
            first = sampler.prepare()
            for note in first.notes:
                self.say(note)
            for blind in blind_gates(first.telemetry, self.profile.telemetry_gates):
                raise CannotObserve(blind)
            yield begin
        finally:
            gevent.killall(watching)
            for open_rows in rows:
                open_rows.close()
            problem = sampler.stop()
            if problem is not None:
                self.say(problem)

    def _prompts(self, seed: int) -> Prepared:
        prepared = self._counted(seed)
        if prepared.calibration is not None and prepared.calibration.approximated:
            self.say(f"prompt lengths are approximate: {prepared.calibration.why}")
        planned, distinct = None if self.schedule is None else self.schedule.planned, prepared.prompts.distinct
        if planned is not None and distinct is not None and distinct * len(self._arms) < planned:
            self.say(f"the {distinct} prompts will be asked again: the server may answer them out of its prefix cache")
        return prepared

    def _counted(self, seed: int) -> Prepared:
        """The prompts, their tokens counted by the server; who stops the run does not wait for that."""
        watcher = gevent.spawn(_interrupt, gevent.getcurrent(), self._stop)
        baseline, tokens = self._arms[0], self.profile.prompts.tokens
        try:
            try:
                counter = None if tokens is None else counter_of(baseline.target, baseline.served.model)
                return self._prepared(seed, counter)
            finally:
                watcher.kill()
        except _Stopped:
            return self._prepared(seed, None)

    def _prepared(self, seed: int, counter: Counter | None) -> Prepared:
        return prepare(
            self.profile.prompts,
            seed,
            counter,
            recorded=self.schedule.length_of if self.schedule is not None else nothing_recorded,
            max_tokens=self.profile.max_tokens,
        )


class _Stopped(Exception):
    """Raised into a wait that is not worth going on with."""


def _interrupt(waiting: Any, stop: Event) -> None:
    stop.wait()
    waiting.throw(_Stopped())


def _watch(carrier: Carrier, rows: HarnessRows) -> None:
    """Write down once a second how the harness itself fares."""
    while True:
        gevent.sleep(1.0)
        dispatcher = carrier.dispatcher
        if dispatcher is not None:
            rows.sample(lag_ms=dispatcher.worst_lag_ms(), in_flight=dispatcher.in_flight)
