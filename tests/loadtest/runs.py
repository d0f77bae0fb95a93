"""Builds runs by hand: a good request by default, anything else by name."""

from __future__ import annotations

from array import array
from dataclasses import replace
from itertools import pairwise
from typing import Any

from serving.facts.traffic import SCHEMA, LoadPlan, Outcome, RequestSeen, RunEnd, RunPlan, Traffic


def request(index: int = 0, ttft_s: float = 0.1, itl_s: float = 0.01, tokens: int = 5, **changes: Any) -> RequestSeen:
    """A request due at `index` seconds and sent on time, with these latencies, in chunks of one token.

    `chunk_s` stands for the arrivals of all chunks.
    """
    due = changes.pop("scheduled_s", float(index))
    chunks = changes.pop("chunk_s", tuple(round(due + ttft_s + number * itl_s, 6) for number in range(tokens)))
    seen = RequestSeen(
        index=index,
        prompt=f"synthetic-0-{index}",
        outcome=Outcome.OK,
        reason="",
        scheduled_s=due,
        sent_s=due,
        connect_s=0.0,
        headers_s=due + ttft_s / 2,
        first_s=chunks[0] if chunks else None,
        end_s=chunks[-1] if chunks else due + ttft_s,
        status=200,
        finish_reason="stop",
        prompt_tokens=7,
        completion_tokens=tokens,
        gaps_ms=array("f", ((later - earlier) * 1e3 for earlier, later in pairwise(chunks))),
        chunk_tokens=1,
    )
    return replace(seen, **changes)


def failed(
    index: int = 0, outcome: Outcome = Outcome.HTTP_ERROR, reason: str = "HTTP 503", **changes: Any
) -> RequestSeen:
    """A request that was sent and got no token."""
    nothing: dict[str, Any] = {"chunk_s": (), "chunk_tokens": None, "completion_tokens": None, "finish_reason": None}
    return request(index, outcome=outcome, reason=reason, **(nothing | changes))


def traffic(
    *requests: RequestSeen, warmup_s: float = 0.0, interrupted: str | None = None, mode: Any = "poisson"
) -> Traffic:
    """A whole run of these requests."""
    last = max((seen.scheduled_s for seen in requests), default=0.0) + 1.0
    load = LoadPlan(mode, 7, len(requests), 1.0, last, warmup_s=warmup_s)
    plan = RunPlan(
        SCHEMA, "2026-01-02T03:04:05+00:00", "hand-made", "http://127.0.0.1:8000", "tiny", load, {"warmgate": "0"}
    )
    return Traffic(plan, requests, RunEnd(len(requests), last + 1.0, interrupted))
