"""A histogram of positive values that is right to 0.4 %, whatever their size: it merges, and its size stays small.

Each octave is cut into 128 buckets of equal width (log-linear, as in HdrHistogram), so a quantile is off by less than
0.4 % of its value; count, total, least and largest are exact. Values at or below zero keep their count, their total and
the least of them. For what is counted by the million; gates rest on raw samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from math import frexp
from typing import Any, Final

import numpy as np

from serving.facts.quantiles import rank

OCTAVE: Final = 128
SCALE: Final = 2 * OCTAVE  # frexp's mantissa lies in 0.5..1
ZERO: Final = -(1 << 20)  # the bucket of values at or below zero, before every other
RELATIVE_ERROR: Final = 1 / SCALE
FEW: Final = 256  # below it, numpy's start costs more than it saves


class Histogram:
    """Counts by bucket. `add` is for the hot path, `add_many` for whole arrays."""

    __slots__ = ("count", "counts", "largest", "least", "total")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.count = 0
        self.total = 0.0
        self.least = math.inf
        self.largest = -math.inf

    def add(self, value: float) -> None:
        """Count one finite value; others raise ValueError or OverflowError and change nothing."""
        if value > 0:
            mantissa, exponent = frexp(value)
            bucket = exponent * 128 + int(mantissa * 256)  # OCTAVE and SCALE, which look-ups would make slower
        else:
            bucket = ZERO + int(value * 0)
        counts = self.counts
        counts[bucket] = counts.get(bucket, 0) + 1
        self.count += 1
        self.total += value
        if value > self.largest:
            self.largest = value
        if value < self.least:
            self.least = value

    def add_many(self, values: Iterable[float]) -> None:
        """Count many finite values, best an array of them."""
        found = np.asarray(values if hasattr(values, "__len__") else list(values), dtype=np.float64)
        if not np.isfinite(found).all():
            raise ValueError("a value is not finite")
        if found.size < FEW:
            for value in found.tolist():
                self.add(value)
            return
        mantissa, exponent = np.frexp(found)
        buckets = np.where(found > 0, exponent.astype(np.int64) * OCTAVE + (mantissa * SCALE).astype(np.int64), ZERO)
        for bucket, count in zip(*(part.tolist() for part in np.unique(buckets, return_counts=True)), strict=True):
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.count += found.size
        self.total += float(found.sum())
        self.largest = max(self.largest, float(found.max()))
        self.least = min(self.least, float(found.min()))

    def merge(self, other: Histogram) -> None:
        """Take in what another one counted; the result is as if one had counted it all."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.count += other.count
        self.total += other.total
        self.largest = max(self.largest, other.largest)
        self.least = min(self.least, other.least)

    def quantile(self, q: float) -> float:
        """The nearest-rank quantile, to within RELATIVE_ERROR. Raises ValueError when nothing was counted."""
        if not self.count:
            raise ValueError("no samples")
        wanted, passed = rank(q, self.count), 0
        for bucket in sorted(self.counts):
            passed += self.counts[bucket]
            if passed >= wanted:
                return min(max(_middle(bucket), self.least), self.largest)
        raise AssertionError("the counts are fewer than the count")

    @property
    def mean(self) -> float:
        """The exact mean. Raises ValueError when nothing was counted."""
        if not self.count:
            raise ValueError("no samples")
        return self.total / self.count

    def document(self) -> dict[str, Any]:
        """The histogram as plain data for JSON or msgpack; `of_document` reads it back."""
        extremes = {"least": self.least, "largest": self.largest} if self.count else {}
        buckets = [[bucket, self.counts[bucket]] for bucket in sorted(self.counts)]
        return {"octave": OCTAVE, "count": self.count, "total": self.total, **extremes, "buckets": buckets}

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Histogram:
        """The histogram that `document` told of. Raises ValueError when it is not one."""
        made = cls()
        try:
            if document["octave"] != OCTAVE:
                raise ValueError(f"a histogram with {document['octave']} buckets an octave, not {OCTAVE}")
            made.counts = {int(bucket): int(count) for bucket, count in document["buckets"]}
            made.count, made.total = int(document["count"]), float(document["total"])
            if made.count:
                made.least, made.largest = float(document["least"]), float(document["largest"])
                _middle(max(made.counts, default=ZERO))
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"not a histogram: {error}") from error
        if sum(made.counts.values()) != made.count or any(count < 1 for count in made.counts.values()):
            raise ValueError("not a histogram: its buckets do not add up to its count")
        return made


def _middle(bucket: int) -> float:
    """The middle of a bucket: an octave's buckets are numbered 128 to 255 above its exponent."""
    if bucket == ZERO:
        return 0.0
    exponent, place = divmod(bucket - OCTAVE, OCTAVE)
    return math.ldexp((OCTAVE + place + 0.5) / SCALE, exponent)
