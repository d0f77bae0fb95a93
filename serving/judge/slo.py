"""Decides whether a load run met its SLOs. Pure.

A gate passes when its limit holds with the stated confidence, fails when it is broken with that confidence, and is
UNKNOWN, which a load test shows as `invalid`, in between: too few samples. So is a quantile of fewer samples than
1 / (1 - q), a metric that was not seen, and every gate of a run that may not be believed (`judge.harness`). Requests
are taken as independent of each other, the gaps within one are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from serving.codes import SLO_MET
from serving.expectations import Confidence, HarnessBounds, Slo
from serving.facts.columns import Columns, Mask, columns
from serving.facts.intervals import samples_for_bound, samples_to_decide, share_bounds
from serving.facts.measured import Measured
from serving.facts.quantiles import samples_needed
from serving.facts.samples import PER_CHUNK, PER_REQUEST, measured, of_request, per_request
from serving.facts.traffic import RequestSeen, Traffic
from serving.judge.harness import doubt, judge_harness
from serving.verdict import Finding, Report, Verdict

QUANTILES: Final = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
NOT_MET: Final = "see the report's plots: fewer requests per second, more replicas, or a limit that can be met"
MORE: Final = "run longer or faster, or gate a statistic that this run can support"
NEVER: Final = "; failed requests count as never answered"


def judge_traffic(
    traffic: Traffic, slos: Sequence[Slo], bounds: HarnessBounds, confidence: Confidence = "none"
) -> Report:
    """Judge a run: may it be believed, and then each gate in the order of the profile."""
    rows = columns(traffic.window)
    run = judge_harness(traffic, rows, bounds)
    why_not = doubt(run)
    gates = [_gate(slo, slos, rows, confidence if slo.confidence is None else slo.confidence, why_not) for slo in slos]
    return Report("load test", (*run, *gates, *_unjudged(slos, rows)))


def good(request: RequestSeen, slos: Sequence[Slo]) -> bool:
    """Whether a request counts for goodput: it ended well and met each per-request limit that the gates name.

    Where several gates name one metric, a single request is held to the loosest. A latency that is undefined for the
    request (TPOT of a one-token answer) does not meet its limit.
    """
    values = ((of_request(metric, request), limit) for metric, limit in _limits(slos).items())
    return request.ok and all(value is not None and value <= limit for value, limit in values)


def good_mask(requests: Sequence[RequestSeen] | Columns, slos: Sequence[Slo]) -> Mask:
    """`good` for each of these requests."""
    rows = columns(requests)
    found: Mask = rows.ok.copy()
    for metric, limit in _limits(slos).items():
        found &= per_request(metric, rows) <= limit
    return found


def goodput(requests: Sequence[RequestSeen] | Columns, slos: Sequence[Slo]) -> float | None:
    """The share of good requests among all that were scheduled, or None when none was."""
    return float(good_mask(requests, slos).mean()) if len(requests) else None


def error_rate(requests: Sequence[RequestSeen]) -> float | None:
    """The share of requests that did not end well among all that were scheduled, or None when none was."""
    return sum(not request.ok for request in requests) / len(requests) if requests else None


class _Answer(NamedTuple):
    verdict: Verdict
    observed: str
    why: str
    remedy: str = ""


def _limits(slos: Sequence[Slo]) -> dict[str, float]:
    limits: dict[str, float] = {}
    for slo in slos:
        if slo.at_most_ms is not None and slo.metric in PER_REQUEST:
            limits[slo.metric] = max(limits.get(slo.metric, 0.0), slo.at_most_ms)
    return limits


def _gate(slo: Slo, slos: Sequence[Slo], rows: Columns, confidence: Confidence, why_not: str | None) -> Finding:
    if slo.at_most_ms is not None:
        found = _latency(slo, slo.at_most_ms, rows, confidence)
        expected, subject = f"<= {slo.at_most_ms:g} ms", f"{slo.metric} {slo.statistic}"
    else:
        found = _share(slo, slos, rows, confidence)
        subject = slo.metric if slo.over_ms is None else f"{slo.metric} over {slo.over_ms:g} ms"
        expected = f">= {slo.at_least_share:g}" if slo.at_least_share is not None else f"<= {slo.at_most_share:g}"
    if why_not is not None:
        found = _Answer(Verdict.UNKNOWN, found.observed, f"not judged: {why_not}", "see the findings above")
    elif found.verdict is Verdict.FAIL:
        found = found._replace(remedy=NOT_MET)
    elif found.verdict is Verdict.UNKNOWN and not found.remedy:
        found = found._replace(remedy=MORE)
    return Finding(SLO_MET, found.verdict, subject, found.observed, expected, found.why, found.remedy, source="ledger")


def _latency(slo: Slo, limit: float, rows: Columns, confidence: Confidence) -> _Answer:
    found = measured(slo.metric, rows)
    if not found.n:
        missing = "no exact token counts" if found.missing else "no samples"
        return _Answer(Verdict.UNKNOWN, missing, f"{slo.metric} was not seen in this run")
    q = QUANTILES.get(slo.statistic)
    total = found.n + found.missing
    value = found.quantile(q) if q is not None else found.largest if slo.statistic == "max" else found.mean
    kinds = (("failed", found.failed), ("without a token count", found.missing), ("undefined", found.undefined))
    counts = ", ".join([f"n={found.n}", *(f"{count} {kind}" for kind, count in kinds if count)])
    observed = f"{_ms(value)} ({counts})"
    if q is not None and total < samples_needed(q):
        return _Answer(Verdict.UNKNOWN, observed, f"{slo.statistic} needs at least {samples_needed(q)} samples")
    sure, low, high = _range(found, slo.statistic, value, confidence)
    if high <= limit:
        return _Answer(Verdict.PASS, observed, f"within the limit: {sure}at most {_ms(high)}")
    if low > limit:
        floor = _ms(low) if math.isinf(low) else f"at least {_ms(low)}"
        return _Answer(Verdict.FAIL, observed, f"over the limit: {sure}{floor}{NEVER if found.failed else ''}")
    if confidence == "none" or (found.missing and found.largest <= limit):
        why = f"{found.missing} of {total} samples could not be counted, and the limit lies among them"
        return _Answer(Verdict.UNKNOWN, observed, why, "load a server that reports usage for each stream")
    why = f"not enough samples: {sure}between {_ms(low)} and {_ms(high)}"
    if q is not None:
        few = found.clusters < samples_for_bound(q, confidence)
        have = found.clusters if few else found.independent(q)
        why += _how_many_more(found.over(limit) / found.n, 1 - q, confidence, have, len(rows))
    return _Answer(Verdict.UNKNOWN, observed, why)


def _range(found: Measured, statistic: str, value: float, confidence: Confidence) -> tuple[str, float, float]:
    """What the statistic lies between, and how sure that is. The largest of all is a statement on this run alone."""
    q = QUANTILES.get(statistic)
    if statistic == "max":
        return "the largest seen, ", value, math.inf if found.missing else value
    if confidence == "none":
        low, high = (value, value) if q is None else found.quantile_range(q)
        return "point estimate, ", low, math.inf if q is None and found.missing else high
    bounds = found.mean_bounds(confidence) if q is None else found.quantile_bounds(q, confidence)
    return f"{confidence * 100:g} % sure of ", bounds[0], math.inf if q is None and found.missing else bounds[1]


def _share(slo: Slo, slos: Sequence[Slo], rows: Columns, confidence: Confidence) -> _Answer:
    seen: Mask = np.ones(len(rows), dtype=np.bool_)
    if slo.metric == "goodput":
        hits = good_mask(rows, slos)
    elif slo.metric == "error_rate":
        hits = ~rows.ok
    elif slo.metric == "stall_share":
        hits = per_request("stall", rows) > (slo.over_ms or 0.0)
    else:
        seen = np.array([request.sane is not None for request in rows.requests], dtype=np.bool_)
        hits = np.array([request.sane is True for request in rows.requests], dtype=np.bool_)
    count, n = int(hits.sum()), int(seen.sum())
    if not n:
        if slo.metric == "sanity":
            return _Answer(
                Verdict.UNKNOWN, "no golden answers", "no prompt had an answer to expect", "add golden prompts"
            )
        return _Answer(Verdict.UNKNOWN, "no requests", "nothing was scheduled")
    observed = f"{count / n:.4f} ({count} of {n})"
    at_least = slo.at_least_share is not None
    limit = slo.at_least_share if slo.at_least_share is not None else slo.at_most_share or 0.0
    sure, low, high = "point estimate, ", count / n, count / n
    if limit in (0.0, 1.0):  # none or all: no sample can prove that of more than itself
        sure = "counted in this run, "
    elif confidence != "none":
        sure, (low, high) = f"{confidence * 100:g} % sure of ", share_bounds(count, n, confidence)
    if low >= limit if at_least else high <= limit:
        end = f"at least {low:.4f}" if at_least else f"at most {high:.4f}"
        return _Answer(Verdict.PASS, observed, f"within the limit: {sure}{end}")
    if high < limit if at_least else low > limit:
        end = f"at most {high:.4f}" if at_least else f"at least {low:.4f}"
        return _Answer(Verdict.FAIL, observed, f"beyond the limit: {sure}{end}")
    why = f"not enough samples: {sure}between {low:.4f} and {high:.4f}"
    bad, most = (1 - count / n, 1 - limit) if at_least else (count / n, limit)
    return _Answer(Verdict.UNKNOWN, observed, why + _how_many_more(bad, most, confidence, n, n))


def _how_many_more(share: float, limit: float, confidence: Confidence, have: float, requests: int) -> str:
    """How many more requests would tell, were the share over the limit to stay as it is."""
    needed = None if confidence == "none" else samples_to_decide(share, limit, confidence)
    if needed is None or needed <= have:
        return "; the limit lies too close to tell"
    return f"; about {math.ceil((needed - have) / have * requests):,} more requests are needed"


def _unjudged(slos: Sequence[Slo], rows: Columns) -> list[Finding]:
    """Failures that no gate would see: chunk metrics pool only what arrived."""
    failed = int((~rows.ok).sum())
    if not failed or any(slo.metric not in (*PER_CHUNK, "sanity") for slo in slos):
        return []
    blind = "every gate looks only at chunks that arrived" if slos else "no gate judged them"
    return [
        Finding(
            SLO_MET,
            Verdict.UNKNOWN,
            subject="failed requests",
            observed=f"{failed} of {len(rows)}",
            expected="a gate that sees them",
            why=f"requests failed and {blind}",
            remedy="add a goodput or error_rate gate to the profile" + ("" if slos else ", and leave out no_gates"),
            source="ledger",
        )
    ]


def _ms(value: float) -> str:
    return "no answer" if math.isinf(value) and value > 0 else "nothing" if math.isinf(value) else f"{value:.1f} ms"
