"""Decides whether a load run met its SLOs, and whether it may be believed at all. Pure.

A run that was cut short, that sent nothing, or whose harness was late is not judged: its gates are UNKNOWN, which a
load test shows as `invalid`. So is a quantile with fewer samples than 1 / (1 - q), and a metric that was not seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from serving.codes import HARNESS_ON_TIME, RUN_OBSERVED, SLO_MET
from serving.expectations import HarnessBounds, Slo
from serving.facts.quantiles import quantile, samples_needed
from serving.facts.samples import PER_CHUNK, PER_REQUEST, of_request, samples, schedule_lag
from serving.facts.traffic import RequestSeen, Traffic
from serving.verdict import Finding, Report, Verdict

QUANTILES: Final = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}


def judge_traffic(traffic: Traffic, slos: Sequence[Slo], bounds: HarnessBounds) -> Report:
    """Judge a run: was it observed, was the harness on time, and then each gate in the order of the profile."""
    observed = _observed(traffic)
    on_time = _on_time(traffic, bounds)
    doubt = next((found.why for found in (observed, on_time) if found.verdict is not Verdict.PASS), None)
    gates = [_gate(slo, slos, traffic.window, doubt) for slo in slos]
    return Report("load test", (observed, on_time, *gates, *_unjudged(slos, traffic.window)))


def good(request: RequestSeen, slos: Sequence[Slo]) -> bool:
    """Whether a request counts for goodput: it ended well and met each per-request limit that the gates name.

    Where several gates name one metric, a single request is held to the loosest. A latency that is undefined for the
    request (TPOT of a one-token answer) does not meet its limit.
    """
    limits: dict[str, float] = {}
    for slo in slos:
        if slo.at_most_ms is not None and slo.metric in PER_REQUEST:
            limits[slo.metric] = max(limits.get(slo.metric, 0.0), slo.at_most_ms)
    values = ((of_request(metric, request), limit) for metric, limit in limits.items())
    return request.ok and all(value is not None and value <= limit for value, limit in values)


def goodput(requests: Sequence[RequestSeen], slos: Sequence[Slo]) -> float | None:
    """The share of good requests among all that were scheduled, or None when none was."""
    return sum(good(request, slos) for request in requests) / len(requests) if requests else None


def error_rate(requests: Sequence[RequestSeen]) -> float | None:
    """The share of requests that did not end well among all that were scheduled, or None when none was."""
    return sum(not request.ok for request in requests) / len(requests) if requests else None


def _observed(traffic: Traffic) -> Finding:
    sent = sum(request.sent_s is not None for request in traffic.window)
    scheduled = len(traffic.window)
    verdict, why, remedy = Verdict.PASS, "every scheduled request has a record", ""
    if traffic.end.interrupted:
        verdict, why = Verdict.UNKNOWN, f"the run was cut short: {traffic.end.interrupted}"
        remedy = "let the run finish"
    elif scheduled == 0:
        verdict, why = Verdict.UNKNOWN, "no request was scheduled after the warm-up"
        remedy = "raise the rate or the duration, or lower warmup_s"
    elif sent == 0:
        verdict, why = Verdict.UNKNOWN, f"no request could be sent; the first: {traffic.window[0].reason}"
        remedy = "check that the server and the way to it are up"
    return Finding(
        RUN_OBSERVED,
        verdict,
        subject=traffic.plan.base_url,
        observed=f"{sent} sent of {scheduled} scheduled",
        expected="at least one, and a run that finished",
        why=why,
        remedy=remedy,
        source="ledger",
    )


def _on_time(traffic: Traffic, bounds: HarnessBounds) -> Finding:
    lags = schedule_lag(traffic.window)
    limit = bounds.schedule_lag_p99_ms
    p99 = quantile(lags, 0.99) if lags else math.inf
    on_time = p99 <= limit
    return Finding(
        HARNESS_ON_TIME,
        Verdict.PASS if on_time else Verdict.UNKNOWN,
        subject="schedule_lag p99",
        observed=f"{p99:.1f} ms (n={len(lags)})" if lags else "no request was sent",
        expected=f"<= {limit:g} ms",
        why="requests left when the schedule said" if on_time else "the harness was late: it measured itself",
        remedy="" if on_time else "give the harness a free core, lower the rate, or run it on another machine",
        source="ledger",
    )


def _gate(slo: Slo, slos: Sequence[Slo], window: Sequence[RequestSeen], doubt: str | None) -> Finding:
    if slo.at_most_ms is not None:
        verdict, observed, why = _latency(slo, slo.at_most_ms, window)
        expected, subject = f"<= {slo.at_most_ms:g} ms", f"{slo.metric} {slo.statistic}"
    else:
        verdict, observed, why = _share(slo, slos, window)
        subject = slo.metric
        expected = f">= {slo.at_least_share:g}" if slo.at_least_share is not None else f"<= {slo.at_most_share:g}"
    remedy = ""
    if verdict is Verdict.FAIL:
        remedy = "see the report's plots: fewer requests per second, more replicas, or a limit that can be met"
    if verdict is Verdict.UNKNOWN:
        remedy = "run longer or faster, or gate a statistic that this run can support"
    if doubt is not None:
        verdict, why, remedy = Verdict.UNKNOWN, f"not judged: {doubt}", "see the findings above"
    return Finding(SLO_MET, verdict, subject, observed, expected, why, remedy, source="ledger")


def _latency(slo: Slo, limit: float, window: Sequence[RequestSeen]) -> tuple[Verdict, str, str]:
    values = samples(slo.metric, window)
    if not values:
        missing = "no exact token counts" if slo.metric in ("itl", "tpot") else "no samples"
        return Verdict.UNKNOWN, missing, f"{slo.metric} was not seen in this run"
    failed = sum(math.isinf(value) for value in values)
    q = QUANTILES.get(slo.statistic)
    if q is not None:
        value = quantile(values, q)
    else:
        value = max(values) if slo.statistic == "max" else sum(values) / len(values)
    shown = "no answer" if math.isinf(value) else f"{value:.1f} ms"
    observed = f"{shown} (n={len(values)}" + (f", {failed} failed)" if failed else ")")
    if q is not None and len(values) < samples_needed(q):
        return Verdict.UNKNOWN, observed, f"{slo.statistic} needs at least {samples_needed(q)} samples"
    if value <= limit:
        return Verdict.PASS, observed, "within the limit"
    return Verdict.FAIL, observed, "failed requests count as never answered" if math.isinf(value) else "over the limit"


def _share(slo: Slo, slos: Sequence[Slo], window: Sequence[RequestSeen]) -> tuple[Verdict, str, str]:
    value = goodput(window, slos) if slo.metric == "goodput" else error_rate(window)
    if value is None:
        return Verdict.UNKNOWN, "no requests", "nothing was scheduled"
    count = round(value * len(window))
    observed = f"{value:.4f} ({count} of {len(window)})"
    if slo.at_least_share is not None:
        within = value >= slo.at_least_share
    else:
        within = slo.at_most_share is not None and value <= slo.at_most_share
    return (Verdict.PASS, observed, "within the limit") if within else (Verdict.FAIL, observed, "beyond the limit")


def _unjudged(slos: Sequence[Slo], window: Sequence[RequestSeen]) -> list[Finding]:
    """Failures that no gate would see: chunk metrics pool only what arrived."""
    failed = sum(not request.ok for request in window)
    if not failed or any(slo.metric not in PER_CHUNK for slo in slos):
        return []
    return [
        Finding(
            SLO_MET,
            Verdict.UNKNOWN,
            subject="failed requests",
            observed=f"{failed} of {len(window)}",
            expected="a gate that sees them",
            why="requests failed and every gate looks only at chunks that arrived",
            remedy="add a goodput or error_rate gate to the profile",
            source="ledger",
        )
    ]
