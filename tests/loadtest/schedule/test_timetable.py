"""Phases, windows and shards: whatever is dealt out is the one schedule, with its global indices."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest

from loadtest.schedule import (
    Length,
    Level,
    Part,
    Schedule,
    Stretch,
    Window,
    closed_loop,
    open_loop,
    open_requests,
    replay,
)
from serving.facts.traffic import Phase

STEADY = [Part("steady", Stretch(10, 2, 2))]
STEPS = [Part("low", Stretch(10, 1, 1)), Part("up", Stretch(5, 1, 4), counts=False), Part("high", Stretch(10, 4, 4))]


def spans(schedule: Schedule) -> list[tuple[str, float, float | None, bool]]:
    return [(phase.name, phase.start_s, phase.end_s, phase.counts) for phase in schedule.phases]


def test_each_part_is_a_phase_with_its_rate():
    schedule = open_loop(STEPS, "constant", 1.0, 0)
    assert schedule.phases == (
        Phase("low", 0, 10, 1.0),
        Phase("up", 10, 15, None, counts=False),
        Phase("high", 15, 25, 4.0),
    )
    assert schedule.end_s == 25
    assert not schedule.closed


def test_the_warm_up_and_the_cool_down_cut_phases_by_schedule_time():
    schedule = open_loop(STEPS, "constant", 1.0, 0, Window(warmup_s=2, cooldown_s=3))
    assert spans(schedule) == [
        ("warm-up", 0, 2, False),
        ("low", 2, 10, True),
        ("up", 10, 15, False),
        ("high", 15, 22, True),
        ("cool-down", 22, 25, False),
    ]


def test_a_window_may_swallow_whole_phases_and_leaves_the_arrivals_as_they_are():
    schedule = open_loop(STEPS, "poisson", 1.0, 5, Window(warmup_s=12, cooldown_s=10))
    assert [counts for *_, counts in spans(schedule)] == [False, False, False, False]
    assert spans(schedule)[1] == ("warm-up", 10, 12, False)
    assert schedule.due_s == open_loop(STEPS, "poisson", 1.0, 5).due_s


@pytest.mark.parametrize(
    ("at_s", "name"),
    [(0.0, "warm-up"), (1.999, "warm-up"), (2.0, "low"), (10.0, "up"), (24.9, "high"), (99.0, "high"), (-1, "warm-up")],
)
def test_a_time_falls_into_the_phase_that_begins_with_it(at_s: float, name: str):
    schedule = open_loop(STEPS, "constant", 1.0, 0, Window(warmup_s=2))
    assert schedule.phases[schedule.phase_of(at_s)].name == name


def test_what_counts_is_what_is_due_in_a_phase_that_counts():
    schedule = open_loop(STEPS, "poisson", 1.0, 3, Window(warmup_s=2, cooldown_s=3))
    assert schedule.counted == sum(2 <= due_s < 10 or 15 <= due_s < 22 for due_s in schedule.due_s)


@pytest.mark.parametrize("workers", [1, 3, 4, 10, 64])
def test_shards_keep_their_global_indices_and_leave_nothing_out(workers: int):
    schedule = open_loop(STEADY, "poisson", 1.0, 1)
    dealt = [list(schedule.shard(worker, workers).arrivals()) for worker in range(workers)]
    assert sorted(arrival for shard in dealt for arrival in shard) == list(schedule.arrivals())
    assert all(index % workers == worker for worker, shard in enumerate(dealt) for index, _ in shard)


def test_a_shard_of_a_shard_is_a_shard():
    schedule = open_loop(STEADY, "poisson", 1.0, 1)
    assert list(schedule.shard(1, 2).shard(2, 3).arrivals()) == list(schedule.shard(5, 6).arrivals())


def test_lengths_go_with_their_requests_into_the_shards():
    lengths = [Length(10 + index, 20 + index, (index,)) for index in range(7)]
    schedule = replay(array("d", range(7)), lengths)
    for worker in range(3):
        shard = schedule.shard(worker, 3)
        assert [shard.length_of(index) for index, _ in shard.arrivals()] == lengths[worker::3]
    later = replace(schedule, first=100).shard(1, 3)
    assert [(index, later.length_of(index)) for index, _ in later.arrivals()] == [(101, lengths[1]), (104, lengths[4])]
    assert open_loop(STEADY, "constant", 1.0, 0).length_of(0) is None


def test_a_replay_is_one_phase_that_ends_a_mean_gap_after_its_last_arrival():
    assert spans(replay(array("d", [0, 1, 5, 6]), [Length(1, 1)] * 4)) == [("trace", 0, 8, True)]
    assert spans(replay(array("d", [0]), [Length(1, 1)])) == [("trace", 0, 1, True)]
    assert spans(replay(array("d", [0, 0]), [Length(1, 1)] * 2)) == [("trace", 0, 1, True)]


def test_a_closed_loop_has_streams_and_no_arrivals():
    schedule = closed_loop([Level("low", 2, 10), Level("high", 5, 20, counts=False)], None, Window(4, 3))
    assert schedule.closed
    assert (list(schedule.due_s), schedule.planned, schedule.end_s) == ([], None, 30)
    assert [(phase.name, phase.concurrency) for phase in schedule.phases] == [
        ("warm-up", 2),
        ("low", 2),
        ("high", 5),
        ("cool-down", 5),
    ]
    assert [schedule.streams_at(at) for at in (0, 9.9, 10, 29.9, 30, 99)] == [2, 2, 5, 5, 0, 0]


def test_a_closed_loop_that_ends_with_its_requests_has_no_known_end():
    schedule = closed_loop([Level("steady", 3, None)], 10, Window(warmup_s=4))
    assert spans(schedule) == [("warm-up", 0, 4, False), ("steady", 4, None, True)]
    assert (schedule.planned, schedule.end_s, schedule.streams_at(1e9)) == (10, None, 3)


@pytest.mark.parametrize(("streams", "requests", "workers"), [(8, 10, 3), (7, 100, 7), (2, 5, 1)])
def test_workers_of_a_closed_loop_share_out_streams_and_requests(streams: int, requests: int, workers: int):
    schedule = closed_loop([Level("steady", streams, None)], requests)
    shards = [schedule.shard(worker, workers) for worker in range(workers)]
    assert sum(shard.streams_at(0) for shard in shards) == streams
    indices = [shard.index(position) for shard in shards for position in range(shard.planned or 0)]
    assert sorted(indices) == list(range(requests))


@pytest.mark.parametrize(("worker", "workers", "said"), [(0, 3, "fewer streams"), (2, 2, "count from 0"), (-1, 2, "0")])
def test_a_deal_that_would_lose_requests_is_refused(worker: int, workers: int, said: str):
    with pytest.raises(ValueError, match=said):
        closed_loop([Level("steady", 2, None)], 10).shard(worker, workers)


def test_a_schedule_of_so_many_requests_ends_its_cool_down_with_itself():
    schedule = open_requests(100, 10.0, "constant", 1.0, 0, Window(1, 2))
    assert spans(schedule) == [("warm-up", 0, 1, False), ("steady", 1, 8, True), ("cool-down", 8, 10, False)]
    assert schedule.counted == 70
