"""The engine alone: real greenlets, real time, and a stand-in for the network that sleeps instead."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from time import perf_counter_ns

import gevent
import pytest
from gevent.event import Event

from loadtest.dispatcher import Dispatcher, Send
from loadtest.schedule import Level, Schedule, closed_loop
from loadtest.transport import Cut, Ending, Wire
from serving.errors import CannotAct
from serving.facts.traffic import Phase

Records = dict[int, tuple[float, Wire]]


def at(due_s: Sequence[float]) -> Schedule:
    """An open loop with these arrivals."""
    return Schedule(array("d", due_s), (Phase("all", 0.0, 60.0),))


def takes(seconds: float) -> Send:
    """A request that takes so long, and knows how to be cut, as the transport does."""

    def send(index: int, due_s: float, wire: Wire) -> None:
        wire.begun_ns = wire.sent_ns = perf_counter_ns()
        try:
            gevent.sleep(seconds)
            wire.ending = Ending.COMPLETE
        except Cut as cut:
            wire.ending, wire.why = Ending.CUT, str(cut)
        wire.ended_ns = perf_counter_ns()

    return send


def dispatcher(
    send: Send, stop: Event | None = None, max_in_flight: int = 1_000, drain_s: float = 5.0
) -> tuple[Dispatcher, Records]:
    records: Records = {}

    def settle(index: int, due_s: float, wire: Wire) -> None:
        assert index not in records, "two records of one request"
        records[index] = (due_s, wire)

    return Dispatcher(send, settle, stop or Event(), max_in_flight=max_in_flight, drain_s=drain_s), records


def sent_s(engine: Dispatcher, wire: Wire) -> float:
    assert wire.sent_ns is not None
    return (wire.sent_ns - engine.origin_ns) / 1e9


def test_every_arrival_is_sent_when_due_and_recorded_with_its_due_time():
    engine, records = dispatcher(takes(0.01))
    due = [0.0, 0.05, 0.051, 0.2, 0.4]
    engine.walk(at(due))
    assert [records[index][0] for index in range(5)] == due
    lags = [sent_s(engine, records[index][1]) - at for index, at in enumerate(due)]
    assert min(lags) >= 0, "sent before it was due"
    assert sorted(lags)[2] < 0.1, "a busy machine may delay one, but not most of them"


def test_slow_answers_delay_nobody_elses_request():
    engine, records = dispatcher(takes(2.0))
    due = [index * 0.02 for index in range(20)]
    engine.walk(at(due))
    assert max(sent_s(engine, records[index][1]) - at for index, at in enumerate(due)) < 1.5


def test_what_is_due_while_the_cap_is_reached_is_not_sent_and_not_forgotten():
    engine, records = dispatcher(takes(10.0), max_in_flight=3, drain_s=0.2)
    engine.walk(at([index * 0.01 for index in range(10)]))
    assert sorted(records) == list(range(10))
    assert [records[index][1].ending for index in range(3)] == [Ending.CUT] * 3
    for index in range(3, 10):
        assert records[index][1].begun_ns is None
        assert "3 streams were open" in records[index][1].why


def test_streams_that_outlast_the_drain_are_cut_and_recorded():
    engine, records = dispatcher(takes(30.0), drain_s=0.3)
    engine.walk(at([0.0, 0.1]))
    assert [records[index][1].why for index in (0, 1)] == ["still open 0.3 s after the last one"] * 2
    assert 0.39 < engine.elapsed_s < 15
    assert engine.in_flight == 0


def test_the_end_waits_no_longer_than_the_last_stream():
    engine, records = dispatcher(takes(0.2), drain_s=20.0)
    engine.walk(at([0.0]))
    assert engine.elapsed_s < 10.0
    assert records[0][1].ending is Ending.COMPLETE


@pytest.mark.parametrize("drain_s", [0.0, 20.0])
def test_a_stop_ends_the_run_at_once_and_records_what_was_open(drain_s: float):
    stop = Event()
    engine, records = dispatcher(takes(30.0), stop, drain_s=drain_s)
    gevent.spawn_later(1.0, stop.set)
    engine.walk(at([0.0, 0.1, 60.0]))
    assert engine.elapsed_s < 20
    assert sorted(records) == [0, 1], "what was never due has no record"
    assert {wire.why for _, wire in records.values()} == {"the run was stopped"}


def test_a_request_spawned_at_the_very_end_is_recorded_too():
    engine, records = dispatcher(takes(30.0), drain_s=0.0)
    engine.walk(at([0.0, 0.0, 0.0]))
    assert sorted(records) == [0, 1, 2]


def test_a_ledger_that_cannot_be_written_ends_the_run_with_its_error():
    def settle(index: int, due_s: float, wire: Wire) -> None:
        raise CannotAct("no space left")

    engine = Dispatcher(takes(0.0), settle, Event(), max_in_flight=10, drain_s=5.0)
    with pytest.raises(CannotAct, match="no space left"):
        engine.walk(at([0.0, 0.1, 60.0]))
    assert engine.elapsed_s < 20


def test_a_mistake_in_the_harness_is_not_swallowed():
    def send(index: int, due_s: float, wire: Wire) -> None:
        raise KeyError("a mistake")

    engine, _ = dispatcher(send)
    with pytest.raises(KeyError):
        engine.walk(at([0.0, 60.0]))


def test_a_closed_loop_keeps_so_many_open_and_ends_after_so_many():
    open_now, seen = 0, []

    def send(index: int, due_s: float, wire: Wire) -> None:
        nonlocal open_now
        open_now += 1
        seen.append(open_now)
        takes(0.02)(index, due_s, wire)
        open_now -= 1

    engine, records = dispatcher(send)
    engine.walk(closed_loop([Level("all", 4, None)], requests=22))
    assert sorted(records) == list(range(22))
    assert max(seen) == 4


def test_a_closed_loop_ends_after_its_duration():
    engine, records = dispatcher(takes(0.05))
    engine.walk(closed_loop([Level("all", 2, 0.5)], requests=None))
    assert 0.4 < engine.elapsed_s < 10
    assert 2 <= len(records) <= 22
    assert max(due_s for due_s, _ in records.values()) < 0.5


def test_a_closed_loop_that_is_stopped_records_what_was_open():
    stop = Event()
    engine, records = dispatcher(takes(30.0), stop)
    gevent.spawn_later(1.0, stop.set)
    engine.walk(closed_loop([Level("all", 3, None)], requests=100))
    assert sorted(records) == [0, 1, 2]
    assert {wire.ending for _, wire in records.values()} == {Ending.CUT}


def test_the_loops_own_lateness_is_measured():
    engine, _ = dispatcher(takes(0.0))

    def hog() -> None:
        end = perf_counter_ns() + 200_000_000
        while perf_counter_ns() < end:
            pass

    gevent.spawn_later(0.2, hog)
    engine.walk(at([0.0, 0.6]))
    assert engine.loop_lag_ms.largest > 100


def test_a_closed_loop_follows_the_number_of_streams_of_each_phase():
    open_now, seen = 0, []

    def send(index: int, due_s: float, wire: Wire) -> None:
        nonlocal open_now
        open_now += 1
        seen.append((due_s, open_now))
        takes(0.03)(index, due_s, wire)
        open_now -= 1

    engine, _ = dispatcher(send)
    engine.walk(closed_loop([Level("few", 2, 1.0), Level("many", 6, 1.0), Level("few again", 1, 1.0)], requests=None))
    few, many, again = ([n for due_s, n in seen if low <= due_s < low + 0.4] for low in (0.5, 1.5, 2.5))
    assert (max(few), max(many), max(again)) == (2, 6, 1)
    assert engine.in_flight == 0


def test_a_shard_sends_its_own_indices_and_no_others():
    engine, records = dispatcher(takes(0.0))
    engine.walk(at([index * 0.01 for index in range(10)]).shard(1, 3))
    assert {index: due_s for index, (due_s, _) in records.items()} == {1: 0.01, 4: 0.04, 7: 0.07}
