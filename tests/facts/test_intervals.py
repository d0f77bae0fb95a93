"""Exact intervals against exact fractions, published tables, and simulation."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest

from serving.facts.intervals import (
    beta_cdf,
    binomial_cdf,
    rank_bounds,
    samples_for_bound,
    samples_to_decide,
    share_bounds,
    student_t,
)


def exact_cdf(k: int, n: int, p: Fraction) -> Fraction:
    return sum((math.comb(n, hits) * p**hits * (1 - p) ** (n - hits) for hits in range(k + 1)), Fraction(0))


@pytest.mark.parametrize("p", ["1/100", "1/20", "1/2", "9/10", "99/100"])
def test_binomial_probabilities_are_the_sum_of_fractions(p: str):
    for n in (1, 2, 7, 40, 150):
        for k in {0, 1, n // 3, n // 2, n - 1}:
            assert binomial_cdf(k, n, float(Fraction(p))) == pytest.approx(
                float(exact_cdf(k, n, Fraction(p))), rel=1e-9
            )
    assert (binomial_cdf(-1, 5, 0.5), binomial_cdf(5, 5, 0.5)) == (0.0, 1.0)


@pytest.mark.parametrize("q", ["1/2", "9/10", "19/20", "99/100"])
@pytest.mark.parametrize("confidence", ["9/10", "19/20", "99/100"])
def test_ranks_are_the_tightest_that_are_sure_enough(q: str, confidence: str):
    """The lower rank l is the largest with P(fewer than l at or below) <= alpha; the upper the smallest alike."""
    share, sure = Fraction(q), Fraction(confidence)
    for n in (1, 5, 10, 34, 59, 120):
        upto = [exact_cdf(k, n, share) for k in range(n)]
        lower = max((l for l in range(1, n + 1) if upto[l - 1] <= 1 - sure), default=0)  # noqa: E741
        upper = min((u for u in range(1, n + 1) if upto[u - 1] >= sure), default=n + 1)
        assert rank_bounds(float(share), n, float(sure)) == (lower, upper), n


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        pytest.param(0, 10, 0.0, 0.3085, id="none-of-10"),
        pytest.param(1, 10, 0.0025, 0.4450, id="1-of-10"),
        pytest.param(5, 10, 0.1871, 0.8129, id="5-of-10"),
        pytest.param(10, 10, 0.6915, 1.0, id="all-of-10"),
        pytest.param(1, 100, 0.0003, 0.0545, id="1-of-100"),
    ],
)
def test_shares_have_the_published_clopper_pearson_limits(hits: int, n: int, low: float, high: float):
    assert share_bounds(hits, n, 0.975) == pytest.approx((low, high), abs=6e-5)


def test_bounds_of_a_share_are_where_the_exact_tail_has_what_is_left():
    low, high = share_bounds(3, 40, 0.95)
    assert 1 - float(exact_cdf(2, 40, Fraction(low))) == pytest.approx(0.05, abs=1e-9)
    assert float(exact_cdf(3, 40, Fraction(high))) == pytest.approx(0.05, abs=1e-9)


def test_nothing_is_known_of_a_share_of_nothing():
    assert share_bounds(0, 0, 0.95) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("q", "confidence", "needed"),
    [(0.9, 0.95, 29), (0.95, 0.95, 59), (0.99, 0.95, 299), (0.95, 0.99, 90), (0.5, 0.75, 2)],
)
def test_the_largest_of_wilks_number_of_samples_bounds_a_quantile(q: float, confidence: float, needed: int):
    assert samples_for_bound(q, confidence) == needed
    assert rank_bounds(q, needed, confidence)[1] == needed
    assert rank_bounds(q, needed - 1, confidence)[1] == needed  # beyond the last of one fewer


def test_samples_to_decide_are_enough_and_hardly_more_than_enough():
    for share, limit in ((0.01, 0.05), (0.04, 0.05), (0.2, 0.05)):
        n = samples_to_decide(share, limit, 0.95)
        assert n is not None
        low, high = share_bounds(share * n, n, 0.95)
        assert high <= limit or low > limit
        low, high = share_bounds(share * n / 2, n / 2, 0.95)
        assert low <= limit < high
    assert samples_to_decide(0.05, 0.05, 0.95) is None


@pytest.mark.parametrize(
    ("freedom", "table"), [(1, 12.706), (4, 2.776), (9, 2.262), (29, 2.045), (120, 1.980), (1e7, 1.960)]
)
def test_students_t_is_the_printed_one(freedom: float, table: float):
    assert student_t(0.975, freedom) == pytest.approx(table, abs=6e-4)


def test_a_beta_of_ones_is_uniform_and_mirrors_itself():
    assert beta_cdf(1, 1, 0.3) == pytest.approx(0.3)
    assert beta_cdf(2.5, 7.25, 0.3) == pytest.approx(1 - beta_cdf(7.25, 2.5, 0.7))
    assert (beta_cdf(2, 3, 0), beta_cdf(2, 3, 1)) == (0.0, 1.0)


def test_large_runs_agree_with_the_normal_law():
    low, high = rank_bounds(0.99, 1_000_000, 0.95)
    reach = 1.6449 * math.sqrt(1_000_000 * 0.99 * 0.01)
    assert (low, high) == pytest.approx((990_000 - reach, 990_000 + reach), abs=3)


def test_bounds_of_a_quantile_hold_as_often_as_they_say():
    """1000 runs of 120 samples, p95, 95 %: no more than 72 misses a side, which luck exceeds less than once in 1000."""
    rng = random.Random(17)
    truth = -math.log(0.05)  # the p95 of an exponential law
    missed_low = missed_high = 0
    low, high = rank_bounds(0.95, 120, 0.95)
    for _ in range(1000):
        values = sorted(rng.expovariate(1.0) for _ in range(120))
        missed_low += values[low - 1] > truth
        missed_high += values[high - 1] < truth
    assert max(missed_low, missed_high) <= 72
    assert missed_low > 5  # and they are not simply far apart
