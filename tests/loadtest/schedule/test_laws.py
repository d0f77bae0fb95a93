"""The arrival laws, held to their own statistics, whole and dealt out to workers."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from itertools import pairwise

import pytest

from loadtest.schedule import Part, Stretch, open_loop, open_requests
from loadtest.schedule.laws import Law

RATE = 20.0
LENGTH_S = 20_000


def drawn(law: Law, *stretches: tuple[float, float, float], burstiness: float = 1.0, seed: int = 1) -> list[float]:
    parts = [Part("part", Stretch(*stretch)) for stretch in stretches]
    return list(open_loop(parts, law, burstiness, seed).due_s)


def gaps(due: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(due)]


def variation(values: Sequence[float]) -> float:
    return statistics.pstdev(values) / statistics.fmean(values)


def dispersion(due: Sequence[float], length_s: int, width_s: int) -> float:
    found = [0] * (length_s // width_s)
    for at in due:
        found[int(at // width_s)] += 1
    return statistics.pvariance(found) / statistics.fmean(found)


def is_poisson(due: Sequence[float]) -> bool:
    """Within 5 % of a Poisson process by its index of dispersion and the spread of its gaps, at the rate asked for."""
    spread = dispersion(due, LENGTH_S, 1)
    return abs(spread - 1) < 0.05 and abs(variation(gaps(due)) - 1) < 0.05 and abs(len(due) / LENGTH_S - RATE) < 0.2


@pytest.mark.parametrize("workers", [1, 4, 10])
def test_workers_together_send_a_poisson_process(workers: int):
    schedule = open_loop([Part("steady", Stretch(LENGTH_S, RATE, RATE))], "poisson", 1.0, seed=7)
    shards = [schedule.shard(worker, workers) for worker in range(workers)]
    together = sorted(due_s for shard in shards for due_s in shard.due_s)
    assert is_poisson(together)
    assert together == list(schedule.due_s)


@pytest.mark.parametrize("workers", [4, 10])
def test_workers_that_share_a_seed_do_not_and_the_same_check_says_so(workers: int):
    def own_schedule(seed: int) -> list[float]:  # what GuideLLM's workers do, each at its share of the rate
        rng, due, at = random.Random(seed), [], 0.0
        while (at := at + rng.expovariate(RATE / workers)) < LENGTH_S:
            due.append(at)
        return due

    def together(seeds: Sequence[int]) -> list[float]:
        return sorted(at for seed in seeds for at in own_schedule(seed))

    alike = together([7] * workers)
    assert not is_poisson(alike)
    assert dispersion(alike, LENGTH_S, 5) == pytest.approx(workers, rel=0.1)
    assert is_poisson(together(range(workers))), "the check objects to the seeds, not to there being several"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_poisson_counts_have_an_index_of_dispersion_of_one_at_every_scale(seed: int):
    due = drawn("poisson", (LENGTH_S, RATE, RATE), seed=seed)
    for width_s, within in ((1, 0.05), (5, 0.1), (20, 0.2)):
        assert dispersion(due, LENGTH_S, width_s) == pytest.approx(1.0, abs=within)


def test_poisson_gaps_are_exponential_and_their_count_is_not_forced():
    due = drawn("poisson", (5_000, 20, 20), seed=4)
    assert variation(gaps(due)) == pytest.approx(1.0, abs=0.03)
    assert statistics.median(gaps(due)) == pytest.approx(math.log(2) / 20, rel=0.03)
    assert len({len(drawn("poisson", (100, 20, 20), seed=seed)) for seed in range(20)}) > 5, "a fixed count: rescaled"
    assert len(due) == pytest.approx(100_000, rel=0.02)


@pytest.mark.parametrize("law", ["poisson", "gamma"])
def test_gaps_do_not_depend_on_each_other(law: Law):
    found = gaps(drawn(law, (10_000, 5, 5), burstiness=0.5, seed=6))
    assert abs(statistics.correlation(found[:-1], found[1:])) < 0.02


@pytest.mark.parametrize("law", ["poisson", "gamma"])
def test_one_seed_always_draws_the_same_and_another_does_not(law: Law):
    assert drawn(law, (50, 3, 3), seed=1) == drawn(law, (50, 3, 3), seed=1)
    assert drawn(law, (50, 3, 3), seed=1) != drawn(law, (50, 3, 3), seed=2)


@pytest.mark.parametrize("shape", [0.25, 0.5, 1.0, 4.0])
def test_gamma_gaps_vary_as_one_over_the_root_of_the_burstiness(shape: float):
    due = drawn("gamma", (10_000, 20, 20), burstiness=shape, seed=8)
    assert variation(gaps(due)) == pytest.approx(1 / math.sqrt(shape), rel=0.02)
    assert len(due) / 10_000 == pytest.approx(20, rel=0.02)


def test_a_burstiness_of_one_is_poisson():
    assert is_poisson(drawn("gamma", (LENGTH_S, RATE, RATE), burstiness=1.0, seed=3))
    assert not is_poisson(drawn("gamma", (LENGTH_S, RATE, RATE), burstiness=0.5, seed=3))


def test_a_gamma_schedule_has_its_rate_from_the_first_second_on():
    counts = [len(drawn("gamma", (1, 1, 1), burstiness=0.25, seed=seed)) for seed in range(8_000)]
    assert statistics.fmean(counts) == pytest.approx(1.0, abs=0.1), (
        "a renewal process that begins with a whole gap has 2.15"
    )


def test_constant_arrivals_do_not_drift_in_a_million():
    due = open_loop([Part("steady", Stretch(200_000, 7, 7))], "constant", 1.0, seed=0).due_s
    assert due[1_000_000] == 1_000_000 / 7
    assert all(due[index] == index / 7 for index in range(0, 1_400_000, 999))
    assert len(due) == 1_400_000


@pytest.mark.parametrize(
    ("rate", "length", "count"), [(2.0, 1.5, 3), (0.1, 30.0, 3), (3.3, 10.0, 33), (0.5, 1.0, 1), (3.0, 1.1, 4)]
)
def test_constant_sends_rate_times_duration(rate: float, length: float, count: int):
    assert len(drawn("constant", (length, rate, rate))) == count


SHAPES = [
    pytest.param([(60, 2, 20)], id="up"),
    pytest.param([(60, 20, 0)], id="down-to-nothing"),
    pytest.param([(60, 0, 20)], id="up-from-nothing"),
    pytest.param([(30, 4, 4), (10, 0, 0), (20, 30, 30), (40, 30, 1)], id="stages-pause-and-ramp"),
]


def integral(stretches: Sequence[tuple[float, float, float]], at: float) -> float:
    """The integral of the rate, in small steps: not the way that the schedule computes it."""
    total, start = 0.0, 0.0
    for length, from_rps, to_rps in stretches:
        steps, upto = 2_000, min(max(at - start, 0.0), length)
        for step in range(steps):
            middle = upto * (step + 0.5) / steps
            total += (from_rps + (to_rps - from_rps) * middle / length) * upto / steps
        start += length
    return total


@pytest.mark.parametrize("stretches", SHAPES)
def test_constant_arrivals_keep_to_the_integral_of_the_rate(stretches):
    due = drawn("constant", *stretches)
    length = sum(stretch[0] for stretch in stretches)
    assert len(due) == round(integral(stretches, length))
    for index in range(0, len(due), 7):
        assert integral(stretches, due[index]) == pytest.approx(index, abs=1e-3)
    for tenth in range(1, 10):
        at = length * tenth / 10
        assert abs(sum(due_s < at for due_s in due) - integral(stretches, at)) <= 1.001


@pytest.mark.parametrize("stretches", SHAPES)
def test_poisson_counts_keep_to_the_integral_as_nearly_as_chance_allows(stretches):
    runs = [drawn("poisson", *stretches, seed=seed) for seed in range(400)]
    length = sum(stretch[0] for stretch in stretches)
    edges = [length * part / 8 for part in range(9)]
    for start, end in pairwise(edges):
        wanted = integral(stretches, end) - integral(stretches, start)
        counts = [sum(start <= due_s < end for due_s in due) for due in runs]
        assert statistics.fmean(counts) == pytest.approx(wanted, abs=4.5 * math.sqrt(wanted / 400) + 1e-9)
        if wanted > 5:
            assert statistics.pvariance(counts) / wanted == pytest.approx(1, abs=0.35)


def test_a_poisson_ramp_is_a_poisson_process_on_the_axis_of_expected_arrivals():
    ramp = (4_000, 1, 50)
    due = drawn("poisson", ramp, seed=5)
    stretched = [ramp[1] * at + (ramp[2] - ramp[1]) * at**2 / (2 * ramp[0]) for at in due]
    assert statistics.fmean(gaps(stretched)) == pytest.approx(1, rel=0.02)
    assert variation(gaps(stretched)) == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("law", ["poisson", "constant", "gamma"])
@pytest.mark.parametrize("stretches", [[(20, 50, 50)], *SHAPES])
def test_arrivals_are_in_order_and_within_the_schedule(law: Law, stretches):
    due = drawn(law, *stretches, burstiness=0.3)
    assert due == sorted(due)
    assert due[0] >= 0
    assert due[-1] < sum(stretch[0] for stretch in stretches)


@pytest.mark.parametrize("law", ["poisson", "constant", "gamma"])
def test_so_many_requests_are_the_first_of_the_law_and_end_where_the_next_was_due(law: Law):
    schedule = open_requests(100, 5.0, law, 0.5, seed=3)
    longer = drawn(law, (1_000, 5, 5), burstiness=0.5, seed=3)
    assert list(schedule.due_s) == pytest.approx(longer[:100])
    assert schedule.end_s == pytest.approx(longer[100])
