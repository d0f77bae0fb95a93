"""What each metric of a load run means, as samples in milliseconds. Exact and pure; it decides nothing.

Latency is counted from the schedule, so a server that froze is seen by everyone who should have been served. A request
that failed was never answered: each of its per-request latencies is infinite, so no failure can improve a quantile.
The chunk metrics (icl, itl) pool what arrived and cannot see failures; goodput and error_rate do. Samples are whole
microseconds, as in the ledger, so that a run and its ledger are judged alike, but for the last of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from serving.facts.columns import Columns, Counts, Floats, Mask, columns
from serving.facts.measured import Measured
from serving.facts.traffic import RequestSeen

PER_REQUEST: Final = ("ttft", "ttft_wire", "ttfo", "tpot", "ntpot", "e2e", "stall", "tth")
PER_CHUNK: Final = ("icl", "itl")
METRICS: Final = {
    "ttft": "first token, from the scheduled time",
    "ttft_wire": "first token, from sending the request",
    "ttfo": "first content that is not reasoning, from the scheduled time",
    "itl": "gap per token (gap between chunks / tokens in the chunk)",
    "icl": "gap between chunks that carry tokens",
    "tpot": "(last chunk - first chunk) / (output tokens - 1)",
    "ntpot": "e2e / output tokens",
    "e2e": "end of the stream, from the scheduled time",
    "stall": "longest gap between chunks of a request",
    "tth": "response headers, from sending the request; no token has come by then",
}
MICROSECOND: Final = 3  # digits of a millisecond


def measured(metric: str, requests: Sequence[RequestSeen] | Columns) -> Measured:
    """The samples of a metric, or of `schedule_lag`, over these requests. Give columns to ask for several."""
    rows = columns(requests)
    if metric == "icl":
        return _chunk_gaps(rows)
    if metric == "itl":
        return _token_gaps(rows)
    if metric == "schedule_lag":
        lags = _ms(np.maximum(rows.left_s - rows.scheduled_s, 0.0))
        return Measured(lags[~np.isnan(lags)], owners=np.flatnonzero(~np.isnan(lags)))
    values = per_request(metric, rows)
    nothing = np.isnan(values)
    missing = _uncounted(metric, rows)
    undefined = int((nothing & ~missing).sum())
    return Measured(values[~nothing], None, np.flatnonzero(~nothing), int(missing.sum()), undefined)


def per_request(metric: str, rows: Columns) -> Floats:
    """A per-request latency of each request, in milliseconds: infinite when it failed, NaN when it has none."""
    tokens = rows.completion_tokens
    if metric == "ttft":
        found = _ms(rows.first_s - rows.scheduled_s)
    elif metric == "ttft_wire":
        found = _ms(rows.first_s - rows.sent_s)
    elif metric == "ttfo":
        found = _ms(rows.content_s - rows.scheduled_s)
    elif metric == "tth":
        found = _ms(rows.headers_s - rows.sent_s)
    elif metric == "e2e":
        found = _ms(rows.end_s - rows.scheduled_s)
    elif metric == "stall":
        found = np.round(rows.longest_gap_ms, MICROSECOND)
    elif metric == "tpot":
        found = _shared(rows.span_ms, np.where(tokens >= 2, tokens - 1, np.nan))
    elif metric == "ntpot":
        found = _shared((rows.end_s - rows.scheduled_s) * 1e3, np.where(tokens >= 1, tokens, np.nan))
    else:
        raise ValueError(f"{metric} is not a per-request metric")
    return np.where(rows.ok, found, math.inf)


def of_request(metric: str, request: RequestSeen) -> float | None:
    """`per_request` for a single request, fast enough for each as it ends. None when the latency is not defined.

    TPOT is undefined below two output tokens and without a usage count; a stall needs two chunks.
    """
    first, sent, end = request.first_s, request.sent_s, request.end_s
    if not request.ok or sent is None or end is None or first is None:
        return math.inf
    tokens, found = request.completion_tokens, None
    if metric == "ttft":
        found = (first - request.scheduled_s) * 1e3
    elif metric == "ttft_wire":
        found = (first - sent) * 1e3
    elif metric == "ttfo":
        found = None if request.content_s is None else (request.content_s - request.scheduled_s) * 1e3
    elif metric == "tth":
        found = None if request.headers_s is None else (request.headers_s - sent) * 1e3
    elif metric == "e2e":
        found = (end - request.scheduled_s) * 1e3
    elif metric == "stall":
        found = max(request.gaps_ms, default=None)
    elif metric == "tpot":
        found = None if tokens is None or tokens < 2 else sum(request.gaps_ms) / (tokens - 1)
    elif metric == "ntpot":
        found = None if not tokens else (end - request.scheduled_s) * 1e3 / tokens
    else:
        raise ValueError(f"{metric} is not a per-request metric")
    return None if found is None else round(found, MICROSECOND)


@dataclass(frozen=True)
class Summary:
    """The statistics of some samples in milliseconds, infinite where failed requests reach. `failed` counts those."""

    n: int
    failed: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


def summary(found: Measured | Sequence[float]) -> Summary | None:
    """The summary of samples, or None when there are none."""
    if not isinstance(found, Measured):
        found = Measured(np.asarray(found, dtype=np.float64))
    if not found.n:
        return None
    quantiles = {name: found.quantile(q) for name, q in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99))}
    return Summary(n=found.n, failed=found.failed, mean=found.mean, **quantiles, max=found.largest)


def _chunk_gaps(rows: Columns) -> Measured:
    return Measured(_gaps(rows), owners=_gap_owners(rows))


def _token_gaps(rows: Columns) -> Measured:
    """A gap is shared out evenly over the tokens that ended it, never as zeros within a chunk.

    A chunk that brought text but no new token hands its gap on to the next one. Requests without exact token counts
    have no samples here; as many as they must have had are missing.
    """
    gaps, tokens, owners = _gaps(rows), rows.gap_tokens, _gap_owners(rows)
    counted: Mask = np.repeat(rows.counted, rows.gap_counts)
    told = np.where(np.isnan(rows.completion_tokens), 0, rows.completion_tokens - 1)
    missing = int(np.maximum(rows.gap_counts, told)[~rows.counted & (rows.gap_counts > 0)].sum())
    if (tokens == 1).all():
        return Measured(gaps, None, owners, missing)
    ends = tokens > 0
    if not ends[counted].all():
        gaps = _handed_on(gaps, ends, owners)
    kept = ends & counted
    return Measured(gaps[kept] / tokens[kept], tokens[kept], owners[kept], missing)


def _handed_on(gaps: Floats, ends: Mask, owners: Counts) -> Floats:
    """Each gap with those before it in the same request that ended without a token."""
    upto = np.cumsum(gaps)
    places = np.flatnonzero(ends)
    before = np.concatenate(([-1], places[:-1]))  # where the last token before each came
    first_of = np.searchsorted(owners, owners[places])  # where its request begins
    start = np.where(before >= first_of, upto[before], upto[first_of] - gaps[first_of])
    result = gaps.copy()
    result[places] = np.round(upto[places] - start, MICROSECOND)
    return result


def _uncounted(metric: str, rows: Columns) -> Mask:
    """The requests that must have a sample of this metric which nobody could take, for want of a count or a stamp."""
    needed = {"tpot": rows.completion_tokens, "ntpot": rows.completion_tokens, "tth": rows.headers_s}.get(metric)
    none: Mask = np.zeros(len(rows), dtype=np.bool_) if needed is None else rows.ok & np.isnan(needed)
    return none


def _gaps(rows: Columns) -> Floats:
    return np.asarray(np.round(rows.gaps_ms.astype(np.float64), MICROSECOND))


def _gap_owners(rows: Columns) -> Counts:
    return np.repeat(np.arange(len(rows), dtype=np.int32), rows.gap_counts)


def _ms(seconds: Floats) -> Floats:
    return np.round(seconds * 1e3, MICROSECOND)


def _shared(milliseconds: Floats, among: Floats) -> Floats:
    return np.round(milliseconds / among, MICROSECOND)
