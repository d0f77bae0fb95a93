"""One figure over time, and what may be said of it: a part of it, how much a counter rose, whether it fell. Pure.

Times are seconds from the start of the run. A counter that falls was reset: what counted it has restarted, and what it
counted in between is not known.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Series:
    """Values at ascending times."""

    at_s: tuple[float, ...]
    values: tuple[float, ...]

    def between(self, start_s: float, end_s: float) -> Series:
        """The part from `start_s` to `end_s`, both included."""
        part = slice(bisect_left(self.at_s, start_s), bisect_right(self.at_s, end_s))
        return Series(self.at_s[part], self.values[part])

    def around(self, start_s: float, end_s: float) -> Series:
        """The part from the last value at or before `start_s` to the first at or after `end_s`, where there are such.

        What a counter gained from one end of this part to the other is never less than what it gained in between.
        """
        first = max(0, bisect_right(self.at_s, start_s) - 1)
        part = slice(first, bisect_left(self.at_s, end_s) + 1)
        return Series(self.at_s[part], self.values[part])


def resets(counter: Series) -> tuple[float, ...]:
    """When the counter was found lower than before.

    >>> resets(Series((0.0, 1.0, 2.0), (5.0, 7.0, 1.0)))
    (2.0,)
    """
    pairs = zip(pairwise(counter.values), counter.at_s[1:], strict=True)
    return tuple(at for (earlier, later), at in pairs if later < earlier)


def increase(counter: Series) -> float | None:
    """How much the counter rose from its first value to its last; None when it was reset, or seen less than twice."""
    if len(counter.values) < 2 or resets(counter):
        return None
    return counter.values[-1] - counter.values[0]


def rates(counter: Series) -> Series:
    """The counter's gain per second between each two values, at the later one. There is none across a reset.

    >>> rates(Series((0.0, 1.0, 3.0), (0.0, 5.0, 25.0)))
    Series(at_s=(1.0, 3.0), values=(5.0, 10.0))
    """
    steps = [
        (until, (later - earlier) / (until - since))
        for (since, earlier), (until, later) in pairwise(zip(counter.at_s, counter.values, strict=True))
        if later >= earlier and until > since
    ]
    return Series(tuple(at for at, _ in steps), tuple(rate for _, rate in steps))


def slope_per_hour(at_s: Sequence[float], values: Sequence[float]) -> float | None:
    """The slope of the least-squares line, per hour; None when there are not two different times.

    >>> slope_per_hour((0.0, 1800.0, 3600.0), (10.0, 11.0, 12.0))
    2.0
    """
    if len(set(at_s)) < 2:
        return None
    middle, mean = sum(at_s) / len(at_s), sum(values) / len(values)
    spread = sum((at - middle) ** 2 for at in at_s)
    return 3600 * sum((at - middle) * (value - mean) for at, value in zip(at_s, values, strict=True)) / spread
