"""Exact quantiles of raw samples. No bucket, no interpolation: every quantile returned is a value that was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence


def quantile(samples: Sequence[float], q: float) -> float:
    """The nearest-rank quantile: the smallest sample that at least a share `q` (0 < q <= 1) of all do not exceed.

    Raises ValueError for an empty sequence: a statistic of nothing is not a number.

    >>> quantile([4.0, 1.0, 3.0, 2.0], 0.5)
    2.0
    >>> quantile([4.0, 1.0, 3.0, 2.0], 0.99)
    4.0
    """
    if not samples:
        raise ValueError("no samples")
    if not 0 < q <= 1:
        raise ValueError(f"q must be in (0, 1], not {q}")
    ordered = sorted(samples)
    return ordered[math.ceil(q * len(ordered) - 1e-9) - 1]
