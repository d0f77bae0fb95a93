"""Turns a judged run into one plain document, schema `warmgate.loadtest/v1`: what report.json holds and the page shows.

Within v1 members are added, never renamed or removed. Latencies are milliseconds; null is "not seen", or, where a
summary's `failed` is not 0, "among the failed requests, which were never answered".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from loadtest.profile import Profile
from serving.facts.samples import METRICS, Summary, samples, schedule_lag, summary
from serving.facts.traffic import Outcome, RequestSeen, Traffic
from serving.judge.slo import error_rate, good, goodput
from serving.report.json import report_document
from serving.verdict import Report, Verdict

SCHEMA: Final = "warmgate.loadtest/v1"
WORDS: Final = {Verdict.UNKNOWN.value: "invalid"}


def document(traffic: Traffic, profile: Profile, report: Report, attached: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The whole document of one run. `attached` are other reports' documents, shown beside it, not judged again."""
    judged = report_document(report)
    window = traffic.window
    outcomes = Counter(request.outcome for request in window)
    return {
        **judged,
        "schema": SCHEMA,
        "command": "loadtest",
        "verdict": WORDS.get(judged["verdict"], judged["verdict"]),
        "load": _load(traffic, profile),
        "outcomes": {outcome.value: outcomes[outcome] for outcome in Outcome},
        "reasons": dict(Counter(request.reason for request in window if not request.ok).most_common(20)),
        "tokens": _tokens(traffic),
        "metrics": {f"{metric}_ms": _summary(summary(samples(metric, window))) for metric in METRICS},
        "goodput": goodput(window, profile.slos),
        "error_rate": error_rate(window),
        "measurement": {
            "schedule_lag_ms": _summary(summary(schedule_lag(window))),
            "loop_lag_ms": traffic.end.loop_lag_ms,
            "cpu_s": traffic.end.cpu_s,
            "kernel_timestamps": False,
        },
        "environment": {
            "started_at": traffic.plan.started_at,
            "elapsed_s": traffic.end.elapsed_s,
            "interrupted": traffic.end.interrupted,
            "profile": traffic.plan.profile,
            "base_url": traffic.plan.base_url,
            "model": traffic.plan.model,
            "seed": traffic.plan.load.seed,
            "versions": traffic.plan.versions,
        },
        "profile": profile.model_dump(mode="json", exclude_none=True),
        "attached": list(attached),
    }


def span_s(traffic: Traffic) -> float:
    """Length of the scheduled window in seconds: what rates of arrivals are taken over."""
    load, end = traffic.plan.load, traffic.end
    planned = end.elapsed_s if load.duration_s is None or end.interrupted else load.duration_s
    return max(planned - load.warmup_s, 0.0)


def _load(traffic: Traffic, profile: Profile) -> dict[str, Any]:
    plan, window, seconds = traffic.plan.load, traffic.window, span_s(traffic)
    sent = [request.sent_s for request in window if request.sent_s is not None]
    in_time = sum(at <= plan.warmup_s + seconds for at in sent)
    open_loop = plan.mode != "closed_loop"
    return {
        "mode": plan.mode,
        "rate_per_s": plan.rate_per_s,
        "streams": plan.concurrency,
        "window_s": seconds,
        "warmup_s": plan.warmup_s,
        "warmup_requests": len(traffic.requests) - len(window),
        "scheduled": len(window),
        "sent": len(sent),
        "offered_per_s": _rate(len(window), seconds) if open_loop else None,
        "achieved_per_s": _rate(in_time, seconds),
        "good_per_s": _rate(sum(good(request, profile.slos) for request in window), seconds),
        "peak_in_flight": max((count for _, count in in_flight(traffic.requests)), default=0),
    }


def in_flight(requests: Sequence[RequestSeen]) -> list[tuple[float, int]]:
    """How many streams were open from each moment on: (seconds, count), one entry a change."""
    changes = Counter[float]()
    for request in requests:
        if request.sent_s is not None and request.end_s is not None:
            changes[request.sent_s] += 1
            changes[request.end_s] -= 1
    count, series = 0, []
    for at in sorted(changes):
        count += changes[at]
        series.append((at, count))
    return series


def _tokens(traffic: Traffic) -> dict[str, Any]:
    window = traffic.window
    counted = [request.completion_tokens for request in window if request.completion_tokens is not None]
    last = max((request.end_s for request in window if request.end_s is not None), default=0.0)
    chunks = sum(request.chunks for request in window)
    output = sum(counted)
    exact = [request for request in window if request.chunk_tokens is not None]
    return {
        "prompt": sum(request.prompt_tokens or 0 for request in window),
        "cached": sum(request.cached_tokens or 0 for request in window),
        "output": output,
        "output_per_s": _rate(output, last - traffic.plan.load.warmup_s),
        "chunks": chunks,
        "uncounted_requests": sum(request.ok and request.completion_tokens is None for request in window),
        "exact_per_chunk_requests": len(exact),
    }


def _rate(count: float, seconds: float) -> float | None:
    return count / seconds if seconds > 0 else None


def _summary(found: Summary | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        key: None if isinstance(value, float) and math.isinf(value) else value for key, value in asdict(found).items()
    }
