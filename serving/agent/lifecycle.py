"""The life of one model server as a pure state machine: `step(life, event, rules) -> (life, effects)`.

It decides what state the model is in, whether it may receive traffic, and what must be done about it. It never looks at
a clock, a socket or a process: time arrives in the events (seconds of a monotonic clock), effects are carried out by
serving/agent/run.py. Readiness needs proof: no state but READY is ready, and READY needs finished warm-up generations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from serving.agent.events import (
    CoreLost,
    Effect,
    EngineExited,
    EngineReachable,
    Event,
    Exit,
    GpuSampled,
    KillEngine,
    PhaseSeen,
    ProbeAnswered,
    ProbeFailed,
    Sampled,
    SampleFailed,
    SendProbe,
    StartWarmup,
    TermEngine,
    TermRequested,
    Tick,
    WarmupFailed,
    WarmupFinished,
)
from serving.facts.model import State

LOADING_ORDER: Final = (State.STARTING, State.DOWNLOADING, State.LOADING, State.COMPILING)
SERVING: Final = frozenset({State.WARMING, State.READY, State.SLEEPING, State.STALLED, State.OVER_BUDGET})
HISTORY: Final = 100
ENDED: Final = frozenset({State.FAILED, State.STOPPED})


@dataclass(frozen=True)
class Rules:
    """The bounds that the machine keeps, in seconds."""

    expected_name: str
    startup_timeout_s: float = 1800.0
    stall_after_s: float = 30.0
    probe_every_s: float = 10.0
    restart_after_s: float = 300.0
    warmup_retry_s: float = 2.0
    lame_duck_s: float = 5.0
    drain_s: float = 60.0
    kill_margin_s: float = 2.0
    loading_end_s: float = 3.0
    linger_s: float = 10.0
    gpu_min_free_bytes: int = 0


@dataclass(frozen=True)
class Change:
    """One transition, on the machine's clock."""

    at: float
    source: State
    target: State
    reason: str


@dataclass(frozen=True)
class Life:
    """Everything the machine remembers. `since` is when `state` was entered; `reason` may change while it lasts."""

    born: float
    state: State = State.STARTING
    reason: str = "the engine process is starting"
    since: float = 0.0
    history: tuple[Change, ...] = ()  # the last HISTORY changes
    spent: Mapping[State, float] = field(
        default_factory=lambda: MappingProxyType({})
    )  # seconds in each state that was left
    served_names: tuple[str, ...] = ()
    progress: tuple[float, ...] = ()
    holding: int = 0
    proof_at: float = 0.0  # when the engine last proved that it moves
    sampled_at: float = 0.0  # when its metrics were last readable
    probe_at: float | None = None  # when the last probe was sent
    probe_open: bool = False  # that probe has neither answer nor error yet
    unanswered_since: float | None = None  # when the first probe without an answer was sent
    warm: bool = False  # the warm-up is done, since the start or the last sleep
    was_ready: bool = False
    warmup_retry_at: float | None = None
    deadline: float | None = None  # when the state must end by itself: see _on_tick
    term_sent: bool = False
    over_budget: str = ""  # why GPU memory is out of budget, empty when it is not

    @property
    def ready(self) -> bool:
        """Whether traffic may come."""
        return self.state is State.READY

    def live(self, now: float, rules: Rules) -> bool:
        """Whether a restart would not help: false when failed, or stalled for longer than `restart_after_s`."""
        if self.state is State.STALLED:
            return now - self.since < rules.restart_after_s
        return self.state is not State.FAILED


def begin(now: float) -> Life:
    """A life that starts now."""
    return Life(born=now, since=now, proof_at=now, sampled_at=now)


Result = tuple[Life, list[Effect]]


def step(life: Life, event: Event, rules: Rules) -> Result:
    """What the life is after the event, and what must be done now."""
    if life.state in ENDED and not isinstance(event, TermRequested | Tick | EngineExited):
        return life, []
    match event:
        case PhaseSeen():
            return _on_phase(life, event)
        case EngineReachable():
            return _on_reachable(life, event, rules)
        case WarmupFinished():
            return _on_warm(life, event)
        case WarmupFailed():
            if life.state is not State.WARMING:
                return life, []
            why = f"warm-up generation failed, trying again: {event.why}"
            return replace(life, reason=why, warmup_retry_at=event.at + rules.warmup_retry_s), []
        case Sampled():
            return _on_sample(life, event, rules)
        case SampleFailed():
            return _check_stall(life, event.at, rules)
        case ProbeAnswered():
            return _recover(replace(life, proof_at=event.at, probe_open=False, unanswered_since=None), event.at)
        case ProbeFailed():
            return _check_stall(replace(life, probe_open=False), event.at, rules)
        case GpuSampled():
            return _on_gpu(life, event, rules)
        case TermRequested():
            return _on_term(life, event, rules)
        case CoreLost():
            return _on_core_lost(life, event, rules)
        case EngineExited():
            return _on_exit(life, event, rules)
        case Tick():
            return _on_tick(life, event.at, rules)


