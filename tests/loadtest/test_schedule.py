"""The arrival laws, held to their own statistics."""

from __future__ import annotations

import statistics
from itertools import pairwise

import pytest

from loadtest.schedule import arrivals, constant, poisson


def gaps(due: tuple[float, ...]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(due)]


def counts(due: tuple[float, ...], duration_s: int, width_s: int) -> list[int]:
    found = [0] * (duration_s // width_s)
    for at in due:
        found[int(at // width_s)] += 1
    return found


def variation(values: list[float]) -> float:
    return statistics.pstdev(values) / statistics.fmean(values)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_poisson_counts_have_an_index_of_dispersion_of_one_at_every_scale(seed: int):
    due = poisson(20.0, 10_000, seed)
    for width_s in (1, 5, 20):
        found = counts(due, 10_000, width_s)
        assert statistics.pvariance(found) / statistics.fmean(found) == pytest.approx(1.0, abs=0.2)


def test_poisson_gaps_are_exponential_and_their_count_is_not_forced():
    due = poisson(20.0, 5_000, seed=4)
    assert variation(gaps(due)) == pytest.approx(1.0, abs=0.03)
    assert statistics.median(gaps(due)) == pytest.approx(0.6931 / 20, rel=0.03)
    assert len({len(poisson(20.0, 100, seed)) for seed in range(20)}) > 5, "a count that never varies was rescaled"
    assert len(due) == pytest.approx(100_000, rel=0.02)


def test_poisson_gaps_do_not_depend_on_each_other():
    found = gaps(poisson(5.0, 10_000, seed=6))
    assert abs(statistics.correlation(found[:-1], found[1:])) < 0.02


def test_poisson_seeds_give_different_schedules_and_one_seed_always_the_same():
    assert poisson(3.0, 50, seed=1) == poisson(3.0, 50, seed=1)
    assert poisson(3.0, 50, seed=1) != poisson(3.0, 50, seed=2)


def test_constant_gaps_do_not_vary_and_do_not_drift():
    due = constant(7.0, 3_600)
    assert variation(gaps(due)) < 1e-6
    assert len(due) == 25_200
    assert due[-1] == pytest.approx(25_199 / 7, abs=1e-9)


@pytest.mark.parametrize(("rate", "duration", "count"), [(2.0, 1.5, 3), (0.1, 30.0, 3), (3.3, 10.0, 33), (0.5, 1.0, 1)])
def test_constant_sends_rate_times_duration(rate: float, duration: float, count: int):
    assert len(constant(rate, duration)) == count


@pytest.mark.parametrize("law", ["poisson", "constant"])
def test_arrivals_are_in_order_and_within_the_duration(law):
    due = arrivals(law, 50.0, 20.0, seed=9)
    assert list(due) == sorted(due)
    assert due[0] >= 0
    assert due[-1] < 20.0
