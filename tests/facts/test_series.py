"""A figure over time: parts of it, and what counters say."""

from __future__ import annotations

import pytest

from serving.facts.series import Series, increase, rates, resets, slope_per_hour

TENS = Series((0.0, 10.0, 20.0, 30.0), (1.0, 2.0, 4.0, 8.0))


def test_a_part_holds_both_its_ends():
    assert TENS.between(10, 20) == Series((10.0, 20.0), (2.0, 4.0))
    assert TENS.between(11, 19) == Series((), ())


@pytest.mark.parametrize(
    ("start", "end", "at_s"),
    [
        pytest.param(12, 18, (10, 20), id="the-values-just-outside"),
        pytest.param(10, 20, (10, 20), id="values-at-the-ends-are-enough"),
        pytest.param(-5, 12, (0, 10, 20), id="none-before-the-start"),
        pytest.param(25, 99, (20, 30), id="none-after-the-end"),
    ],
)
def test_the_part_around_a_time_reaches_the_values_that_enclose_it(start: float, end: float, at_s: tuple[float, ...]):
    assert TENS.around(start, end).at_s == at_s


@pytest.mark.parametrize(
    ("values", "risen", "fell"),
    [
        pytest.param((5, 5, 9), 4, (), id="rose"),
        pytest.param((5, 5, 5), 0, (), id="stood-still"),
        pytest.param((5, 9, 2), None, (2.0,), id="was-reset"),
        pytest.param((9, 2, 9, 1), None, (1.0, 3.0), id="was-reset-twice-and-ends-where-it-could-have-been"),
        pytest.param((5,), None, (), id="seen-once"),
        pytest.param((), None, (), id="never-seen"),
    ],
)
def test_a_counter_tells_its_rise_unless_it_was_reset(
    values: tuple[float, ...], risen: float | None, fell: tuple[float, ...]
):
    series = Series(tuple(float(at) for at in range(len(values))), values)
    assert increase(series) == risen
    assert resets(series) == fell


def test_a_rate_is_per_second_and_never_spans_a_reset():
    assert rates(Series((0, 2, 3, 4), (10, 30, 1, 4))) == Series((2, 4), (10.0, 3.0))


def test_a_slope_is_the_least_squares_line_per_hour():
    noisy = [1000 + at * 36 / 3600 + (1 if at % 2 else -1) for at in range(3600)]
    assert slope_per_hour(range(3600), noisy) == pytest.approx(36, abs=0.01)
    assert slope_per_hour((1, 1), (2, 3)) is None
