"""How sure a run can be of a quantile or a share: exact bounds that assume no shape of the distribution. Pure.

Every `confidence` is one-sided: each bound, taken alone, holds with at least that probability, so a verdict that rests
on one bound is wrong at most that rarely. Samples are taken as independent; samples that come in clusters count as
fewer (`facts.samples.Measured.independent`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

HALVINGS: Final = 60
TINY: Final = 1e-300
ACCURACY: Final = 1e-15
ROUNDING: Final = 1e-9  # so that a tie, which fractions would show, stays one


def binomial_cdf(k: int, n: int, p: float) -> float:
    """The probability of at most `k` hits in `n` trials that each hit with probability `p`.

    >>> binomial_cdf(1, 2, 0.5)
    0.75
    """
    if k < 0:
        return 0.0
    if k >= n:
        return 1.0
    return beta_cdf(n - k, k + 1, 1 - p)


def rank_bounds(q: float, n: int, confidence: float) -> tuple[int, int]:
    """The ranks, from 1, of the order statistics that bound the quantile `q` (0 < q < 1) from below and from above.

    Rank 0 is "no lower bound", rank n + 1 is "no upper bound": no sample is that sure.

    >>> rank_bounds(0.5, 10, 0.975)  # the textbook interval for a median of ten
    (2, 9)
    >>> rank_bounds(0.95, 58, 0.95)[1], rank_bounds(0.95, 59, 0.95)[1]
    (59, 59)
    """
    alpha = 1 - confidence
    lower = _first(0, n, lambda k: binomial_cdf(k, n, q) > alpha * (1 + ROUNDING))  # ranks up to k are low enough
    upper = _first(0, n, lambda k: k < n and binomial_cdf(k, n, q) >= confidence - alpha * ROUNDING)
    return lower, upper + 1


def share_bounds(hits: float, n: float, confidence: float) -> tuple[float, float]:
    """Clopper and Pearson's exact bounds of a share of which `hits` of `n` were seen.

    Both may be fractions, for an effective number of samples.

    >>> [round(bound, 4) for bound in share_bounds(0, 10, 0.975)]
    [0.0, 0.3085]
    """
    alpha = 1 - confidence
    lower = 0.0 if hits <= 0 else _solve(lambda p: beta_cdf(hits, n - hits + 1, p) > alpha)
    upper = 1.0 if hits >= n else _solve(lambda p: beta_cdf(hits + 1, n - hits, p) > confidence)
    return lower, upper


def samples_for_bound(q: float, confidence: float) -> int:
    """The fewest samples of which the largest bounds the quantile `q` from above.

    >>> [samples_for_bound(q, 0.95) for q in (0.5, 0.9, 0.95, 0.99)]
    [5, 29, 59, 299]
    """
    return math.ceil(math.log(1 - confidence) / math.log(q) - ROUNDING)


def samples_to_decide(share: float, limit: float, confidence: float, most: int = 10**7) -> int | None:
    """About how many samples settle on which side of `limit` a share lies, were it to stay as it was seen.

    None when it lies too close for `most` samples.

    >>> samples_to_decide(0.0, 0.05, 0.95), samples_to_decide(0.05, 0.05, 0.95)
    (59, None)
    """
    alpha = 1 - confidence

    def settled(n: int) -> bool:
        hits = share * n
        below = beta_cdf(n - hits, hits + 1, 1 - limit) <= alpha  # so few hits are too rare for a share at the limit
        return below or (hits > 0 and beta_cdf(hits, n - hits + 1, limit) < alpha)

    high = 1
    while not settled(high):
        high *= 2
        if high > most:
            return None
    return _first(high // 2, high, settled)


def student_t(confidence: float, freedom: float) -> float:
    """The one-sided quantile of Student's t: what turns a standard error into a bound of a mean.

    >>> round(student_t(0.975, 9), 3)
    2.262
    """
    x = _solve(lambda x: beta_cdf(freedom / 2, 0.5, x) > 2 * (1 - confidence))
    return math.sqrt(freedom * (1 - x) / x)


def beta_cdf(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function: the probability that a Beta(a, b) value is at most `x`."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(b, a, 1 - x)  # there the fraction below converges quickly
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(scale) / (a * _continued_fraction(a, b, x))


def _continued_fraction(a: float, b: float, x: float) -> float:
    """1 + d1 / (1 + d2 / (1 + ...)), evaluated from the front after Lentz; takes about sqrt(max(a, b)) steps."""
    value = front = 1.0
    back = 0.0
    step = 0
    while True:
        step += 1
        m = step // 2
        if step % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        back = 1 / ((1 + d * back) or TINY)
        front = (1 + d / front) or TINY
        value *= front * back
        if abs(front * back - 1) < ACCURACY:
            return value


def _solve(beyond: Callable[[float], bool]) -> float:
    """The place in 0..1 from which on `beyond` holds."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return high


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The first of low..high for which `holds` is true, when it stays true from there; `high` when it never is."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return high
