"""The lifecycle as tables: from a state, through events, to a state and its effects. No clock, no process."""

from __future__ import annotations

import pytest

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
from serving.agent.lifecycle import Life, Rules, begin, step
from serving.facts.model import State

RULES = Rules(
    expected_name="m",
    startup_timeout_s=100,
    stall_after_s=10,
    probe_every_s=5,
    restart_after_s=60,
    lame_duck_s=5,
    drain_s=30,
    linger_s=4,
    gpu_min_free_bytes=1000,
)
TO_WARMING: list[Event] = [EngineReachable(10, ("m",))]
TO_READY: list[Event] = [*TO_WARMING, WarmupFinished(12, "warm")]


def live_through(*events: Event, rules: Rules = RULES) -> tuple[Life, list[Effect]]:
    life = begin(0.0)
    effects: list[Effect] = []
    for event in events:
        life, effects = step(life, event, rules)
    return life, effects


@pytest.mark.parametrize(
    ("events", "state", "effects"),
    [
        pytest.param([PhaseSeen(1, State.LOADING, "w")], State.LOADING, [], id="a log line moves the phase"),
        pytest.param(
            [PhaseSeen(1, State.COMPILING, "c"), PhaseSeen(2, State.LOADING, "w")], State.COMPILING, [], id="never back"
        ),
        pytest.param([EngineReachable(9, ("m",))], State.WARMING, [StartWarmup()], id="reachable is not ready"),
        pytest.param([EngineReachable(9, ("other",))], State.FAILED, [KillEngine()], id="wrong name fails"),
        pytest.param([EngineReachable(9, ())], State.FAILED, [KillEngine()], id="no name fails"),
        pytest.param([WarmupFinished(9, "?")], State.STARTING, [], id="a stray warm-up does not make ready"),
        pytest.param(TO_READY, State.READY, [], id="warmed up is ready"),
        pytest.param(
            [*TO_READY, PhaseSeen(13, State.LOADING, "w")], State.READY, [], id="late log lines change nothing"
        ),
        pytest.param([*TO_WARMING, WarmupFailed(11, "no")], State.WARMING, [], id="a failed warm-up is not ready"),
        pytest.param(
            [*TO_WARMING, WarmupFailed(11, "no"), Tick(13.5)], State.WARMING, [StartWarmup()], id="it is tried again"
        ),
        pytest.param(
            [*TO_WARMING, WarmupFailed(11, "no"), Tick(101)], State.FAILED, [KillEngine()], id="but not for ever"
        ),
        pytest.param([PhaseSeen(1, State.LOADING, "w"), Tick(99)], State.LOADING, [], id="slow loading is no fault"),
        pytest.param(
            [PhaseSeen(1, State.LOADING, "w"), Tick(101)], State.FAILED, [KillEngine()], id="endless loading is"
        ),
        pytest.param([*TO_READY, Sampled(200, 0, (1.0,))], State.READY, [], id="startup timeout ends with ready"),
        pytest.param([*TO_READY, EngineExited(20, -9, "x")], State.FAILED, [KillEngine()], id="engine exit fails"),
        pytest.param([*TO_READY, CoreLost(20, "x")], State.FAILED, [KillEngine()], id="core death fails"),
        pytest.param([CoreLost(2, "x")], State.STARTING, [], id="core death in loading waits for the root cause"),
        pytest.param([CoreLost(2, "x"), Tick(9)], State.FAILED, [KillEngine()], id="for some seconds only"),
        pytest.param([CoreLost(2, "x"), EngineExited(3, 1, "why")], State.FAILED, [KillEngine()], id="root cause came"),
        pytest.param([*TO_READY, EngineExited(20, 1, "x"), Tick(23)], State.FAILED, [], id="a failure lingers"),
        pytest.param(
            [*TO_READY, EngineExited(20, 1, "x"), Tick(24)], State.FAILED, [Exit(1)], id="then exits non-zero"
        ),
        pytest.param(
            [*TO_READY, CoreLost(20, "x"), EngineExited(20, -9, "y"), WarmupFinished(21, "?")],
            State.FAILED,
            [],
            id="nothing revives a failed engine",
        ),
    ],
)
def test_state_and_last_effects_after_events(events: list[Event], state: State, effects: list[Effect]):
    life, last = live_through(*events)
    assert (life.state, last) == (state, effects)
    assert life.ready is (state is State.READY)


