"""From a profile to its schedule: each kind of load becomes what it says."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from loadtest.load import MOST_REQUESTS
from loadtest.plan import mode_of, probe_of, schedule_of
from loadtest.profile import Profile
from loadtest.schedule import Schedule
from loadtest.sweep import Probe
from serving.errors import Refused


def profile(load: dict[str, Any], **more: Any) -> Profile:
    return Profile.model_validate({"load": load, "no_gates": True, **more})


def shape(schedule: Schedule) -> list[tuple[str, float, float | None, float | None, bool]]:
    return [(phase.name, phase.start_s, phase.end_s, phase.rate_per_s, phase.counts) for phase in schedule.phases]


def counts(schedule: Schedule) -> list[int]:
    return [sum(phase.start_s <= due_s < (phase.end_s or 0) for due_s in schedule.due_s) for phase in schedule.phases]


def test_one_rate_is_poisson_unless_it_says_otherwise():
    load = profile({"rate_rps": 5, "duration_s": 100}).load
    assert mode_of(load) == "poisson"
    schedule = schedule_of(profile({"rate_rps": 5, "duration_s": 100}, warmup_s=10), 3)
    assert shape(schedule) == [("warm-up", 0, 10, 5, False), ("steady", 10, 100, 5, True)]
    assert len({round(later - earlier, 9) for earlier, later in pairwise(schedule.due_s)}) > 100


def test_stages_have_their_rates_and_a_ramp_between_them_does_not_count():
    stages = [
        {"rate_rps": 2, "duration_s": 10},
        {"rate_rps": 2, "to_rps": 6, "duration_s": 10},
        {"rate_rps": 6, "duration_s": 10, "name": "peak"},
        {"rate_rps": 0, "duration_s": 10, "name": "pause", "counts": False},
        {"rate_rps": 0, "to_rps": 2, "duration_s": 10, "counts": True},
    ]
    schedule = schedule_of(profile({"arrivals": "constant", "stages": stages}), 0)
    assert shape(schedule) == [
        ("1: 2/s", 0, 10, 2, True),
        ("2: 2 to 6/s", 10, 20, None, False),
        ("peak", 20, 30, 6, True),
        ("pause", 30, 40, 0, False),
        ("5: 0 to 2/s", 40, 50, None, True),
    ]
    assert counts(schedule) == [20, 40, 60, 0, 10]


def test_a_ramp_and_a_spike_count_whole():
    ramp = schedule_of(profile({"arrivals": "constant", "ramp": {"from_rps": 0, "to_rps": 8, "duration_s": 10}}), 0)
    assert (shape(ramp), ramp.planned) == ([("ramp", 0, 10, None, True)], 40)
    peak = {"base_rps": 1, "peak_rps": 9, "before_s": 5, "peak_s": 2, "after_s": 5}
    spike = schedule_of(profile({"arrivals": "constant", "spike": peak}), 0)
    assert shape(spike) == [("base", 0, 5, 1, True), ("spike", 5, 7, 9, True), ("recovery", 7, 12, 1, True)]
    assert counts(spike) == [5, 18, 5]


def test_gamma_is_as_bursty_as_it_says():
    schedule = schedule_of(
        profile({"arrivals": "gamma", "burstiness": 0.25, "rate_rps": 20, "duration_s": 2_000}), seed=3
    )
    gaps = [later - earlier for earlier, later in pairwise(schedule.due_s)]
    mean = sum(gaps) / len(gaps)
    assert (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 / mean == pytest.approx(2, rel=0.05)


def test_a_trace_brings_its_times_and_lengths(tmp_path: Path):
    (tmp_path / "day.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n100,7,8\n103,9,10\n")
    load = {"trace": {"file": str(tmp_path / "day.csv"), "speed": 2}}
    schedule = schedule_of(profile(load), 0)
    assert mode_of(profile(load).load) == "trace"
    assert list(schedule.due_s) == [0.0, 1.5]
    assert [schedule.length_of(index) for index in range(2)] == [(7, 8, ()), (9, 10, ())]


def test_a_closed_loop_has_its_streams_in_stages_too():
    stages = [{"concurrency": 2, "duration_s": 5}, {"concurrency": 8, "duration_s": 5, "name": "full"}]
    schedule = schedule_of(profile({"closed_loop": {"stages": stages}}), 0)
    assert mode_of(profile({"closed_loop": {"stages": stages}}).load) == "closed_loop"
    assert [(phase.name, phase.concurrency) for phase in schedule.phases] == [("1: 2 streams", 2), ("full", 8)]
    assert schedule_of(profile({"closed_loop": {"concurrency": 3, "requests": 7}}), 0).planned == 7


def test_one_seed_is_one_schedule():
    load = {"rate_rps": 5, "duration_s": 100}
    assert schedule_of(profile(load), 3) == schedule_of(profile(load), 3)
    assert schedule_of(profile(load), 3) != schedule_of(profile(load), 4)


def test_a_probe_of_a_sweep_is_an_ordinary_run_with_its_windows_around_what_counts():
    sweep = profile({"sweep": {}, "arrivals": "constant", "seed": 10}, warmup_s=5, cooldown_s=2)
    probed = probe_of(sweep, Probe(3, 4.0, 30.0))
    schedule = schedule_of(probed, 0)
    assert probed.load.seed == 13
    assert (schedule.end_s, schedule.counted, schedule.planned) == (37, 120, 148)
    assert probe_of(profile({"sweep": {}}), Probe(3, 4.0, 30.0)).load.seed is None
    with pytest.raises(Refused, match="take the schedule of each probe"):
        schedule_of(sweep, 0)
    with pytest.raises(Refused, match="only a sweep"):
        probe_of(probed, Probe(3, 4.0, 30.0))


@pytest.mark.parametrize(
    "load",
    [
        {"rate_rps": 10_000, "duration_s": 101},
        {"stages": [{"rate_rps": 10_000, "duration_s": 51}] * 2},
        {"ramp": {"from_rps": 0, "to_rps": 10_000, "duration_s": 201}},
    ],
    ids=["rate", "stages", "ramp"],
)
def test_no_load_has_more_requests_than_can_be_kept(load):
    with pytest.raises(ValueError, match=f"more than {MOST_REQUESTS:,} requests"):
        profile(load)
