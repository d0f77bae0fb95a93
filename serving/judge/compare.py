"""Decides whether a candidate is no worse than a baseline: two arms of one run, or two runs that were saved. Pure.

Non-inferiority: a pass says that with the stated confidence the candidate is worse by no more than the margin, a fail
that it is worse by more, and anything between is UNKNOWN. So are too few samples for a tail, runs that may not be
believed, and runs that are not alike. A failed request is an infinite latency here too.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from serving.codes import NOT_WORSE, RUNS_ALIKE
from serving.expectations import HarnessBounds, Margin, Slo
from serving.facts.bootstrap import blocks_of, bounds, drawn_quantiles, drawn_shares, draws, edges_of
from serving.facts.columns import Columns, Counts, Floats, columns
from serving.facts.intervals import samples_for_bound, share_bounds
from serving.facts.samples import measured
from serving.facts.saved_run import SavedRun
from serving.facts.traffic import Traffic
from serving.judge.harness import doubt, judge_harness
from serving.judge.slo import QUANTILES, good_mask
from serving.verdict import Finding, Report, Verdict

PASS, FAIL, UNKNOWN, NOT_APPLICABLE = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN, Verdict.NOT_APPLICABLE
BASELINE, CANDIDATE = "baseline", "candidate"
SHOWN: Final = ("ttft", "itl", "tpot", "e2e", "stall")
STATISTICS: Final = ("p50", "p95", "p99")
BLOCKS: Final = 40
FEWEST_BLOCKS: Final = 10
PER_BLOCK: Final = 4
IN_TAIL: Final = 10  # samples beyond a quantile, below which a bootstrap knows nothing of it
SAME_LENGTH: Final = 0.1  # how far the lengths of like prompts may differ
NOT_THE_LOAD: Final = ("description", "slos", "harness", "confidence", "margins", "no_gates", "telemetry", "workers")
DEFAULT_MARGINS: Final = (
    Margin(metric="ttft", statistic="p95", at_most_worse_share=0.10),
    Margin(metric="tpot", statistic="p95", at_most_worse_share=0.10),
    Margin(metric="e2e", statistic="p95", at_most_worse_share=0.10),
    Margin(metric="goodput", statistic="share", at_most_worse_share=0.01),
)


@dataclass(frozen=True)
class Change:
    """One statistic on both sides, in milliseconds or as a share, None where it was not seen.

    `worse` is by how much the candidate is worse: a share of the baseline's latency, or the goodput that it lost; `low`
    and `high` bound it. `why_not` says why it cannot be judged, `margin` and `verdict` are None where nobody asked.
    """

    metric: str
    statistic: str
    n: tuple[int, int]
    baseline: float | None
    candidate: float | None
    worse: float
    low: float
    high: float
    why_not: str = ""
    margin: float | None = None
    verdict: Verdict | None = None

    @property
    def subject(self) -> str:
        """Its name."""
        return self.metric if self.statistic == "share" else f"{self.metric} {self.statistic}"


@dataclass(frozen=True)
class Comparison:
    """Every change that was looked at, and the findings on those that were asked for."""

    changes: tuple[Change, ...]
    report: Report


def judge_runs(
    baseline: SavedRun,
    candidate: SavedRun,
    slos: Sequence[Slo],
    margins: Sequence[Margin] = DEFAULT_MARGINS,
    *,
    confidence: float = 0.95,
    force: bool = False,
    harness: HarnessBounds | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare two runs. Runs that are not alike are not judged, unless by `force`; goodput is by the given SLOs."""
    runs = (baseline, candidate)
    rows = tuple(columns(run.traffic.window) for run in runs)
    doubts = [
        f"{side}: {why}"
        for side, run, seen in zip((BASELINE, CANDIDATE), runs, rows, strict=True)
        if (why := doubt(judge_harness(run.traffic, seen, harness or HarnessBounds())))
    ]
    unlike = differences(baseline, candidate)
    verdict, why, remedy = PASS, "the same load, the same model, the same harness", ""
    if doubts:
        verdict, why, remedy = UNKNOWN, "; ".join(doubts), "repeat the run that may not be believed"
    elif unlike and not force:
        verdict, why = UNKNOWN, f"the runs differ in {'; '.join(unlike)}"
        remedy = "repeat one of them as the other was, or say --force when the difference is what is compared"
    elif unlike:
        verdict, why = NOT_APPLICABLE, f"compared by force: the runs differ in {'; '.join(unlike)}"
    shown = f"{len(unlike)} differences" if unlike else "no difference"
    names = f"{baseline.name} and {candidate.name}"
    alike = Finding(RUNS_ALIKE, verdict, names, shown, "two runs alike", why, remedy, source="ledgers")
    changes = _changes(rows[0], rows[1], slos, margins, confidence, seed, paired=False)
    return _concluded((alike,), changes, confidence, "compared runs")