@pytest.mark.parametrize(
    ("events", "state", "effects"),
    [
        pytest.param(
            [Sampled(13, 1, (1.0,)), Sampled(22, 1, (2.0,)), Sampled(31, 1, (3.0,))],
            State.READY,
            [],
            id="moving slowly",
        ),
        pytest.param([Sampled(13, 1, (1.0,)), Sampled(22, 1, (1.0,))], State.READY, [], id="still, within the bound"),
        pytest.param([Sampled(13, 1, (1.0,)), Sampled(24, 1, (1.0,))], State.STALLED, [], id="still, beyond the bound"),
        pytest.param(
            [Sampled(13, 1, (1.0,)), Sampled(24, 1, (1.0,)), Sampled(25, 1, (2.0,))], State.READY, [], id="moves again"
        ),
        pytest.param(
            [Sampled(13, 0, (1.0,)), Sampled(60, 1, (1.0,)), Sampled(65, 1, (1.0,))],
            State.READY,
            [],
            id="a request after a quiet hour has its full time",
        ),
        pytest.param(
            [Sampled(13, 0, (1.0,)), Tick(19)], State.READY, [SendProbe()], id="quiet: one token is asked for"
        ),
        pytest.param([Tick(19), Sampled(19, 0, (1.0,)), Tick(25)], State.READY, [], id="one probe at a time"),
        pytest.param(
            [Sampled(13, 0, (1.0,)), Tick(19), ProbeAnswered(20), Tick(21)], State.READY, [], id="answered: quiet again"
        ),
        pytest.param(
            [Sampled(13, 0, (1.0,)), Tick(19), Sampled(28, 0, (1.0,)), Tick(30)],
            State.STALLED,
            [],
            id="an idle engine that answers no probe is stalled",
        ),
        pytest.param(
            [Tick(19), Sampled(28, 0, (1.0,)), Sampled(30, 0, (1.0,)), ProbeAnswered(31)],
            State.READY,
            [],
            id="a late answer recovers",
        ),
        pytest.param(
            [Sampled(13, 0, (1.0,)), Tick(19), ProbeFailed(20, "500"), Sampled(21, 0, (1.0,)), Tick(25)],
            State.READY,
            [SendProbe()],
            id="a failed probe is sent again",
        ),
        pytest.param(
            [Sampled(13, 0, (1.0,)), Tick(19), ProbeFailed(20, "500"), Sampled(29, 0, (1.0,)), Tick(29.5)],
            State.STALLED,
            [SendProbe()],
            id="probes that only fail are a stall",
        ),
        pytest.param([SampleFailed(20, "x")], State.READY, [], id="one unread sample is nothing"),
        pytest.param([SampleFailed(23, "x")], State.STALLED, [], id="an unreadable engine is stalled"),
        pytest.param([Sampled(13, 0, (1.0,), asleep=True)], State.SLEEPING, [], id="asleep is not ready"),
        pytest.param([Sampled(13, 0, (1.0,), asleep=True), Tick(100)], State.SLEEPING, [], id="asleep is not a stall"),
        pytest.param(
            [Sampled(13, 0, (1.0,), asleep=True), Sampled(20, 0, (1.0,))],
            State.WARMING,
            [StartWarmup()],
            id="woken up must warm up again",
        ),
        pytest.param([GpuSampled(13, 999)], State.OVER_BUDGET, [], id="too little GPU memory free"),
        pytest.param([GpuSampled(13, 999), GpuSampled(14, 1000)], State.READY, [], id="memory came back"),
        pytest.param([GpuSampled(13, 1000)], State.READY, [], id="just enough GPU memory"),
    ],
)
def test_a_ready_engine_through_events(events: list[Event], state: State, effects: list[Effect]):
    life, last = live_through(*TO_READY, Sampled(12.5, 0, (1.0,)), *events)
    assert (life.state, last) == (state, effects)


def test_a_stall_in_the_warm_up_ends_in_another_warm_up_and_not_in_ready():
    life, effects = live_through(*TO_WARMING, Sampled(11, 1, (1.0,)), Sampled(30, 1, (1.0,)), Sampled(31, 1, (2.0,)))
    assert (life.state, effects) == (State.WARMING, [StartWarmup()])
    assert "moves again" in life.reason


def test_a_stall_in_the_warm_up_after_a_sleep_is_no_way_round_it_either():
    asleep_then_awake = [Sampled(13, 0, (1.0,), asleep=True), Sampled(20, 1, (1.0,))]
    life, _ = live_through(*TO_READY, *asleep_then_awake, Sampled(31, 1, (1.0,)))
    assert life.state is State.STALLED
    life, effects = step(life, Sampled(32, 1, (2.0,)), RULES)
    assert (life.state, effects) == (State.WARMING, [StartWarmup()])


