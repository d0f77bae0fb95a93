"""What each metric of a load run means, as samples in milliseconds. Exact and pure; no statistic but a summary.

Latency is counted from the schedule, so a server that froze is seen by everyone who should have been served. A request
that failed was never answered: each of its per-request latencies is infinite, so no failure can improve a quantile.
The chunk metrics (icl, itl) pool what arrived and cannot see failures; goodput and error_rate do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from serving.facts.quantiles import quantile
from serving.facts.traffic import RequestSeen

PER_REQUEST: Final = ("ttft", "ttft_wire", "tpot", "e2e", "stall")
PER_CHUNK: Final = ("icl", "itl")
METRICS: Final = {
    "ttft": "first token, from the scheduled time",
    "ttft_wire": "first token, from sending the request",
    "itl": "gap per token (gap between chunks / tokens in the chunk)",
    "icl": "gap between chunks that carry tokens",
    "tpot": "(last chunk - first chunk) / (output tokens - 1)",
    "e2e": "end of the stream, from the scheduled time",
    "stall": "longest gap between chunks of a request",
}


def of_request(metric: str, request: RequestSeen) -> float | None:
    """A per-request latency in milliseconds: infinite when the request failed, None when it is not defined.

    TPOT is undefined below two output tokens and without a usage count; a stall needs two chunks.
    """
    if not request.ok or request.sent_s is None or request.end_s is None:
        return math.inf
    first = request.first_s
    if first is None:
        return math.inf
    if metric == "ttft":
        return (first - request.scheduled_s) * 1e3
    if metric == "ttft_wire":
        return (first - request.sent_s) * 1e3
    if metric == "e2e":
        return (request.end_s - request.scheduled_s) * 1e3
    if metric == "stall":
        return max((gap for gap in _gaps(request)), default=None)
    if metric == "tpot":
        tokens = request.completion_tokens
        return None if tokens is None or tokens < 2 else sum(request.gaps_ms) / (tokens - 1)
    raise ValueError(f"{metric} is not a per-request metric")


def of_chunks(metric: str, request: RequestSeen) -> list[float]:
    """The chunk latencies of one request in milliseconds: `icl` one per gap, `itl` one per token.

    A gap is shared out evenly over the tokens that ended it, never as zeros within a chunk. A chunk that brought text
    but no new token hands its gap on to the next one. Without exact token counts there is no `itl`.
    """
    if metric == "icl":
        return _gaps(request)
    if metric != "itl":
        raise ValueError(f"{metric} is not a chunk metric")
    tokens_per_chunk = request.tokens_per_chunk
    if tokens_per_chunk is None:
        return []
    samples: list[float] = []
    waited = 0.0
    for gap, tokens in zip(_gaps(request), tokens_per_chunk[1:], strict=True):
        waited += gap
        if tokens:
            samples += [waited / tokens] * tokens
            waited = 0.0
    return samples


def samples(metric: str, requests: Sequence[RequestSeen]) -> list[float]:
    """Every sample of a metric over these requests, in milliseconds; infinite where a request failed."""
    if metric in PER_CHUNK:
        return [sample for request in requests for sample in of_chunks(metric, request)]
    return [sample for request in requests if (sample := of_request(metric, request)) is not None]


def schedule_lag(requests: Sequence[RequestSeen]) -> list[float]:
    """How late the harness sent each request that it sent, in milliseconds."""
    return [lag * 1e3 for request in requests if (lag := request.schedule_lag_s) is not None]


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


def summary(values: Sequence[float]) -> Summary | None:
    """The summary of samples, or None when there are none."""
    if not values:
        return None
    return Summary(
        n=len(values),
        failed=sum(math.isinf(value) for value in values),
        mean=sum(values) / len(values),
        p50=quantile(values, 0.50),
        p90=quantile(values, 0.90),
        p95=quantile(values, 0.95),
        p99=quantile(values, 0.99),
        max=max(values),
    )


def _gaps(request: RequestSeen) -> list[float]:
    return request.gaps_ms.tolist()
