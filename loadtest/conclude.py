"""From the traffic of a run to its conclusion: judge it, write the report, say it in a few lines.

Both shells end here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtest.document import document
from loadtest.profile import Profile
from loadtest.report import milliseconds, write_report
from serving.facts.traffic import Traffic
from serving.judge.slo import judge_traffic
from serving.report.text import render_text
from serving.verdict import Report


def conclude(
    traffic: Traffic, profile: Profile, attached: Sequence[dict[str, Any]], directory: Path
) -> tuple[dict[str, Any], Report]:
    """Judge the run against its profile and write report.json and report.html. Raises CannotAct."""
    report = judge_traffic(traffic, profile.slos, profile.harness)
    body = document(traffic, profile, report, attached)
    write_report(directory, body, traffic, profile.slos)
    return body, report


def verdict_text(body: dict[str, Any], report: Report, directory: Path, *, color: bool) -> str:
    """The findings as a table, the figures in a few lines, and the verdict at the end."""
    table, _, _ = render_text(report, color=color).rstrip("\n").rpartition("\n\n")
    load, metrics = body["load"], body["metrics"]
    lines = [table, ""]
    for name in ("ttft", "itl", "e2e"):
        found = metrics[f"{name}_ms"]
        if found:
            values = "  ".join(f"{s} {milliseconds(found[s], found['failed'])}" for s in ("p50", "p95", "p99", "max"))
            lines.append(f"  {name:<9}{values}  (n={found['n']})")
    counted = ", ".join(f"{count} {name}" for name, count in body["outcomes"].items() if count) or "no requests"
    lines.append(f"  requests {counted}")
    if load["offered_per_s"] is not None and load["achieved_per_s"] is not None:
        lines.append(f"  load     {load['offered_per_s']:.2f}/s offered, {load['achieved_per_s']:.2f}/s sent")
    lag = body["measurement"]["schedule_lag_ms"]
    if lag:
        lines.append(f"  harness  {milliseconds(lag['p99'])} late at p99")
    lines += ["", f"{body['verdict'].upper()} (exit code {body['exit_code']}): {directory / 'report.html'}", ""]
    return "\n".join(lines)