def _move(life: Life, at: float, target: State, reason: str) -> Life:
    change = Change(at, life.state, target, reason)
    spent = MappingProxyType({**life.spent, life.state: life.spent.get(life.state, 0.0) + at - life.since})
    history = (*life.history, change)[-HISTORY:]
    return replace(life, state=target, reason=reason, since=at, history=history, spent=spent, deadline=None)


def _on_phase(life: Life, event: PhaseSeen) -> Result:
    if life.state not in LOADING_ORDER or event.state not in LOADING_ORDER:
        return life, []
    if LOADING_ORDER.index(event.state) > LOADING_ORDER.index(life.state):
        return _move(life, event.at, event.state, event.detail), []
    if event.state is life.state:
        return replace(life, reason=event.detail), []
    return life, []


def _on_reachable(life: Life, event: EngineReachable, rules: Rules) -> Result:
    if life.state not in LOADING_ORDER:
        return life, []
    if rules.expected_name not in event.served_names:
        served = ", ".join(repr(name) for name in event.served_names) or "nothing"
        return _fail(life, event.at, f"the engine serves {served}, expected {rules.expected_name!r}", rules)
    return _start_warmup(replace(life, served_names=event.served_names), event.at, "the engine answers; warming up")


def _start_warmup(life: Life, at: float, reason: str) -> Result:
    life = _move(life, at, State.WARMING, reason)
    life = replace(life, proof_at=at, sampled_at=at, unanswered_since=None, warm=False, warmup_retry_at=None)
    return life, [StartWarmup()]


def _on_warm(life: Life, event: WarmupFinished) -> Result:
    if life.state is not State.WARMING:
        return life, []
    life = replace(life, proof_at=event.at, sampled_at=event.at, unanswered_since=None, warm=True)
    return _admit(life, event.at, event.summary), []


def _admit(life: Life, at: float, reason: str) -> Life:
    if life.over_budget:
        return _move(life, at, State.OVER_BUDGET, life.over_budget)
    return replace(_move(life, at, State.READY, reason), was_ready=True)


def _on_sample(life: Life, event: Sampled, rules: Rules) -> Result:
    moved = event.progress != life.progress
    idle_until_now = life.holding == 0 and event.holding > 0
    life = replace(life, progress=event.progress, holding=event.holding, sampled_at=event.at)
    if moved or idle_until_now:  # a request that only now arrived gives the engine its full time to move
        life = replace(life, proof_at=event.at)
    if life.state not in SERVING:
        return life, []
    if event.asleep and life.state is not State.SLEEPING:
        return _move(life, event.at, State.SLEEPING, "the engine was put to sleep"), []
    if life.state is State.SLEEPING:
        if event.asleep:
            return life, []
        return _start_warmup(life, event.at, "the engine woke up; warming up again")
    if moved and life.state is State.STALLED:
        return _recover(life, event.at)
    return _check_stall(life, event.at, rules)


def _check_stall(life: Life, at: float, rules: Rules) -> Result:
    if life.state not in (State.WARMING, State.READY, State.OVER_BUDGET):
        return life, []
    unread = at - life.sampled_at
    if unread > rules.stall_after_s:
        return _move(life, at, State.STALLED, f"the engine's HTTP server has not answered for {unread:.0f} s"), []
    still = at - life.proof_at
    if life.holding > 0 and still > rules.stall_after_s:
        held = f"{life.holding} request{'s' if life.holding != 1 else ''}"
        return _move(life, at, State.STALLED, f"no engine iteration for {still:.0f} s while it holds {held}"), []
    if life.unanswered_since is not None and at - max(life.unanswered_since, life.proof_at) > rules.stall_after_s:
        waited = at - life.unanswered_since
        return _move(life, at, State.STALLED, f"a one-token generation got no answer for {waited:.0f} s"), []
    return life, []


def _recover(life: Life, at: float) -> Result:
    if life.state is not State.STALLED:
        return life, []
    reason = f"the engine moves again after {at - life.since:.0f} s"
    if not life.warm:
        return _start_warmup(life, at, reason)
    return _admit(life, at, reason), []


