"""The histogram against exact quantiles of the same values."""

from __future__ import annotations

import json
import math
import random
from array import array

import pytest

from serving.facts.histogram import OCTAVE, SCALE, Histogram
from serving.facts.quantiles import quantile


def values(seed: int = 1, n: int = 5000) -> list[float]:
    """From nanoseconds to hours, in milliseconds."""
    rng = random.Random(seed)
    return [10 ** rng.uniform(-6, 7) for _ in range(n)]


def of(found: list[float]) -> Histogram:
    made = Histogram()
    for value in found:
        made.add(value)
    return made


@pytest.mark.parametrize("q", [0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0])
def test_quantiles_are_right_to_half_a_percent_at_every_size(q: float):
    assert of(values()).quantile(q) == pytest.approx(quantile(values(), q), rel=0.005)


def test_every_single_value_is_right_to_0_4_percent():
    for value in values(n=500):
        middle = of([value / 2, value, value, value * 2]).quantile(0.5)
        assert abs(middle / value - 1) <= 1 / 256


def test_count_total_mean_and_extremes_are_exact():
    found = of([0.5, 2.0, 8.25])
    assert (found.count, found.total, found.mean, found.least, found.largest) == (3, 10.75, 10.75 / 3, 0.5, 8.25)
    assert (found.quantile(0.001), found.quantile(1.0)) == pytest.approx((0.5, 8.25), rel=0.004)


def test_what_is_not_above_zero_counts_as_zero():
    found = of([-3.0, 0.0, 0.0, 5.0])
    assert (found.quantile(0.5), found.count, found.least) == (0.0, 4, -3.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
def test_what_is_no_number_is_refused_and_changes_nothing(value: float):
    found = of([1.0])
    before = found.document()
    with pytest.raises((ValueError, OverflowError)):
        found.add(value)
    for many in ([1.0, value], [1.0] * 1000 + [value]):
        with pytest.raises(ValueError, match="not finite"):
            found.add_many(many)
    assert found.document() == before


@pytest.mark.parametrize("n", [0, 1, 100, 5000])
def test_adding_many_is_adding_each(n: int):
    each, many, arrays = of(values(n=n)), Histogram(), Histogram()
    many.add_many(value for value in values(n=n))
    arrays.add_many(array("d", values(n=n)))
    for found in (many, arrays):
        assert found.counts == each.counts
        assert (found.count, found.least, found.largest) == (each.count, each.least, each.largest)
        assert found.total == pytest.approx(each.total)


def test_merging_is_counting_everything_in_one():
    left, right = of(values(1)), of(values(2))
    left.merge(right)
    left.merge(Histogram())
    both = of(values(1) + values(2))
    assert left.counts == both.counts
    assert (left.count, left.least, left.largest) == (both.count, both.least, both.largest)


def test_it_goes_through_json_and_back():
    for found in (of(values()), Histogram(), of([0.0])):
        assert Histogram.of_document(json.loads(json.dumps(found.document()))).document() == found.document()


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({}, id="empty"),
        pytest.param({"octave": 64, "count": 0, "total": 0, "buckets": []}, id="other-buckets"),
        pytest.param(of([1.0]).document() | {"count": 2}, id="does-not-add-up"),
        pytest.param({"octave": None}, id="nonsense"),
        pytest.param(of([1.0]).document() | {"count": math.inf}, id="infinite"),
        pytest.param(of([1.0]).document() | {"buckets": [[10**9, 1]]}, id="no-such-bucket"),
    ],
)
def test_what_is_no_histogram_is_refused(document: dict[str, object]):
    with pytest.raises(ValueError, match="histogram"):
        Histogram.of_document(document)


def test_nothing_has_no_quantile_and_no_mean():
    with pytest.raises(ValueError, match="no samples"):
        Histogram().quantile(0.5)
    with pytest.raises(ValueError, match="no samples"):
        _ = Histogram().mean


def test_it_stays_small_however_much_it_counts():
    found = Histogram()
    found.add_many(values(n=50_000))
    assert len(found.counts) <= OCTAVE * math.log2(10**13) + OCTAVE


def test_the_hot_path_uses_the_same_buckets_as_the_constants_say():
    assert (OCTAVE, SCALE) == (128, 256)
