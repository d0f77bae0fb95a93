"""Parts of a load test's document: what is told of any set of requests, be it a phase, an arm, a replica, a probe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from loadtest.sweep import Answer, Sweep
from serving.expectations import Slo
from serving.facts.columns import Columns, columns
from serving.facts.samples import Summary, measured, summary
from serving.facts.traffic import RequestSeen, Traffic
from serving.judge.slo import error_rate, goodput
from serving.verdict import Verdict

WORDS: Final = {Verdict.UNKNOWN.value: "invalid"}
METRICS: Final = ("ttft", "itl", "tpot", "e2e", "stall")


@dataclass(frozen=True)
class Swept:
    """A sweep as it is shown: its state, its answer, and the run of each probe that it made, in order."""

    sweep: Sweep
    answer: Answer
    runs: Sequence[Traffic]


def summary_of(metric: str, rows: Columns) -> dict[str, Any] | None:
    """The summary of a metric as the document holds it: no infinity, null among the failed. None without samples."""
    found: Summary | None = summary(measured(metric, rows))
    return None if found is None else {name: finite(value) for name, value in asdict(found).items()}


def finite(value: float) -> float | None:
    """A figure as JSON can hold it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def rate(count: float, seconds: float) -> float | None:
    """So many per second, or None in no time."""
    return count / seconds if seconds > 0 else None


def phases(traffic: Traffic, slos: Sequence[Slo]) -> list[dict[str, Any]]:
    """Each phase of the schedule, those that do not count included."""
    inside: list[list[RequestSeen]] = [[] for _ in traffic.phases]
    for request in traffic.requests if inside else ():
        inside[request.phase].append(request)
    found = []
    for phase, requests in zip(traffic.phases, inside, strict=True):
        end_s = phase.end_s if phase.end_s is not None else traffic.end.elapsed_s
        seconds = end_s - phase.start_s
        sent = sum(request.sent_s is not None and request.sent_s <= end_s for request in requests)
        found.append(
            {
                "name": phase.name,
                "start_s": phase.start_s,
                "end_s": end_s,
                "counts": phase.counts,
                "rate_per_s": phase.rate_per_s,
                "streams": phase.concurrency,
                "offered_per_s": None if phase.concurrency else rate(len(requests), seconds),
                "achieved_per_s": rate(sent, seconds),
                **_part(requests, slos),
            }
        )
    return found


def parts(window: Sequence[RequestSeen], slos: Sequence[Slo], member: str) -> list[dict[str, Any]]:
    """The window split by an attribute that names something, in the order of the names; nothing where none does."""
    groups: dict[str, list[RequestSeen]] = {}
    for request in window:
        if name := getattr(request, member):
            groups.setdefault(name, []).append(request)
    return [{"name": name, **_part(groups[name], slos)} for name in sorted(groups)]


def sweep(swept: Swept, slos: Sequence[Slo]) -> dict[str, Any]:
    """Every probe of a sweep, and what it came to."""
    answer = swept.answer
    probes = [
        {
            "rate_per_s": probe.rate_rps,
            "counted_s": probe.counted_s,
            "verdict": WORDS.get(verdict := swept.sweep.verdict_of(result), verdict.value),
            "why": result.why,
            "offered_per_s": result.offered_per_s,
            "achieved_per_s": result.achieved_per_s,
            **_part(run.window, slos),
        }
        for (probe, result), run in zip(swept.sweep.done, swept.runs, strict=True)
    ]
    return {
        "capacity_per_s": answer.capacity_rps,
        "ceiling_per_s": answer.ceiling_rps,
        "settled": answer.settled,
        "why": answer.why,
        "probes": probes,
    }


def _part(requests: Sequence[RequestSeen], slos: Sequence[Slo]) -> dict[str, Any]:
    rows = columns(requests)
    return {
        "scheduled": len(requests),
        "ok": sum(request.ok for request in requests),
        "goodput": goodput(rows, slos),
        "error_rate": error_rate(requests),
        "metrics": {f"{metric}_ms": summary_of(metric, rows) for metric in METRICS},
    }