def _on_gpu(life: Life, event: GpuSampled, rules: Rules) -> Result:
    short = event.least_free_bytes < rules.gpu_min_free_bytes
    mib = 1024 * 1024
    why = f"{event.least_free_bytes // mib} MiB of GPU memory free, expected {rules.gpu_min_free_bytes // mib} MiB"
    life = replace(life, over_budget=why if short else "")
    if short and life.state is State.READY:
        return _move(life, event.at, State.OVER_BUDGET, why), []
    if not short and life.state is State.OVER_BUDGET:
        return _admit(life, event.at, "GPU memory is within budget again"), []
    return life, []


def _on_term(life: Life, event: TermRequested, rules: Rules) -> Result:
    if life.state in ENDED:
        return life, [KillEngine(), Exit(0 if life.state is State.STOPPED else 1)]
    if life.state is State.DRAINING:  # asked twice: whoever asks means now
        return replace(life, deadline=event.at), [KillEngine()]
    if life.state in LOADING_ORDER:
        life = _move(life, event.at, State.DRAINING, "told to stop while the model was loading")
        return replace(life, term_sent=True, deadline=event.at + rules.loading_end_s), [TermEngine()]
    if life.state is not State.READY or rules.lame_duck_s == 0:  # nobody sends it traffic: no endpoint has to let go
        return _drain(_move(life, event.at, State.DRAINING, "told to stop"), event.at, rules)
    reason = f"told to stop: serving on for {rules.lame_duck_s:g} s, then draining within {rules.drain_s:g} s"
    life = _move(life, event.at, State.DRAINING, reason)
    return replace(life, deadline=event.at + rules.lame_duck_s), []


def _on_core_lost(life: Life, event: CoreLost, rules: Rules) -> Result:
    if life.state is State.DRAINING:
        return life, []
    if life.state in LOADING_ORDER:  # its API server is about to print the root cause and to end by itself
        return replace(life, reason=event.why, deadline=event.at + rules.loading_end_s * 2), []
    return _fail(life, event.at, event.why, rules)


def _on_exit(life: Life, event: EngineExited, rules: Rules) -> Result:
    if life.state is State.DRAINING:
        return _move(life, event.at, State.STOPPED, "the engine has ended"), [KillEngine(), Exit(0)]
    if life.state in ENDED:
        return life, []
    return _fail(life, event.at, event.why, rules)


def _fail(life: Life, at: float, reason: str, rules: Rules) -> Result:
    life = _move(life, at, State.FAILED, reason)
    return replace(life, deadline=at + rules.linger_s), [KillEngine()]


def _on_tick(life: Life, now: float, rules: Rules) -> Result:
    due = life.deadline is not None and now >= life.deadline
    if life.state is State.FAILED:
        return life, [Exit(1)] if due else []
    if life.state is State.DRAINING:
        return _drain(life, now, rules) if due else (life, [])
    if life.state in LOADING_ORDER and due:
        return _fail(life, now, life.reason, rules)
    if not life.was_ready and now - life.born > rules.startup_timeout_s:
        why = f"not ready after {rules.startup_timeout_s:g} s (last: {life.reason}); raise --startup-timeout"
        return _fail(life, now, why, rules)
    if life.state is State.WARMING and life.warmup_retry_at is not None and now >= life.warmup_retry_at:
        return replace(life, warmup_retry_at=None), [StartWarmup()]
    life, effects = _check_stall(life, now, rules)
    if _wants_probe(life, now, rules):
        since = life.unanswered_since if life.unanswered_since is not None else now
        return replace(life, probe_at=now, probe_open=True, unanswered_since=since), [*effects, SendProbe()]
    return life, effects


def _wants_probe(life: Life, now: float, rules: Rules) -> bool:
    if life.state not in (State.READY, State.OVER_BUDGET, State.STALLED) or life.probe_open:
        return False
    last = life.proof_at if life.probe_at is None else max(life.proof_at, life.probe_at)
    return now - last >= rules.probe_every_s


def _drain(life: Life, now: float, rules: Rules) -> Result:
    if not life.term_sent:
        life = replace(life, term_sent=True, deadline=now + rules.drain_s + rules.kill_margin_s)
        return replace(life, reason=f"draining: the engine ends its streams within {rules.drain_s:g} s"), [TermEngine()]
    return replace(life, deadline=now + rules.kill_margin_s), [KillEngine()]
