"""The bootstrap against doing it the long way: draw the blocks, pool their samples, sort."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from serving.facts.bootstrap import blocks_of, bounds, drawn_quantiles, drawn_shares, draws, edges_of
from serving.facts.measured import Measured
from serving.facts.quantiles import quantile


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_a_draws_quantile_is_that_of_its_blocks_pooled(weighted: bool):
    rng = np.random.default_rng(1)
    values, block = np.round(rng.lognormal(size=300), 2), rng.integers(0, 12, 300)
    weights = rng.integers(1, 5, 300) if weighted else np.ones(300, dtype=np.int64)
    drawn = draws(12, seed=3, count=50)
    found = drawn_quantiles(Measured(values, weights if weighted else None), block, 12, (0.5, 0.95), drawn)
    for row, times in enumerate(drawn.astype(int)):
        pool = [
            value
            for value, weight, where in zip(values.tolist(), weights.tolist(), block.tolist(), strict=True)
            for _ in range(weight * times[where])
        ]
        assert found[row].tolist() == [quantile(pool, 0.5), quantile(pool, 0.95)]


def test_samples_go_by_the_block_of_the_request_that_they_came_from():
    found = Measured(np.array([1.0, 1.0, 9.0]), owners=np.array([0, 0, 1]))
    only_first, only_second = np.array([[2.0, 0.0]]), np.array([[0.0, 2.0]])
    assert drawn_quantiles(found, np.array([0, 1]), 2, (0.9,), only_first).tolist() == [[1.0]]
    assert drawn_quantiles(found, np.array([0, 1]), 2, (0.9,), only_second).tolist() == [[9.0]]


def test_a_draw_without_samples_says_nothing():
    found = Measured(np.array([1.0]))
    assert math.isnan(drawn_quantiles(found, np.array([0]), 2, (0.5,), np.array([[0.0, 2.0]]))[0, 0])
    assert math.isnan(drawn_quantiles(Measured(np.array([])), np.array([]), 2, (0.5,), draws(2, 0, 1))[0, 0])
    assert math.isnan(drawn_shares(np.array([True]), np.array([0]), 2, np.array([[0.0, 2.0]]))[0])


def test_failures_stay_infinite_in_every_draw():
    found = Measured(np.array([1.0] * 9 + [math.inf]))
    drawn = drawn_quantiles(found, np.zeros(10, dtype=np.int64), 1, (0.9, 0.95), draws(1, 0, 5))
    assert drawn.tolist() == [[1.0, math.inf]] * 5


def test_many_samples_are_grouped_and_keep_their_quantiles():
    values = np.random.default_rng(2).lognormal(size=200_000)
    drawn = drawn_quantiles(Measured(values), np.zeros(values.size, dtype=np.int64), 1, (0.5, 0.99), draws(1, 0, 1))
    assert drawn[0].tolist() == pytest.approx(
        [quantile(values.tolist(), 0.5), quantile(values.tolist(), 0.99)], rel=1e-3
    )


def test_a_draws_share_is_that_of_its_blocks_pooled():
    hits, block = np.array([True, True, False, True]), np.array([0, 0, 1, 1])
    drawn = np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    assert drawn_shares(hits, block, 2, drawn).tolist() == [1.0, 0.75, 0.5]


def test_blocks_hold_about_as_many_requests_each_in_the_order_of_time():
    times = np.random.default_rng(5).exponential(size=403).cumsum()
    block = blocks_of(times, edges_of(times, 40))
    assert np.bincount(block).min() >= 10
    assert np.bincount(block).max() <= 11
    assert (np.diff(block) >= 0).all()
    assert blocks_of(times, edges_of(times, 1)).max() == 0


def test_bounds_cut_off_what_confidence_leaves_and_take_unknowns_for_anything():
    values = np.arange(1, 101).astype(np.float64)
    assert bounds(values, 0.95) == (6.0, 95.0)
    some = values.copy()
    some[:5] = math.nan
    assert bounds(some, 0.95) == (6.0, 100.0)
    assert bounds(values, 0.99) == (2.0, 99.0)
    assert bounds(values, 0.995) == (-math.inf, math.inf)
    some[5] = math.nan
    assert bounds(some, 0.95) == (-math.inf, math.inf)


def test_the_same_seed_draws_the_same():
    assert (draws(20, 7) == draws(20, 7)).all()
    assert (draws(20, 7) != draws(20, 8)).any()
    assert (draws(20, 7).sum(axis=1) == 20).all()


def test_bounds_of_a_median_hold_as_often_as_they_say_when_neighbours_are_alike():
    """250 runs of 30 blocks whose requests share a shift, which single requests would hide."""
    rng = np.random.default_rng(9)
    missed_low = missed_high = 0
    for run in range(250):
        values = (rng.standard_normal((30, 1)) + 0.3 * rng.standard_normal((30, 20))).ravel()
        block = np.repeat(np.arange(30), 20)
        low, high = bounds(drawn_quantiles(Measured(values), block, 30, (0.5,), draws(30, run, 400))[:, 0], 0.95)
        missed_low += low > 0
        missed_high += high < 0
    assert max(missed_low, missed_high) <= 250 * (0.07 + 3 * math.sqrt(0.07 * 0.93 / 250))
    assert statistics.fmean([missed_low, missed_high]) > 2
