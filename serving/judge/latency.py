"""Decides whether latency is within its target, from samples that somebody else took. Pure.

A sample that failed never met a target: it counts as an infinite TTFT and stays in the denominator.
"""

from __future__ import annotations

import math
from dataclasses import replace

from serving import codes
from serving.expectations import Readiness
from serving.facts.quantiles import quantile, rank, samples_needed
from serving.facts.readiness import Trial
from serving.facts.seen import Fact, Seen, Unseen
from serving.judge.blind import CORRECT_BASE_URL, could_not_tell
from serving.verdict import Finding, Verdict


def judge_latency(latency: tuple[Fact[Trial], ...], expectations: Readiness) -> Finding:
    """WG104. The exact nearest-rank percentile of TTFT, failures counted as misses.

    Below ceil(1 / (1 - q)) samples the percentile is only the maximum under another name: that never passes, and fails
    only when so many missed that no further sample could save it.
    """
    target, q = expectations.ttft_ms, expectations.percentile
    label = f"p{100 * q:g}"
    base = Finding(
        codes.LATENCY,
        Verdict.PASS,
        "TTFT",
        "",
        f"{label} ≤ {target:g} ms",
        "",
        source=latency[0].source if latency else "",
    )
    if not any(isinstance(entry, Seen) for entry in latency):
        why = next((entry.why for entry in latency if isinstance(entry, Unseen)), "no time was left to send a request")
        return could_not_tell(base, why, f"{CORRECT_BASE_URL}, or raise --timeout")
    ttfts = [ttft for entry in latency if (ttft := _ttft(entry, target)) is not None]
    n, failed = len(ttfts), ttfts.count(math.inf)
    missed = sum(1 for ttft in ttfts if ttft > target)
    minimum = samples_needed(q)
    why = f"{failed} of {n} failed{_first_problem(latency)}"
    if ttfts:
        base = replace(base, observed=f"{label} {_ms(quantile(ttfts, q))} (n={n})")
        why = f"p50 {_ms(quantile(ttfts, 0.5))}, max {_ms(max(ttfts))}, {why}"
    of = max(n, minimum)
    if missed > of - rank(q, of):
        remedy = (
            "see `prediction` for why requests fail"
            if failed
            else "lower the load, add replicas, or give it time to warm"
        )
        return replace(base, verdict=Verdict.FAIL, why=f"{missed} of {n} missed it; {why}", remedy=remedy)
    if n < minimum:
        remedy = f"--samples {minimum} or more" if expectations.samples < minimum else "raise --timeout"
        return could_not_tell(base, f"too few samples: {label} needs {minimum}, got {n}; {why}", remedy)
    return replace(base, why=why)


def _ttft(entry: Fact[Trial], target_ms: float) -> float | None:
    """A sample's TTFT; infinite for a failure; None for one that our own lack of time ended before it could miss."""
    if isinstance(entry, Unseen):
        return math.inf
    trial = entry.value
    if trial.cut_off and trial.ttft_ms is None and trial.elapsed_ms <= target_ms:
        return None
    if trial.ttft_ms is None or (trial.problem is not None and not trial.cut_off):
        return math.inf
    return trial.ttft_ms


def _first_problem(latency: tuple[Fact[Trial], ...]) -> str:
    for entry in latency:
        problem = entry.why if isinstance(entry, Unseen) else None if entry.value.cut_off else entry.value.problem
        if problem is not None:
            return f" (first: {problem})"
    return ""


def _ms(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:,.0f} ms"
