"""Turns a judged run into one plain document, schema `warmgate.loadtest/v1`: what report.json holds and the page shows.

Within v1 members are added, never renamed or removed; docs/loadtest.schema.json tells them (`python -m
loadtest.document`). Latencies are milliseconds; null is "not seen", or, where a summary's `failed` is not 0, "among the
failed requests, which were never answered".
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from loadtest.document_parts import WORDS, Swept, parts, phases, rate, summary_of, sweep
from loadtest.document_schema import SCHEMA, json_schema
from loadtest.profile import Profile
from serving.expectations import Slo
from serving.facts.columns import Columns, columns
from serving.facts.histogram import Histogram
from serving.facts.samples import METRICS
from serving.facts.telemetry import METRICS as TELEMETRY
from serving.facts.telemetry import Telemetry
from serving.facts.traffic import Outcome, RequestSeen, RunEnd, Traffic
from serving.judge.slo import error_rate, good_mask, goodput
from serving.report.json import report_document
from serving.verdict import Report

MOST_REASONS: Final = 20
QUANTILES: Final = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}


def document(
    traffic: Traffic,
    profile: Profile,
    report: Report,
    attached: Sequence[dict[str, Any]],
    telemetry: Telemetry | None = None,
    swept: Swept | None = None,
) -> dict[str, Any]:
    """The whole document of one run. `attached` are other reports' documents, shown beside it, not judged again."""
    judged = report_document(report)
    window = traffic.window
    rows = columns(window)
    return {
        **judged,
        "schema": SCHEMA,
        "command": "loadtest",
        "verdict": WORDS.get(judged["verdict"], judged["verdict"]),
        "load": _load(traffic, rows, profile.slos),
        "outcomes": _outcomes(window),
        "reasons": dict(Counter(request.reason for request in window if not request.ok).most_common(MOST_REASONS)),
        "tokens": _tokens(traffic),
        "metrics": {
            **{f"{metric}_ms": summary_of(metric, rows) for metric in METRICS},
            "schedule_lag_ms": summary_of("schedule_lag", rows),
            "client_lag_ms": _client_lag(traffic.end),
        },
        "goodput": goodput(rows, profile.slos),
        "error_rate": error_rate(window),
        "golden": _golden(window),
        "phases": phases(traffic, profile.slos),
        "arms": parts(window, profile.slos, "arm"),
        "replicas": parts(window, profile.slos, "replica"),
        "sweep": None if swept is None else sweep(swept, profile.slos),
        "telemetry": None if telemetry is None else _telemetry(telemetry),
        "measurement": _measurement(traffic.end, rows),
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
        "profile": _profile(profile),
        "attached": list(attached),
    }


def span_s(traffic: Traffic) -> float:
    """Length of the scheduled window in seconds: what rates of arrivals are taken over."""
    return sum(end - start for start, end in _counted(traffic))


def in_flight(requests: Iterable[RequestSeen]) -> list[tuple[float, int]]:
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


def _counted(traffic: Traffic) -> list[tuple[float, float]]:
    """The parts of the schedule that count, (start, end) in seconds, as far as the run came."""
    load, end = traffic.plan.load, traffic.end
    whole: list[tuple[float, float | None]] = [(load.warmup_s, load.duration_s)]
    if load.phases:
        whole = [(phase.start_s, phase.end_s) for phase in load.phases if phase.counts]
    reached = end.elapsed_s if end.interrupted else math.inf
    clipped = [(start, min(end.elapsed_s if until is None else until, reached)) for start, until in whole]
    return [(start, until) for start, until in clipped if until > start]


def _profile(profile: Profile) -> dict[str, Any]:
    """The profile as it ran. Golden questions are prompts, so there is only their number."""
    body = profile.model_dump(mode="json", exclude_none=True)
    golden = body["prompts"].get("golden")
    if golden:
        golden["questions"] = len(golden["questions"])
    return body


