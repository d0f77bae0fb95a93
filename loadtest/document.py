"""Turns a judged run into one plain document, schema `warmgate.loadtest/v1`: what report.json holds and the page shows.

Within v1 members are added, never renamed or removed; docs/loadtest.schema.json tells them (`python -m
loadtest.document`). Latencies are milliseconds; null is "not seen", or, where a summary's `failed` is not 0, "among the
failed requests, which were never answered".
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from loadtest.document_parts import WORDS, Swept, finite, parts, phases, rate, summary_of, sweep
from loadtest.document_schema import SCHEMA, json_schema
from loadtest.profile import Profile
from serving.expectations import Slo
from serving.facts.aliases import ALIASES, alias_quantile, alias_samples
from serving.facts.columns import Columns, columns
from serving.facts.crosscheck import cross_check
from serving.facts.histogram import Histogram
from serving.facts.load import arrivals, cold_penalty, in_flight, tokens
from serving.facts.samples import METRICS
from serving.facts.telemetry import METRICS as TELEMETRY
from serving.facts.telemetry import Telemetry
from serving.facts.traffic import Outcome, RequestSeen, RunEnd, Traffic
from serving.judge.slo import error_rate, good_mask, goodput
from serving.judge.telemetry import judged_spans
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
        "tokens": _tokens(rows),
        "metrics": {
            **{f"{metric}_ms": summary_of(metric, rows) for metric in METRICS},
            "schedule_lag_ms": summary_of("schedule_lag", rows),
            "client_lag_ms": _client_lag(traffic.end),
        },
        "goodput": goodput(rows, profile.slos),
        "error_rate": error_rate(window),
        "golden": _golden(window),
        "cold": _cold(traffic),
        "phases": phases(traffic, profile.slos),
        "arms": parts(window, profile.slos, "arm"),
        "replicas": parts(window, profile.slos, "replica"),
        "sweep": None if swept is None else sweep(swept, profile.slos),
        "telemetry": None if telemetry is None else _telemetry(telemetry),
        "other_tools": _other_tools(rows),
        "measurement": {**_measurement(traffic.end, rows), "server_check": _server_check(traffic, telemetry)},
        "environment": {
            "started_at": traffic.plan.started_at,
            "elapsed_s": traffic.end.elapsed_s,
            "interrupted": traffic.end.interrupted,
            "profile": traffic.plan.profile,
            "base_url": traffic.plan.base_url,
            "candidate_url": traffic.plan.candidate_url,
            "model": traffic.plan.model,
            "seed": traffic.plan.load.seed,
            "workers": traffic.end.workers,
            "prompts": traffic.end.prompts,
            "versions": traffic.plan.versions,
        },
        "profile": _profile(profile),
        "attached": list(attached),
    }


def span_s(traffic: Traffic) -> float:
    """Length of the scheduled window in seconds: what rates of arrivals are taken over."""
    return sum(end - start for start, end in judged_spans(traffic))


def _profile(profile: Profile) -> dict[str, Any]:
    """The profile as it ran. Golden questions are prompts, so there is only their number."""
    body = profile.model_dump(mode="json", exclude_none=True)
    golden = body["prompts"].get("golden")
    if golden:
        golden["questions"] = len(golden["questions"])
    return body


def _load(traffic: Traffic, rows: Columns, slos: Sequence[Slo]) -> dict[str, Any]:
    plan, seconds = traffic.plan.load, span_s(traffic)
    sent = rows.sent_s[~np.isnan(rows.sent_s)]
    in_time = sum(int(((sent >= start) & (sent <= end)).sum()) for start, end in judged_spans(traffic))
    one_load = len({(phase.rate_per_s, phase.concurrency) for phase in traffic.phases if phase.counts}) <= 1
    left = arrivals(rows) if one_load else None
    _, open_streams = in_flight(columns(traffic.requests))
    return {
        "mode": plan.mode,
        "rate_per_s": plan.rate_per_s,
        "streams": plan.concurrency,
        "window_s": seconds,
        "warmup_s": plan.warmup_s,
        "warmup_requests": len(traffic.requests) - len(rows),
        "scheduled": len(rows),
        "sent": len(sent),
        "offered_per_s": None if plan.mode == "closed_loop" else rate(len(rows), seconds),
        "achieved_per_s": rate(in_time, seconds),
        "good_per_s": rate(int(good_mask(rows, slos).sum()), seconds),
        "interarrival_cv": left and left.cv,
        "index_of_dispersion": left and left.dispersion,
        "peak_in_flight": int(open_streams.max(initial=0)),
    }


def _outcomes(requests: Sequence[RequestSeen]) -> dict[str, int]:
    counted = Counter(request.outcome for request in requests)
    return {outcome.value: counted[outcome] for outcome in Outcome}


def _tokens(rows: Columns) -> dict[str, Any]:
    found = tokens(rows)
    return {
        "prompt": found.prompt,
        "cached": int(np.nansum(rows.cached_tokens)),
        "cached_share": found.cached_share,
        "output": found.output,
        "output_per_s": found.output_per_s,
        "chunks": sum(request.chunks for request in rows.requests),
        "uncounted_requests": found.uncounted,
        "exact_per_chunk_requests": int(rows.counted.sum()),
    }


def _cold(traffic: Traffic) -> dict[str, Any] | None:
    found = cold_penalty(traffic)
    if found is None:
        return None
    figures = {name: finite(value) for name, value in asdict(found).items()}
    penalties = {name: finite(getattr(found, name)) for name in ("first_penalty", "first_wave_penalty")}
    return figures | penalties


def _other_tools(rows: Columns) -> list[dict[str, Any]]:
    """What other tools would have printed of the same streams, by their own definitions."""
    told = []
    for alias in ALIASES:
        values = alias_samples(alias, rows)
        figures = {name: alias_quantile(values, q) for name, q in QUANTILES.items()}
        mean = float(values.mean()) if values.size else None
        told.append(
            {"tool": alias.tool, "name": alias.name, "formula": alias.formula, "n": values.size, "mean_ms": mean}
        )
        told[-1] |= {f"{name}_ms": value for name, value in figures.items()}
    return told


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
        "core_share": end.core_share,
        "cpu_us_per_chunk": end.cpu_s * 1e6 / end.chunks if end.cpu_s is not None and end.chunks else None,
        "kernel_timestamps": stamped > 0,
        "kernel_stamp_share": end.kernel_stamps,
        "chunks": end.chunks,
        "coalesced": end.coalesced,
        "clock_uncertainty_ms": end.clock_uncertainty_ms,
    }


def _server_check(traffic: Traffic, telemetry: Telemetry | None) -> dict[str, Any] | None:
    """The mean TTFT on the wire against the servers' own: the rest is the network's and the gateway's share."""
    if telemetry is None:
        return None
    found = cross_check(traffic.requests, telemetry, judged_spans(traffic))
    return {
        "client_ttft_ms": found.client_ms,
        "server_ttft_ms": found.server_ms,
        "network_ms": found.network_ms,
        "requests": found.server_requests,
        "why": found.why,
    }


if __name__ == "__main__":
    sys.stdout.write(json_schema())