def judge_arms(
    traffic: Traffic,
    slos: Sequence[Slo],
    margins: Sequence[Margin] = DEFAULT_MARGINS,
    *,
    confidence: float = 0.95,
    harness: HarnessBounds | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare the arms `baseline` and `candidate` of one run, in which requests of both took turns."""
    rows = columns(traffic.window)
    why = doubt(judge_harness(traffic, rows, harness or HarnessBounds()))
    sides = [rows.where(rows.arms == arm) for arm in (BASELINE, CANDIDATE)]
    empty = [arm for arm, side in zip((BASELINE, CANDIDATE), sides, strict=True) if not len(side)]
    if empty and why is None:
        why = f"no request of the arm {' or of the arm '.join(empty)} counts"
    alike = Finding(
        RUNS_ALIKE,
        PASS if why is None else UNKNOWN,
        "two arms of one run",
        f"{len(sides[0])} and {len(sides[1])} requests",
        "both measured in one run that may be believed",
        why or "requests of both took turns in one run",
        "" if why is None else "repeat the run, with both arms",
        source="ledger",
    )
    changes = _changes(sides[0], sides[1], slos, margins, confidence, seed, paired=True)
    return _concluded((alike,), changes, confidence, "compared arms")


def differences(baseline: SavedRun, candidate: SavedRun) -> list[str]:
    """In what the runs are not alike, one phrase each. Another seed or another address is no difference."""
    ours, theirs = baseline.traffic.plan, candidate.traffic.plan
    pairs: list[tuple[str, Any, Any]] = [
        ("model", ours.model, theirs.model),
        ("profile", ours.profile, theirs.profile),
        ("mode", ours.load.mode, theirs.load.mode),
        ("rate", ours.load.rate_per_s, theirs.load.rate_per_s),
        ("streams", ours.load.concurrency, theirs.load.concurrency),
        ("phases", _phases(baseline.traffic), _phases(candidate.traffic)),
        ("arms", _arms(baseline.traffic), _arms(candidate.traffic)),
        ("kernel stamps", bool(baseline.traffic.end.kernel_stamps), bool(candidate.traffic.end.kernel_stamps)),
    ]
    names = sorted({*ours.versions, *theirs.versions})
    pairs += [(f"version of {name}", ours.versions.get(name), theirs.versions.get(name)) for name in names]
    if baseline.profile is not None and candidate.profile is not None:
        keys = sorted({*baseline.profile, *candidate.profile} - {*NOT_THE_LOAD})
        pairs += [(f"profile's {key}", *(_unseeded(run.profile, key) for run in (baseline, candidate))) for key in keys]
    left, right = _prompt_tokens(baseline.traffic), _prompt_tokens(candidate.traffic)
    if abs(right - left) > SAME_LENGTH * left:  # a ledger may stand alone, and a file of prompts may change
        pairs.append(("median prompt tokens", f"{left:g}", f"{right:g}"))
    return [f"{name} ({_said(one)}, {_said(other)})" for name, one, other in pairs if one != other]


def _phases(traffic: Traffic) -> list[tuple[str, float | None, int | None, bool]]:
    return [(each.name, each.rate_per_s, each.concurrency, each.counts) for each in traffic.phases]


def _arms(traffic: Traffic) -> str | None:
    return " and ".join(sorted({request.arm for request in traffic.requests} - {""})) or None


def _prompt_tokens(traffic: Traffic) -> float:
    """The median length of the prompts that count, as the server counted them; NaN where it did not."""
    counts = [request.prompt_tokens for request in traffic.window if request.prompt_tokens is not None]
    return statistics.median(counts) if counts else math.nan


def _unseeded(profile: dict[str, Any] | None, key: str) -> Any:
    value = (profile or {}).get(key)
    return {name: part for name, part in value.items() if name != "seed"} if isinstance(value, dict) else value


def _said(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _changes(
    baseline: Columns,
    candidate: Columns,
    slos: Sequence[Slo],
    margins: Sequence[Margin],
    confidence: float,
    seed: int,
    *,
    paired: bool,
) -> tuple[Change, ...]:
    asked: dict[tuple[str, str], float] = {}
    asked |= {(margin.metric, margin.statistic): margin.at_most_worse_share for margin in margins}
    blocks = min(BLOCKS, len(baseline) // PER_BLOCK, len(candidate) // PER_BLOCK)
    too_few = "" if blocks >= FEWEST_BLOCKS else f"needs at least {FEWEST_BLOCKS * PER_BLOCK} requests on each side"
    blocks = max(blocks, 1)
    together = np.concatenate((baseline.scheduled_s, candidate.scheduled_s))
    sides = [
        _Side(rows, blocks_of(rows.scheduled_s, edges_of(together if paired else rows.scheduled_s, blocks)), blocks)
        for rows in (baseline, candidate)
    ]
    drawn = [draws(blocks, seed), draws(blocks, seed if paired else seed + 1)]
    changes: list[Change] = []
    for metric in dict.fromkeys((*SHOWN, *(margin.metric for margin in margins if margin.metric != "goodput"))):
        wanted = [name for name in QUANTILES if name in STATISTICS or (metric, name) in asked]
        changes += _latency(metric, wanted, sides, drawn, confidence)
    changes.append(_goodput(sides, drawn, slos, confidence))
    return tuple(_judged(change, asked.get((change.metric, change.statistic)), too_few) for change in changes)


@dataclass(frozen=True, eq=False)
class _Side:
    rows: Columns
    block: Counts
    blocks: int


def _latency(
    metric: str, statistics: Sequence[str], sides: Sequence[_Side], drawn: Sequence[Any], confidence: float
) -> list[Change]:
    qs = tuple(QUANTILES[name] for name in statistics)
    found = [measured(metric, side.rows) for side in sides]
    spread = [
        drawn_quantiles(each, side.block, side.blocks, qs, rows)
        for each, side, rows in zip(found, sides, drawn, strict=True)
    ]
    changes = []
    for place, (name, q) in enumerate(zip(statistics, qs, strict=True)):
        point = [each.quantile(q) if each.n else math.nan for each in found]
        low, high = bounds(_ratio(spread[0][:, place], spread[1][:, place]), confidence)
        least, requests = math.ceil(IN_TAIL / (1 - q) - 1e-9), samples_for_bound(q, confidence)
        why_not = ""
        if not all(each.n for each in found):
            why_not = "no exact token counts" if any(each.missing for each in found) else "not seen on both sides"
        elif any(each.missing for each in found):
            why_not = f"{sum(each.missing for each in found)} samples could not be counted"
        elif any(each.clusters < requests for each in found):
            why_not = f"{name} needs samples of at least {requests} requests on each side"
        elif any(each.independent(q) < least for each in found):
            why_not = f"{name} needs at least {least} independent samples on each side"
        worse = float(_ratio(np.array(point[:1]), np.array(point[1:]))[0])
        seen = [None if math.isnan(value) else value for value in point]
        changes.append(Change(metric, name, (found[0].n, found[1].n), seen[0], seen[1], worse, low, high, why_not))
    return changes


def _ratio(baseline: Floats, candidate: Floats) -> Floats:
    """By what share of the baseline the candidate is slower. Two infinities tell nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(candidate / baseline - 1)


def _goodput(sides: Sequence[_Side], drawn: Sequence[Any], slos: Sequence[Slo], confidence: float) -> Change:
    """The wider of the bootstrap's bounds and those of two independent shares, as a resample shows no rare failure."""
    good = [good_mask(side.rows, slos) for side in sides]
    n = [len(mask) for mask in good]
    if not all(n):
        return Change("goodput", "share", (n[0], n[1]), None, None, math.nan, -math.inf, math.inf, "no requests")
    shares = [
        drawn_shares(mask, side.block, side.blocks, rows) for mask, side, rows in zip(good, sides, drawn, strict=True)
    ]
    ours, theirs = (float(mask.mean()) for mask in good)
    (ours_low, ours_high), (theirs_low, theirs_high) = (
        share_bounds(int(mask.sum()), mask.size, confidence) for mask in good
    )
    worse = ours - theirs
    low, high = bounds(shares[0] - shares[1], confidence)
    low = min(low, worse - math.hypot(ours - ours_low, theirs_high - theirs))
    high = max(high, worse + math.hypot(ours_high - ours, theirs - theirs_low))
    return Change("goodput", "share", (n[0], n[1]), ours, theirs, worse, low, high)


def _judged(change: Change, margin: float | None, too_few: str) -> Change:
    why_not = change.why_not or too_few
    if margin is None:
        return replace(change, why_not=why_not)
    verdict = PASS if change.high <= margin else FAIL if change.low > margin else UNKNOWN
    return replace(change, why_not=why_not, margin=margin, verdict=UNKNOWN if why_not else verdict)


def _concluded(first: tuple[Finding, ...], changes: tuple[Change, ...], confidence: float, title: str) -> Comparison:
    why_not = doubt(first)
    findings = [_finding(change, confidence, why_not) for change in changes if change.margin is not None]
    return Comparison(changes, Report(title, (*first, *findings)))


def _finding(change: Change, confidence: float, why_not: str | None) -> Finding:
    margin, verdict = change.margin or 0.0, change.verdict or UNKNOWN
    by = "less goodput" if change.statistic == "share" else "slower"
    sure = f"{confidence * 100:g} % sure of "
    why = f"{sure}between {percent(change.low)} and {percent(change.high)}: not enough requests to tell"
    remedy = "run longer, or allow a larger margin"
    if why_not is not None:
        verdict, why, remedy = UNKNOWN, f"not judged: {why_not}", "see the finding above"
    elif change.why_not:
        why = change.why_not
    elif verdict is PASS:
        why, remedy = f"no worse: {sure}at most {percent(change.high)}", ""
    elif verdict is FAIL:
        why, remedy = f"worse: {sure}at least {percent(change.low)}", "keep the baseline, or allow a larger margin"
    observed = f"{percent(change.worse)} ({shown(change, change.baseline)} to {shown(change, change.candidate)})"
    return Finding(NOT_WORSE, verdict, change.subject, observed, f"<= {margin * 100:g} % {by}", why, remedy, "ledgers")


def percent(share: float) -> str:
    """A share as percent with its sign."""
    if not math.isfinite(share):
        return "not seen" if math.isnan(share) else "unbounded"
    return f"{round(share, 3) + 0.0:+.1%}"


def shown(change: Change, value: float | None) -> str:
    """One side's value with its unit."""
    if value is None:
        return "not seen"
    if change.statistic == "share":
        return f"{value:.4f}"
    return "no answer" if math.isinf(value) else f"{value:.1f} ms"
