"""From the traffic of a run to its conclusion: judge it, write the report, say it in a few lines.

Both shells end here. A file that cannot be written costs the run nothing else of its report, and never its ledger; but
a run whose report is not whole does not pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loadtest.document import document
from loadtest.document_parts import Swept
from loadtest.page import milliseconds
from loadtest.profile import Profile
from loadtest.report import write_report
from serving.codes import RUN_OBSERVED
from serving.facts.columns import columns
from serving.facts.telemetry import Telemetry
from serving.facts.traffic import Traffic
from serving.judge.harness import judge_harness
from serving.judge.slo import judge_traffic
from serving.report.text import render_text
from serving.verdict import Finding, Report, Verdict


@dataclass(frozen=True)
class Conclusion:
    """What a run came to. `unwritten` has a line for each file of the report that could not be written."""

    body: dict[str, Any]
    report: Report
    unwritten: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """The verdict's."""
        return int(self.body["exit_code"])


def conclude(
    traffic: Traffic,
    profile: Profile,
    attached: Sequence[dict[str, Any]],
    directory: Path,
    *,
    telemetry: Telemetry | None = None,
    swept: Swept | None = None,
    also: Sequence[Finding] = (),
) -> Conclusion:
    """Judge the run against its profile and write its report. `also` are findings that other judges came to.

    A sweep meant to go too far: its gates judged each probe by itself, and do not judge all of them together.
    report.json comes first, so that nothing that happens later can cost the verdict.
    """
    if swept is None:
        judged = judge_traffic(traffic, profile.gates, profile.harness, profile.confidence).findings
    else:
        judged = judge_harness(traffic, columns(traffic.window), profile.harness)

    def written(report: Report) -> Conclusion:
        body = document(traffic, profile, report, attached, telemetry, swept)
        return Conclusion(body, report, write_report(directory, body, report, traffic, profile.slos, telemetry))

    first = written(Report("load test", (*judged, *also)))
    if not first.unwritten or first.report.verdict is not Verdict.PASS:
        return first
    again = written(Report("load test", (*judged, *also, _incomplete(directory, first.unwritten))))
    return replace(again, unwritten=tuple(dict.fromkeys(first.unwritten + again.unwritten)))


def _incomplete(directory: Path, unwritten: Sequence[str]) -> Finding:
    missing = f"{len(unwritten)} of its files missing"
    remedy = "make room there, and run it again"
    return Finding(RUN_OBSERVED, Verdict.UNKNOWN, "the report", missing, "all", unwritten[0], remedy, str(directory))


def verdict_text(conclusion: Conclusion, directory: Path, *, color: bool) -> str:
    """The findings as a table, the figures in a few lines, and the verdict at the end."""
    body = conclusion.body
    table, _, _ = render_text(conclusion.report, color=color).rstrip("\n").rpartition("\n\n")
    load, metrics = body["load"], body["metrics"]
    lines = [table, ""]
    for name in ("ttft", "itl", "e2e"):
        found = metrics[f"{name}_ms"]
        if found and not body["sweep"]:  # whose probes have nothing in common
            values = "  ".join(f"{s} {milliseconds(found[s], found['failed'])}" for s in ("p50", "p95", "p99", "max"))
            lines.append(f"  {name:<9}{values}  (n={found['n']})")
    counted = ", ".join(f"{count} {name}" for name, count in body["outcomes"].items() if count) or "no requests"
    lines.append(f"  requests {counted}")
    if load["offered_per_s"] is not None and load["achieved_per_s"] is not None:
        lines.append(f"  load     {load['offered_per_s']:.2f}/s offered, {load['achieved_per_s']:.2f}/s sent")
    lag = metrics["schedule_lag_ms"]
    if lag:
        lines.append(f"  harness  {milliseconds(lag['p99'])} late at p99")
    where = directory / ("report.html" if not conclusion.unwritten else "")
    code = "" if body["environment"]["interrupted"] else f" (exit code {conclusion.exit_code})"  # or the signal's own
    lines += ["", f"{body['verdict'].upper()}{code}: {where}", ""]
    return "\n".join(lines)
