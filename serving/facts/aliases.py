"""The figures that other tools print, from our own records, so that theirs and ours can be laid side by side.

Each follows the tool's own definition, with its faults: successful requests alone, from sending and not from the
schedule, and quantiles between two samples. None of them is judged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from serving.facts.columns import Columns, Floats


@dataclass(frozen=True)
class Alias:
    """One figure of another tool: its name there, what that tool computes, and the same from our columns, in ms."""

    tool: str
    name: str
    formula: str
    of: Callable[[Columns], Floats]


def alias_samples(alias: Alias, rows: Columns) -> Floats:
    """The samples that the tool would have, in milliseconds."""
    found = alias.of(rows.where(rows.ok))
    return np.asarray(found[np.isfinite(found)])


def alias_quantile(samples: Floats, q: float) -> float | None:
    """The quantile as `numpy.percentile` gives it, between two samples. None when there are none."""
    return float(np.quantile(samples, q)) if samples.size else None


def _first(rows: Columns) -> Floats:
    return np.asarray((rows.first_s - rows.sent_s) * 1e3)


def _latency(rows: Columns) -> Floats:
    """From sending to the last chunk: what comes after it, usage and [DONE], is left out."""
    return np.asarray((rows.first_s - rows.sent_s) * 1e3 + rows.span_ms)


def _to_end(rows: Columns) -> Floats:
    return np.asarray((rows.end_s - rows.sent_s) * 1e3)


def _per_next_token(rows: Columns) -> Floats:
    return np.asarray(rows.span_ms / np.where(rows.completion_tokens >= 2, rows.completion_tokens - 1, np.nan))


def _per_token(latency: Callable[[Columns], Floats]) -> Callable[[Columns], Floats]:
    return lambda rows: latency(rows) / np.where(rows.completion_tokens >= 1, rows.completion_tokens, np.nan)


def _gaps(rows: Columns) -> Floats:
    return rows.gaps_ms.astype(np.float64)


ALIASES: Final = (
    Alias("vllm bench serve", "ttft", "first chunk - send; theirs may be the role", _first),
    Alias("vllm bench serve", "tpot", "(last chunk - first chunk) / (output tokens - 1)", _per_next_token),
    Alias("vllm bench serve", "itl", "gaps between chunks, pooled over requests", _gaps),
    Alias("vllm bench serve", "e2el", "last chunk - send", _latency),
    Alias("GuideLLM", "time_to_first_token_ms", "first token - send", _first),
    Alias("GuideLLM", "inter_token_latency_ms", "(last - first) / (tokens - 1), one a request", _per_next_token),
    Alias("GuideLLM", "time_per_output_token_ms", "(last token - send) / tokens: TTFT is in it", _per_token(_latency)),
    Alias("GuideLLM", "request_latency", "[DONE] - send", _to_end),
    Alias("AIPerf", "time_to_first_token", "first content - send", _first),
    Alias("AIPerf", "inter_token_latency", "(latency - TTFT) / (tokens - 1), one a request", _per_next_token),
    Alias("AIPerf", "inter_chunk_latency", "gaps between chunks", _gaps),
    Alias("AIPerf", "request_latency", "last chunk - send", _latency),
    Alias("inference-perf", "time_to_first_token", "first content - send", _first),
    Alias("inference-perf", "time_per_output_token", "(last - first) / (tokens - 1)", _per_next_token),
    Alias("inference-perf", "normalized_time_per_output_token", "(end - send) / tokens", _per_token(_to_end)),
    Alias("inference-perf", "request_latency", "end of the body - send", _to_end),
)
