"""One load run from a profile to its Traffic: preflight, schedule, dispatch, ledger. Both shells call `Run`.

It decides nothing about the result; `report` and serving.judge.slo do. Needs sockets that gevent has patched.
"""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import SystemRandom
from typing import Final

from gevent.event import Event

from loadtest.dispatcher import Dispatcher
from loadtest.ledger import Ledger
from loadtest.outcome import settle
from loadtest.profile import ClosedLoop, Profile
from loadtest.prompts.counting import counter_of
from loadtest.prompts.prepare import prepare
from loadtest.schedule import arrivals
from loadtest.target import Served, Target, completion_request, find_model
from loadtest.transport import Limits, Wire, exchange
from serving import __version__
from serving.errors import CannotAct, Refused
from serving.facts.quantiles import quantile
from serving.facts.traffic import SCHEMA, LoadPlan, RequestSeen, RunEnd, RunPlan, Traffic

SEEDS: Final = 2**31
Watch = Callable[[RequestSeen], None]


@dataclass
class Run:
    """A run that can be watched and stopped while `perform` is at work; `preflight` comes first.

    `on_record` gets every record as it is made.
    """

    name: str
    profile: Profile
    target: Target
    model: str | None
    on_record: Watch = lambda _: None
    requests: list[RequestSeen] = field(default_factory=list)
    dispatcher: Dispatcher | None = None
    interrupted: str | None = None
    planned: int | None = None
    _served: Served | None = None
    _stop: Event = field(default_factory=Event)

    def stop(self, why: str) -> None:
        """End the run now: open streams are cut and recorded as censored, and the run is not judged."""
        self.interrupted = self.interrupted or why
        self._stop.set()

    def preflight(self) -> str:
        """Find the model to load and return its name. Raises CannotObserve: nothing was sent, nothing was written."""
        self._served = find_model(self.target, self.model, self.profile.timeouts.connect_s)
        return self._served.model

    def perform(self, ledger_path: Path) -> Traffic:
        """Load the endpoint as the profile says. Raises CannotAct when the ledger cannot be written."""
        served = self._served
        if served is None:
            raise CannotAct("a run needs its preflight first")
        load = self.profile.load
        seed = load.seed if load.seed is not None else SystemRandom().randrange(SEEDS)
        due = () if isinstance(load, ClosedLoop) else arrivals(load.arrivals, load.rate_rps, load.duration_s, seed)
        self.planned = load.closed_loop.requests if isinstance(load, ClosedLoop) else len(due)
        plan = self._plan(served, seed)
        with Ledger(ledger_path, plan) as ledger:
            dispatcher = self._dispatcher(served, seed, ledger)
            self.dispatcher = dispatcher
            cpu = time.process_time()
            gc.collect()
            gc.freeze()  # what is here now stays: no collection during the run needs to look at it again
            try:
                if isinstance(load, ClosedLoop):
                    loop = load.closed_loop
                    dispatcher.closed_loop(loop.concurrency, loop.duration_s, loop.requests)
                else:
                    dispatcher.open_loop(due)
            finally:
                gc.unfreeze()
            end = RunEnd(
                records=ledger.records,
                elapsed_s=dispatcher.elapsed_s,
                interrupted=self.interrupted,
                loop_lag_ms=_lags(dispatcher.loop_lag_s),
                cpu_s=time.process_time() - cpu,
            )
            ledger.finish(end)
        return Traffic(plan, tuple(self.requests), end)

    def _dispatcher(self, served: Served, seed: int, ledger: Ledger) -> Dispatcher:
        shape, limits = self.profile.prompts, Limits(**self.profile.timeouts.model_dump())
        counter = counter_of(self.target, served.model) if shape.tokens is not None else None
        prompts = prepare(shape, seed, counter, max_tokens=self.profile.max_tokens).prompts

        def send(index: int, wire: Wire) -> None:
            name = f"warmgate-{seed}-{index}"
            request = completion_request(self.target, served, self.profile, prompts.prompt_of(index).text, name)
            exchange(self.target.peer, request, limits, wire)

        def record(index: int, due_s: float, wire: Wire) -> None:
            seen = settle(index, prompts.prompt_of(index).id, due_s, wire, dispatcher.origin_ns)
            ledger.add(seen)
            self.requests.append(seen)
            self.on_record(seen)

        dispatcher = Dispatcher(
            send, record, self._stop, max_in_flight=self.profile.max_in_flight, drain_s=self.profile.drain_s
        )
        return dispatcher

    def _plan(self, served: Served, seed: int) -> RunPlan:
        load, warmup_s = self.profile.load, self.profile.warmup_s
        if isinstance(load, ClosedLoop):
            loop = load.closed_loop
            plan = LoadPlan(
                "closed_loop", seed, self.planned, None, loop.duration_s, loop.concurrency, warmup_s=warmup_s
            )
        else:
            plan = LoadPlan(load.arrivals, seed, self.planned, load.rate_rps, load.duration_s, warmup_s=warmup_s)
        return RunPlan(
            schema=SCHEMA,
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            profile=self.name,
            base_url=self.target.base_url,
            model=served.model,
            load=plan,
            versions=_versions(),
        )


def new_directory(out: Path | None) -> Path:
    """Make the report's directory: `out`, or a new one under reports/ that the link reports/latest then names."""
    named = out is not None
    path = out if out is not None else Path("reports") / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    try:
        if named:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path = _fresh(path)
        if (path / "ledger.jsonl").exists():
            raise Refused(f"{path} already holds a report: give another --out")
        if not named:
            _point(path.parent / "latest", path.name)
    except OSError as error:
        raise CannotAct(f"cannot write {path}: {error.strerror}: give another --out") from error
    return path


def _fresh(path: Path) -> Path:
    """Make this directory, or one with a number after it where two runs began in one second."""
    for number in range(1, 100):
        candidate = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            candidate.mkdir(parents=True)
        except FileExistsError:
            continue
        return candidate
    raise CannotAct(f"{path} and its like exist already: give --out")


def _point(link: Path, name: str) -> None:
    """Let the link name the newest report, at once: never is there none. What is not a link is left alone."""
    if link.exists() and not link.is_symlink():
        return
    new = link.with_name(f".latest-{name}")
    new.symlink_to(name)
    new.replace(link)


def _lags(lags_s: list[float]) -> dict[str, float] | None:
    if not lags_s:
        return None
    found = {"p50": quantile(lags_s, 0.5), "p99": quantile(lags_s, 0.99), "max": max(lags_s)}
    return {name: round(lag * 1e3, 3) for name, lag in found.items()}


def _versions() -> dict[str, str]:
    found = {"warmgate": __version__, "python": platform.python_version()}
    for name in ("gevent", "locust"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
