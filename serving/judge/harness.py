"""Decides whether a load run may be believed: was it whole, and did the harness measure the server or itself? Pure.

What is out of bounds makes the run UNKNOWN, never a failure of the server. What the harness did not record of itself is
shown as not applicable, and leaves the verdict to what it did.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from serving.codes import (
    HARNESS_HAD_CPU,
    HARNESS_ON_TIME,
    HARNESS_ONE_CLOCK,
    HARNESS_READ_ON_TIME,
    LOAD_DELIVERED,
    RUN_OBSERVED,
    Code,
)
from serving.expectations import HarnessBounds
from serving.facts.columns import Columns
from serving.facts.histogram import Histogram
from serving.facts.samples import measured
from serving.facts.traffic import Outcome, Traffic
from serving.verdict import Finding, Verdict

PASS, UNKNOWN, NOT_APPLICABLE = Verdict.PASS, Verdict.UNKNOWN, Verdict.NOT_APPLICABLE
FREE_CORE: Final = "give the harness a free core, lower the rate, or run it on another machine"
STAMPED: Final = 0.99  # of the reads: below it, those without the kernel's stamp could hold the p99
LEAST_S: Final = 5.0  # below it, processor time tells of the start alone


def judge_harness(traffic: Traffic, rows: Columns, bounds: HarnessBounds) -> tuple[Finding, ...]:
    """The findings on the run itself; `rows` are the columns of its window."""
    found = [_observed(traffic), _on_time(rows, bounds), _read_on_time(traffic, bounds), _had_cpu(traffic, bounds)]
    if traffic.plan.load.mode != "closed_loop":
        found.append(_delivered(rows, bounds))
    if traffic.end.clock_uncertainty_ms is not None:
        found.append(_one_clock(traffic.end.clock_uncertainty_ms, bounds))
    return tuple(found)


def doubt(findings: Iterable[Finding]) -> str | None:
    """Why a run may not be judged, by these findings on it; None when it may."""
    return next((found.why for found in findings if found.verdict is UNKNOWN), None)


def _observed(traffic: Traffic) -> Finding:
    sent = sum(request.sent_s is not None for request in traffic.window)
    scheduled, planned = len(traffic.window), traffic.plan.load.planned
    verdict, why, remedy = PASS, "every scheduled request has a record", ""
    if traffic.end.interrupted:
        verdict, why = UNKNOWN, f"the run was cut short: {traffic.end.interrupted}"
        remedy = "let the run finish"
    elif planned is not None and len(traffic.requests) != planned:
        verdict, why = UNKNOWN, f"{len(traffic.requests)} requests were recorded of {planned} that were planned"
        remedy = "run it again: a request without a record may be one that failed"
    elif scheduled == 0:
        verdict, why = UNKNOWN, "no request was scheduled after the warm-up"
        remedy = "raise the rate or the duration, or lower warmup_s"
    elif sent == 0:
        verdict, why = UNKNOWN, f"no request could be sent; the first: {traffic.window[0].reason}"
        remedy = "check that the server and the way to it are up"
    seen = f"{sent} sent of {scheduled} scheduled"
    expected = "at least one, and a run that finished"
    return Finding(RUN_OBSERVED, verdict, traffic.plan.base_url, seen, expected, why, remedy, source="ledger")


def _on_time(rows: Columns, bounds: HarnessBounds) -> Finding:
    lags = measured("schedule_lag", rows)
    limit = bounds.schedule_lag_p99_ms
    if not lags.n:
        why, remedy = "no request was sent, so nothing shows whether the harness was on time", "see the finding above"
        return _finding(HARNESS_ON_TIME, UNKNOWN, "schedule_lag p99", "not seen", f"<= {limit:g} ms", why, remedy)
    p99 = lags.quantile(0.99)
    return _bounded(
        HARNESS_ON_TIME,
        "schedule_lag p99",
        p99 <= limit,
        f"{p99:.1f} ms (n={lags.n})",
        f"<= {limit:g} ms",
        "requests left when the schedule said",
        "the harness was late: it measured itself",
    )


def _read_on_time(traffic: Traffic, bounds: HarnessBounds) -> Finding:
    """By the kernel's own stamps where it gave them, and where it did not by how late the harness's event loop woke."""
    limit = bounds.schedule_lag_p99_ms if bounds.client_lag_p99_ms is None else bounds.client_lag_p99_ms
    end, expected = traffic.end, f"<= {limit:g} ms"
    late = "what had arrived waited for the harness: stalls may be its own"
    stamped = end.kernel_stamps or 0.0
    if end.client_lag is not None and stamped:
        try:
            lags = Histogram.of_document(end.client_lag)
            p99 = lags.quantile(0.99)
        except ValueError as error:
            remedy = "run it again with one version of warmgate"
            return _finding(HARNESS_READ_ON_TIME, UNKNOWN, "client_lag p99", "unreadable", expected, str(error), remedy)
        if stamped >= STAMPED or p99 > limit:
            why = f"the kernel stamped {stamped:.1%} of the reads"
            shown = f"{p99:.1f} ms (n={lags.count})"
            return _bounded(HARNESS_READ_ON_TIME, "client_lag p99", p99 <= limit, shown, expected, why, late)
    if end.loop_lag_ms is not None and "p99" in end.loop_lag_ms:
        p99 = end.loop_lag_ms["p99"]
        why = f"the kernel stamped {stamped:.0%} of the reads, so how late the event loop woke bounds the rest"
        return _bounded(HARNESS_READ_ON_TIME, "loop_lag p99", p99 <= limit, f"{p99:.1f} ms", expected, why, late)
    why = "the harness did not record it"
    return _finding(HARNESS_READ_ON_TIME, NOT_APPLICABLE, "client_lag p99", "not seen", expected, why)


def _had_cpu(traffic: Traffic, bounds: HarnessBounds) -> Finding:
    end, expected = traffic.end, f"<= {bounds.cpu_share:.0%} of its core"
    share = end.core_share
    if share is None and end.cpu_s is not None:
        share = end.cpu_s / max(end.elapsed_s, LEAST_S) / end.workers
    if share is None or end.elapsed_s < LEAST_S:
        why = "the harness did not record it" if share is None else f"a run under {LEAST_S:g} s is too short to tell"
        return _finding(HARNESS_HAD_CPU, NOT_APPLICABLE, "harness CPU", "not seen", expected, why)
    return _bounded(
        HARNESS_HAD_CPU,
        "harness CPU",
        share <= bounds.cpu_share,
        f"{share:.0%} of its core",
        expected,
        "the harness had time to spare",
        "the harness was busy: it may have slowed down what it measured",
    )


def _delivered(rows: Columns, bounds: HarnessBounds) -> Finding:
    """Each request that was sent against its own place in the schedule, so chance in the arrivals does not matter."""
    left = rows.left_s[~np.isnan(rows.left_s)]
    due = rows.scheduled_s[~np.isnan(rows.left_s)]
    held_back = sum(request.outcome is Outcome.NOT_SENT for request in rows.requests)
    rest = f"; {held_back} not sent, which count as bad" if held_back else ""
    subject = "achieved / offered"
    planned_s = float(np.ptp(due)) if due.size > 1 else 0.0
    if planned_s == 0:
        why = f"fewer than two requests left, at different times{rest}"
        return _finding(LOAD_DELIVERED, NOT_APPLICABLE, subject, "not seen", "the rate of the schedule", why)
    ratio = planned_s / max(float(np.ptp(left)), 1e-9)
    slack = bounds.rate_error_share + bounds.schedule_lag_p99_ms / 1e3 / planned_s
    return _bounded(
        LOAD_DELIVERED,
        subject,
        abs(ratio - 1) <= slack,
        f"{ratio:.4f} (n={due.size})",
        f"1 ± {slack:.4f}",
        f"requests left at the rate of the schedule{rest}",
        f"requests left at another rate than the schedule's{rest}",
    )


def _one_clock(uncertainty_ms: float, bounds: HarnessBounds) -> Finding:
    """Workers on other machines send by their own clocks: those must be known as well as requests must be on time."""
    limit = bounds.schedule_lag_p99_ms
    within = uncertainty_ms <= limit
    why = "the workers' clocks are known well enough to share one schedule"
    remedy = ""
    if not within:
        why = "the workers' clocks are not known well enough: they may have sent at other times than the schedule's"
        remedy = "bring the workers closer to the master, or keep their clocks with NTP or PTP"
    verdict = PASS if within else UNKNOWN
    shown = f"{uncertainty_ms:.2f} ms"
    return _finding(HARNESS_ONE_CLOCK, verdict, "clocks of the workers", shown, f"<= {limit:g} ms", why, remedy)


def _bounded(code: Code, subject: str, within: bool, observed: str, expected: str, good: str, bad: str) -> Finding:
    if within:
        return _finding(code, PASS, subject, observed, expected, good)
    return _finding(code, UNKNOWN, subject, observed, expected, bad, FREE_CORE)


def _finding(
    code: Code, verdict: Verdict, subject: str, observed: str, expected: str, why: str, remedy: str = ""
) -> Finding:
    return Finding(code, verdict, subject, observed, expected, why, remedy, source="ledger")