def test_memory_short_during_the_warm_up_keeps_the_model_from_being_ready():
    life, _ = live_through(*TO_WARMING, GpuSampled(11, 1), WarmupFinished(12, "warm"))
    assert life.state is State.OVER_BUDGET


class TestSigterm:
    def test_ready_serves_on_for_the_lame_duck_then_drains_then_stops(self):
        life, effects = live_through(*TO_READY, TermRequested(50))
        assert (life.state, effects) == (State.DRAINING, [])
        assert not life.ready
        life, effects = step(life, Tick(54.9), RULES)
        assert effects == []
        life, effects = step(life, Tick(55), RULES)
        assert effects == [TermEngine()]
        life, effects = step(life, CoreLost(60, "its core ends first"), RULES)
        assert (life.state, effects) == (State.DRAINING, [])
        life, effects = step(life, EngineExited(61, 0, ""), RULES)
        assert (life.state, effects) == (State.STOPPED, [KillEngine(), Exit(0)])

    def test_streams_that_outlast_the_bound_are_cut_soon_after_it_and_the_exit_is_clean(self):
        life, _ = live_through(*TO_READY, TermRequested(50), Tick(55))
        life, effects = step(life, Tick(55 + 30 + RULES.kill_margin_s - 0.1), RULES)
        assert effects == []
        life, effects = step(life, Tick(55 + 30 + RULES.kill_margin_s), RULES)
        assert effects == [KillEngine()]
        life, effects = step(life, EngineExited(88, -9, ""), RULES)
        assert effects == [KillEngine(), Exit(0)]

    def test_while_loading_there_is_no_lame_duck_and_the_engine_has_three_seconds(self):
        life, effects = live_through(PhaseSeen(1, State.LOADING, "w"), TermRequested(2))
        assert (life.state, effects) == (State.DRAINING, [TermEngine()])
        _, effects = step(life, Tick(5), RULES)
        assert effects == [KillEngine()]

    @pytest.mark.parametrize(
        "before",
        [
            pytest.param(TO_WARMING, id="warming"),
            pytest.param([*TO_READY, Sampled(13, 0, (1.0,), asleep=True)], id="sleeping"),
            pytest.param([*TO_READY, SampleFailed(40, "x")], id="stalled"),
        ],
    )
    def test_without_traffic_there_is_no_lame_duck(self, before: list[Event]):
        life, effects = live_through(*before, TermRequested(50))
        assert (life.state, effects) == (State.DRAINING, [TermEngine()])

    def test_twice_means_now(self):
        life, effects = live_through(*TO_READY, TermRequested(50), TermRequested(51))
        assert (life.state, effects) == (State.DRAINING, [KillEngine()])

    def test_after_a_failure_it_ends_at_once_and_still_tells_the_failure(self):
        _, effects = live_through(*TO_READY, EngineExited(20, 1, "x"), TermRequested(21))
        assert effects == [KillEngine(), Exit(1)]


def test_liveness_fails_only_where_a_restart_helps():
    ready, _ = live_through(*TO_READY)
    stalled, _ = step(ready, SampleFailed(40, "x"), RULES)
    failed, _ = step(ready, CoreLost(40, "x"), RULES)
    assert begin(0.0).live(10_000, RULES)
    assert ready.live(10_000, RULES)
    assert stalled.live(99, RULES)
    assert not stalled.live(101, RULES)
    assert not failed.live(41, RULES)


def test_reasons_say_what_was_seen():
    wrong, _ = live_through(EngineReachable(9, ("a", "b")))
    stalled, _ = live_through(*TO_READY, Sampled(13, 2, (1.0,)), Sampled(24, 2, (1.0,)))
    assert wrong.reason == "the engine serves 'a', 'b', expected 'm'"
    assert stalled.reason == "no engine iteration for 11 s while it holds 2 requests"


def test_history_is_bounded_and_the_time_in_each_state_is_not_lost():
    life, _ = live_through(*TO_READY)
    for at in range(100, 1100, 2):
        life, _ = step(life, GpuSampled(at, 0), RULES)
        life, _ = step(life, GpuSampled(at + 1, 2000), RULES)
    assert len(life.history) == 100
    assert life.spent[State.OVER_BUDGET] == 500
    assert life.spent[State.WARMING] == 2
