"""Exact quantiles of raw samples. No bucket, no interpolation: every quantile returned is a value that was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction


def quantile(samples: Sequence[float], q: float) -> float:
    """The nearest-rank quantile: the smallest sample that at least a share `q` (0 < q <= 1) of all do not exceed.

    Raises ValueError for an empty sequence and for NaN: a statistic of nothing is not a number.

    >>> quantile([4.0, 1.0, 3.0, 2.0], 0.5)
    2.0
    >>> quantile([4.0, 1.0, 3.0, 2.0], 0.99)
    4.0
    """
    if not samples:
        raise ValueError("no samples")
    if any(math.isnan(sample) for sample in samples):
        raise ValueError("a sample is not a number")
    return sorted(samples)[rank(q, len(samples)) - 1]


def rank(q: float, n: int) -> int:
    """The nearest rank, from 1, of the quantile `q` among `n` samples. `q` means the decimal that was written.

    >>> rank(0.95, 20), rank(0.07, 100)  # 0.07 * 100 is 7.000000000000001 in floating point
    (19, 7)
    """
    return math.ceil(_share(q) * n)


def samples_needed(q: float) -> int:
    """How many samples the quantile `q` needs to mean more than "the slowest one": ceil(1 / (1 - q)).

    >>> [samples_needed(q) for q in (0.5, 0.9, 0.95, 0.99, 1.0)]
    [2, 10, 20, 100, 1]
    """
    share = _share(q)
    return 1 if share == 1 else math.ceil(1 / (1 - share))


def _share(q: float) -> Fraction:
    if not 0 < q <= 1:
        raise ValueError(f"q must be in (0, 1], not {q}")
    return Fraction(repr(float(q)))