def _load(traffic: Traffic, rows: Columns, slos: Sequence[Slo]) -> dict[str, Any]:
    plan, window, seconds = traffic.plan.load, traffic.window, span_s(traffic)
    parts = _counted(traffic)
    sent = [request.sent_s for request in window if request.sent_s is not None]
    in_time = sum(any(start <= at <= end for start, end in parts) for at in sent)
    return {
        "mode": plan.mode,
        "rate_per_s": plan.rate_per_s,
        "streams": plan.concurrency,
        "window_s": seconds,
        "warmup_s": plan.warmup_s,
        "warmup_requests": len(traffic.requests) - len(window),
        "scheduled": len(window),
        "sent": len(sent),
        "offered_per_s": None if plan.mode == "closed_loop" else rate(len(window), seconds),
        "achieved_per_s": rate(in_time, seconds),
        "good_per_s": rate(int(good_mask(rows, slos).sum()), seconds),
        "peak_in_flight": max((count for _, count in in_flight(traffic.requests)), default=0),
    }


def _outcomes(requests: Sequence[RequestSeen]) -> dict[str, int]:
    counted = Counter(request.outcome for request in requests)
    return {outcome.value: counted[outcome] for outcome in Outcome}


def _tokens(traffic: Traffic) -> dict[str, Any]:
    window = traffic.window
    last = max((request.end_s for request in window if request.end_s is not None), default=0.0)
    first = min((start for start, _ in _counted(traffic)), default=0.0)
    output = sum(request.completion_tokens or 0 for request in window)
    prompt = sum(request.prompt_tokens or 0 for request in window)
    told = [request for request in window if request.cached_tokens is not None]
    cached, asked = sum(r.cached_tokens or 0 for r in told), sum(r.prompt_tokens or 0 for r in told)
    return {
        "prompt": prompt,
        "cached": cached,
        "cached_share": cached / asked if asked else None,
        "output": output,
        "output_per_s": rate(output, last - first),
        "chunks": sum(request.chunks for request in window),
        "uncounted_requests": sum(request.ok and request.completion_tokens is None for request in window),
        "exact_per_chunk_requests": sum(request.chunk_tokens is not None for request in window),
    }


def _golden(window: Sequence[RequestSeen]) -> dict[str, int] | None:
    asked = [request for request in window if request.sane is not None]
    return {"asked": len(asked), "sane": sum(bool(request.sane) for request in asked)} if asked else None


def _client_lag(end: RunEnd) -> dict[str, Any] | None:
    if end.client_lag is None:
        return None
    lag = Histogram.of_document(end.client_lag)
    if not lag.count:
        return None
    quantiles = {name: lag.quantile(q) for name, q in QUANTILES.items()}
    return {"n": lag.count, "failed": 0, "mean": lag.mean, **quantiles, "max": lag.largest}


def _telemetry(telemetry: Telemetry) -> dict[str, Any]:
    """Who was asked and how often in vain, and the range of every figure; the figures are in telemetry.jsonl."""
    sources = [
        {
            "name": source.name,
            "kind": source.kind,
            "url": source.url,
            "missed": len(telemetry.missed.get(source.name, ())),
            "last_missed": next((why for _, why in reversed(telemetry.missed.get(source.name, ()))), None),
        }
        for source in telemetry.sources
    ]
    figures = [
        {
            "source": source,
            "metric": metric,
            "unit": TELEMETRY[metric].unit if metric in TELEMETRY else "",
            "n": len(series.values),
            "least": min(series.values),
            "mean": sum(series.values) / len(series.values),
            "most": max(series.values),
            "last": series.values[-1],
        }
        for (source, metric), series in sorted(telemetry.series.items())
        if series.values
    ]
    return {"sources": sources, "figures": figures}


def _measurement(end: RunEnd, rows: Columns) -> dict[str, Any]:
    """How far off the figures can be by the harness's own doing, and what it cost."""
    lag = summary_of("schedule_lag", rows)
    stamped = end.kernel_stamps or 0.0
    late = dict.fromkeys(("p50", "p99", "max"), 0.0) if stamped == 1 else end.loop_lag_ms
    return {
        "error_bounds": {
            "sent_late_ms": None if lag is None else {name: lag[name] for name in ("p50", "p99", "max")},
            "stamped_late_ms": late,
        },
        "schedule_lag_ms": lag,
        "loop_lag_ms": end.loop_lag_ms,
        "cpu_s": end.cpu_s,
        "cpu_us_per_chunk": end.cpu_s * 1e6 / end.chunks if end.cpu_s is not None and end.chunks else None,
        "kernel_timestamps": stamped > 0,
        "kernel_stamp_share": end.kernel_stamps,
        "chunks": end.chunks,
        "coalesced": end.coalesced,
    }


if __name__ == "__main__":
    sys.stdout.write(json_schema())
