"""What load a run really was: how requests arrived, how many were open, what the server had cached, how cold it began.

Arithmetic over records; it judges nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from serving.facts.columns import Columns, Counts, Floats
from serving.facts.samples import per_request
from serving.facts.traffic import Traffic

PER_COUNT: Final = 10  # arrivals that a counting interval holds on average
FEWEST_COUNTS: Final = 10


@dataclass(frozen=True)
class Arrivals:
    """How requests left the harness.

    `cv` is the coefficient of variation of the time between two of them (Poisson 1, constant 0), `dispersion` the
    variance of how many leave in an interval over their mean (Poisson 1, constant near 0; the number of workers when
    all draw the same arrivals). Both are None where there are too few.
    """

    n: int
    rate_per_s: float | None
    cv: float | None
    dispersion: float | None


def arrivals(rows: Columns) -> Arrivals:
    """How the requests that were sent left, without the time their connections took. For one phase at one rate."""
    left = np.sort(rows.left_s[~np.isnan(rows.left_s)])
    n, span = left.size, float(np.ptp(left)) if left.size else 0.0
    if n < 3 or span == 0:
        return Arrivals(n, None, None, None)
    gaps = np.diff(left)
    intervals = n // PER_COUNT
    dispersion = None
    if intervals >= FEWEST_COUNTS:
        counts, _ = np.histogram(left, bins=intervals, range=(float(left[0]), float(left[-1])))
        dispersion = float(np.var(counts, ddof=1) / np.mean(counts))
    return Arrivals(n, (n - 1) / span, float(np.std(gaps, ddof=1) / np.mean(gaps)), dispersion)


def in_flight(rows: Columns) -> tuple[Floats, Counts]:
    """How many requests were open from each moment on: ascending times in seconds, and the counts from there."""
    open_ = ~np.isnan(rows.sent_s) & ~np.isnan(rows.end_s)
    times = np.concatenate((rows.sent_s[open_], rows.end_s[open_]))
    changes = np.repeat(np.array([1, -1]), int(open_.sum()))
    at, place = np.unique(times, return_inverse=True)
    return at, np.cumsum(np.bincount(place, changes, minlength=at.size)).astype(np.int64)


@dataclass(frozen=True)
class Tokens:
    """What went in and out, as the server counted it. `cached_share` is None where it tells nothing of its cache."""

    prompt: int
    output: int
    cached_share: float | None
    uncounted: int
    output_per_s: float | None


def tokens(rows: Columns) -> Tokens:
    """The tokens of these requests; the rate is over the time from the first that was due to the last that ended."""
    told = ~np.isnan(rows.cached_tokens) & ~np.isnan(rows.prompt_tokens)
    asked = float(rows.prompt_tokens[told].sum())
    output = int(np.nansum(rows.completion_tokens))
    ends = rows.end_s[~np.isnan(rows.end_s)]
    seconds = float(ends.max() - rows.scheduled_s.min()) if ends.size else 0.0
    return Tokens(
        prompt=int(np.nansum(rows.prompt_tokens)),
        output=output,
        cached_share=float(rows.cached_tokens[told].sum()) / asked if asked else None,
        uncounted=int((rows.ok & np.isnan(rows.completion_tokens)).sum()),
        output_per_s=output / seconds if seconds > 0 else None,
    )


@dataclass(frozen=True)
class Cold:
    """How much slower the first requests were than the steady state, by TTFT: 1 is no penalty.

    The first wave is every request that was due before the first one ended. Infinite when one of them failed.
    """

    first_ms: float
    first_wave_ms: float
    steady_ms: float
    wave: int

    @property
    def first_penalty(self) -> float:
        """TTFT of the very first request over the steady median."""
        return self.first_ms / self.steady_ms

    @property
    def first_wave_penalty(self) -> float:
        """Median TTFT of the first wave over the steady median."""
        return self.first_wave_ms / self.steady_ms


def cold_penalty(traffic: Traffic) -> Cold | None:
    """The penalty that the run's first requests paid, those of the warm-up included. None without a steady state."""
    ordered = Columns(sorted(traffic.requests, key=lambda request: (request.scheduled_s, request.index)))
    if not len(ordered):
        return None
    ttft = per_request("ttft", ordered)
    first_end = ordered.end_s[0]
    due = ordered.scheduled_s
    wave = due <= (due[0] if np.isnan(first_end) else first_end)
    steady = np.isin([request.index for request in ordered.requests], [r.index for r in traffic.window]) & ~wave
    settled = ttft[steady & np.isfinite(ttft)]
    if not settled.size:
        return None
    wave_ms = np.sort(ttft[wave])[(int(wave.sum()) - 1) // 2]
    return Cold(float(ttft[0]), float(wave_ms), float(np.median(settled)), int(wave.sum()))
