"""Decides when requests are due: absolute seconds from the start of the run, all computed before it. Pure.

Nothing here sleeps or looks at a clock, and a gap is never rescaled: a Poisson schedule has exponential gaps and a
count that varies, as the law says.
"""

from __future__ import annotations

import math
import random
from typing import Literal


def arrivals(law: Literal["poisson", "constant"], rate_rps: float, duration_s: float, seed: int) -> tuple[float, ...]:
    """The arrivals of a law at `rate_rps` within [0, duration_s), in order."""
    return poisson(rate_rps, duration_s, seed) if law == "poisson" else constant(rate_rps, duration_s)


def constant(rate_rps: float, duration_s: float) -> tuple[float, ...]:
    """One arrival every 1 / rate seconds, from 0 on. Each is computed by itself, so errors do not add up.

    >>> constant(2.0, 1.5)
    (0.0, 0.5, 1.0)
    """
    count = math.ceil(round(rate_rps * duration_s, 6))
    return tuple(index / rate_rps for index in range(count))


def poisson(rate_rps: float, duration_s: float, seed: int) -> tuple[float, ...]:
    """Arrivals of a Poisson process: independent exponential gaps with mean 1 / rate."""
    rng = random.Random(seed)
    due: list[float] = []
    at = rng.expovariate(rate_rps)
    while at < duration_s:
        due.append(at)
        at += rng.expovariate(rate_rps)
    return tuple(due)
