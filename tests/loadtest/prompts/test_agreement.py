from __future__ import annotations

import numpy
import pytest

from loadtest.prompts.agreement import agreement


def test_it_tells_how_far_the_counts_are_from_what_was_asked():
    asked = [200] * 500
    found = [int(count) for count in numpy.random.default_rng(1).normal(200, 5, 500).round()]
    told = agreement(zip(asked, found, strict=True))
    assert told is not None
    off = numpy.abs(numpy.array(found) - 200)
    assert told.difference_mean == pytest.approx(off.mean())
    assert told.difference_p99 == numpy.quantile(off, 0.99, method="inverted_cdf")
    assert told.counted_mean == pytest.approx(numpy.mean(found))


def test_requests_without_a_count_are_told_of_and_never_agree():
    told = agreement([(10, None), (10, 10), (None, 10)])
    assert told is not None
    assert (told.requests, told.uncounted) == (1, 1)


@pytest.mark.parametrize("pairs", [pytest.param([], id="nothing"), pytest.param([(10, None)], id="not-counted")])
def test_nothing_to_compare_is_no_agreement(pairs: list[tuple[int | None, int | None]]):
    assert agreement(pairs) is None
