"""The samples of one metric, and what may be said of them: exact quantiles, their bounds, their mean.

Arithmetic alone: what a metric means is `facts.samples`', whether it is good enough is a judge's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from serving.facts.columns import Counts, Floats
from serving.facts.intervals import rank_bounds, samples_for_bound, student_t
from serving.facts.quantiles import rank


@dataclass(frozen=True, eq=False)
class Measured:
    """Samples in milliseconds, infinite where a request failed.

    `weights` says how many samples each value stands for, `owners` the request that it came from (None: one each).
    `missing` counts samples that exist but were not seen, `undefined` requests that have none by definition.
    """

    values: Floats
    weights: Counts | None = None
    owners: Counts | None = None
    missing: int = 0
    undefined: int = 0

    @cached_property
    def n(self) -> int:
        """How many samples were seen."""
        return int(self.values.size if self.weights is None else self.weights.sum())

    @cached_property
    def clusters(self) -> int:
        """How many requests they came from."""
        return self.n if self.owners is None else int(np.count_nonzero(np.bincount(self.owners)))

    @cached_property
    def failed(self) -> int:
        """How many are infinite."""
        return int(np.isinf(self.values).sum())

    def at(self, place: int) -> float:
        """The sample of this rank, from 1; minus infinity below the first, infinity above the last."""
        if place < 1:
            return -math.inf
        if place > self.n:
            return math.inf
        values, upto = self._ascending
        return float(values[place - 1 if upto is None else np.searchsorted(upto, place)])

    def quantile(self, q: float) -> float:
        """The nearest-rank quantile of the samples seen. Raises ValueError when there are none."""
        if not self.n:
            raise ValueError("no samples")
        return self.at(rank(q, self.n))

    def quantile_bounds(self, q: float, confidence: float) -> tuple[float, float]:
        """Bounds of the quantile `q`, each with this confidence, whatever the samples that were not seen may be.

        None from above where fewer requests brought the samples than could show one of the slow kind: however many
        gaps each has, a kind of request that was never sent shows in none of them.
        """
        n = self.n + self.missing
        size = min(n, max(1, math.floor(self.independent(q) + 1e-9)))
        lower, upper = rank_bounds(q, size, confidence)
        below = 0 if lower < 1 else (lower - 1) * n // size + 1
        above = n + 1 if upper > size or self.clusters < samples_for_bound(q, confidence) else -(-upper * n // size)
        return self.at(below - self.missing), self.at(above)

    def quantile_range(self, q: float) -> tuple[float, float]:
        """The quantile `q` itself: one value, or two that it lies between when some samples were not seen."""
        place = rank(q, self.n + self.missing)
        return self.at(place - self.missing), self.at(place)

    def over(self, limit: float) -> int:
        """How many samples exceed the limit."""
        beyond = self.values > limit
        return int(beyond.sum() if self.weights is None else self.weights[beyond].sum())

    def independent(self, q: float) -> float:
        """How many independent samples these are worth at the quantile `q`: all, unless requests brought several each.

        The gaps of one request are alike. The variance of the share below the quantile, taken between requests, tells
        how much: Kish's design effect. Never more than all, and no fewer than requests where every sample is below.
        """
        if self.owners is None or self.clusters == self.n:
            return float(self.n + self.missing)
        below = self.values <= self.quantile(q)
        sizes = _by_owner(self.owners, self.weights)
        hits = _by_owner(self.owners[below], None if self.weights is None else self.weights[below], sizes.size)
        share = float(hits.sum() / sizes.sum())
        if share == 1 or self.clusters < 2:
            return float(self.clusters)
        variance = _ratio_variance(hits, sizes, share, self.clusters)
        return float(self.n) if variance == 0 else float(min(self.n, share * (1 - share) / variance))

    @property
    def largest(self) -> float:
        """The largest sample; infinity when a request failed."""
        return self.at(self.n) if self.n else math.nan

    @cached_property
    def mean(self) -> float:
        """The mean; infinity when a request failed."""
        return float(np.average(self.values, weights=self.weights)) if self.n else math.nan

    def mean_bounds(self, confidence: float) -> tuple[float, float]:
        """Bounds of the mean by Student's t over requests; none can be had from fewer than two."""
        if math.isinf(self.mean):
            return math.inf, math.inf
        if self.clusters < 2:
            return -math.inf, math.inf
        owners = np.arange(self.values.size) if self.owners is None else self.owners
        total = self.values if self.weights is None else self.values * self.weights
        sums, sizes = _by_owner(owners, total), _by_owner(owners, self.weights)
        error = math.sqrt(_ratio_variance(sums, sizes, self.mean, self.clusters))
        reach = student_t(confidence, self.clusters - 1) * error
        return self.mean - reach, self.mean + reach

    @cached_property
    def _ascending(self) -> tuple[Floats, Counts | None]:
        """The values in ascending order, and how many samples there are up to each of them."""
        if self.weights is None:
            return np.sort(self.values), None
        order = np.argsort(self.values)
        return self.values[order], np.cumsum(self.weights[order])


def _by_owner(owners: Counts, values: Floats | Counts | None, least: int = 0) -> Floats:
    """The sum of the values of each request, or how many there are."""
    return np.bincount(owners, values, minlength=least).astype(np.float64)


def _ratio_variance(sums: Floats, sizes: Floats, ratio: float, clusters: int) -> float:
    """The variance of sum(sums) / sum(sizes), from how much the clusters differ."""
    rest = sums - ratio * sizes
    return float(clusters / (clusters - 1) * np.dot(rest, rest) / sizes.sum() ** 2)
