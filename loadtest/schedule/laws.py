"""The arrival laws at unit rate, and how a rate that changes over time stretches them. Pure.

Every law draws points on an axis of expected arrivals: 0, 1, 2, ... when constant, a Poisson process of rate 1, a
stationary gamma renewal process of mean gap 1. A request is due when the integral of the rate reaches its point. That
is exact for any rate: the constant law keeps to the integral, and a Poisson process becomes the non-homogeneous one.
Nothing is rescaled to hit a count, so a random law's count varies as it should.
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count, islice, pairwise
from typing import Literal

Law = Literal["poisson", "constant", "gamma"]


@dataclass(frozen=True)
class Stretch:
    """A length of time over which the rate goes in a straight line from one value to another (or stays)."""

    length_s: float
    from_rps: float
    to_rps: float

    @property
    def expected(self) -> Fraction:
        """How many arrivals its rate adds up to, exact in the decimals that were written.

        >>> Stretch(10, 3.3, 3.3).expected, Stretch(10, 0, 5).expected
        (Fraction(33, 1), Fraction(25, 1))
        """
        return _exact(self.length_s) * (_exact(self.from_rps) + _exact(self.to_rps)) / 2

    def after_s(self, arrivals: float) -> float:
        """When the integral of the rate reaches this many arrivals, in seconds from the stretch's start."""
        if self.from_rps == self.to_rps:
            return arrivals / self.from_rps
        slope = (self.to_rps - self.from_rps) / self.length_s
        speed = math.sqrt(max(0.0, self.from_rps**2 + 2 * slope * arrivals))
        return 2 * arrivals / (self.from_rps + speed) if arrivals else 0.0


def points(law: Law, burstiness: float, seed: int) -> Iterator[float]:
    """The arrivals of a law at rate 1, in order and without end. `burstiness` is the shape of the gamma law's gaps.

    Shape k gives gaps with a coefficient of variation of 1 / sqrt(k): 1 is Poisson, less is burstier. The gamma
    process starts in its steady state (the first gap is what is left of one that has begun), so that the expected
    count is the integral of the rate from the first second on, as it is for Poisson.

    >>> list(islice(points("constant", 1.0, seed=0), 3))
    [0, 1, 2]
    """
    if law == "constant":
        yield from count()
    rng = random.Random(seed)
    if law == "poisson":
        at = 0.0
        while True:
            at += rng.expovariate(1.0)
            yield at
    at = rng.random() * rng.gammavariate(burstiness + 1, 1 / burstiness)
    while True:
        yield at
        at += rng.gammavariate(burstiness, 1 / burstiness)


def due_within(stretches: Sequence[Stretch], drawn: Iterator[float]) -> array[float]:
    """When each point is due, in seconds, up to the end of the last stretch. Each is computed by itself: no drift."""
    due = array("d")
    start, below = Fraction(0), Fraction(0)
    at = next(drawn)
    for stretch in stretches:
        end, above = start + _exact(stretch.length_s), below + stretch.expected
        start_s, offset, bound = float(start), float(below), float(above)
        last = math.nextafter(float(end), 0.0)
        while at < bound:
            due.append(min(last, start_s + stretch.after_s(at - offset)))
            at = next(drawn)
        start, below = end, above
    return due


def due_first(requests: int, rate_rps: float, drawn: Iterator[float]) -> tuple[array[float], float]:
    """When the first so many points are due at this rate, and when the next one would have been: the schedule's end."""
    *due, end_s = (at / rate_rps for at in islice(drawn, requests + 1))
    return array("d", due), end_s


def boundaries(stretches: Sequence[Stretch]) -> tuple[tuple[float, float], ...]:
    """Start and end of each stretch, in seconds.

    >>> boundaries([Stretch(0.1, 1, 1), Stretch(0.2, 2, 2)])
    ((0.0, 0.1), (0.1, 0.3))
    """
    ends = [Fraction(0)]
    for stretch in stretches:
        ends.append(ends[-1] + _exact(stretch.length_s))
    return tuple((float(start), float(end)) for start, end in pairwise(ends))


def _exact(number: float) -> Fraction:
    return Fraction(repr(float(number)))
