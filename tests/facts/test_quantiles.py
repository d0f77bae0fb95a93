"""Quantiles against the definition itself: count, do not compute."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest

from serving.facts.quantiles import quantile, rank, samples_needed


def by_definition(samples: list[float], q: str) -> float:
    """The smallest sample that at least a share q of all samples do not exceed, by counting."""
    for candidate in sorted(samples):
        if Fraction(sum(sample <= candidate for sample in samples), len(samples)) >= Fraction(q):
            return candidate
    raise AssertionError("a quantile always exists")


@pytest.mark.parametrize("q", ["0.001", "0.07", "0.29", "0.5", "0.57", "0.9", "0.95", "0.99", "0.999", "1"])
def test_quantile_is_what_the_definition_says(q: str):
    rng = random.Random(5)
    for n in (1, 2, 3, 7, 19, 20, 21, 99, 100, 101, 1000):
        samples = [rng.choice([rng.random(), 1.0, 2.0]) for _ in range(n)]
        assert quantile(samples, float(q)) == by_definition(samples, q), n


def test_a_quantile_is_always_a_sample_and_never_mixes_two():
    assert quantile([1.0, 100.0], 0.5) == 1.0
    assert quantile([1.0, 100.0], 0.51) == 100.0


def test_a_tiny_share_is_the_smallest_sample():
    assert quantile([1.0, 2.0, 3.0], 1e-12) == 1.0


def test_infinite_samples_are_the_slowest():
    assert quantile([math.inf, 1.0, 2.0], 0.5) == 2.0
    assert quantile([math.inf, 1.0, 2.0], 0.9) == math.inf


@pytest.mark.parametrize("q", [0.0, -0.1, 1.0001, math.nan], ids=str)
def test_a_share_outside_of_0_to_1_is_refused(q: float):
    with pytest.raises(ValueError, match="q must be in"):
        quantile([1.0], q)


def test_nothing_and_nan_have_no_quantile():
    with pytest.raises(ValueError, match="no samples"):
        quantile([], 0.5)
    with pytest.raises(ValueError, match="not a number"):
        quantile([1.0, math.nan], 0.5)


def test_rank_reads_the_share_as_it_was_written():
    assert [rank(q / 100, 100) for q in range(1, 101)] == list(range(1, 101))


@pytest.mark.parametrize(("q", "needed"), [(0.5, 2), (0.9, 10), (0.95, 20), (0.99, 100), (0.999, 1000), (1.0, 1)])
def test_samples_needed_is_the_fewest_for_which_the_quantile_is_not_beyond_the_samples(q: float, needed: int):
    assert samples_needed(q) == needed
