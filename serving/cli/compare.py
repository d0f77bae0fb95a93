"""`warmgate compare`: two saved load runs, or the two arms of one, and whether the candidate is no worse.

Read-only. Parses, reads, judges, renders; decides nothing.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
from pydantic import TypeAdapter, ValidationError

from serving.errors import CannotObserve, Refused
from serving.expectations import HarnessBounds, Margin, Slo
from serving.facts.saved_run import SavedRun
from serving.judge.compare import DEFAULT_MARGINS, Change, Comparison, judge_arms, judge_runs, percent, shown
from serving.observe.saved_run import read_saved_run
from serving.report.json import report_document
from serving.report.text import color_wanted, render_text

SCHEMA: Final = "warmgate.compare/v1"
MARGIN: Final = re.compile(r"(?P<metric>[a-z0-9_]+)(?:\.(?P<statistic>p\d+))?=(?P<percent>\d+(?:\.\d+)?)%")
SLOS: Final = TypeAdapter(tuple[Slo, ...])


def _margin(text: str) -> Margin:
    found = MARGIN.fullmatch(text.strip())
    if found is None:
        raise Refused(f"--margin {text}: not like ttft.p95=10% or goodput=1%")
    try:
        return Margin.model_validate(
            {
                "metric": found["metric"],
                "statistic": found["statistic"] or "share",
                "at_most_worse_share": float(found["percent"]) / 100,
            }
        )
    except ValidationError as error:
        raise Refused(f"--margin {text}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error


def _default() -> str:
    return ", ".join(
        f"{each.metric}{'' if each.statistic == 'share' else f'.{each.statistic}'}={each.at_most_worse_share:.0%}"
        for each in DEFAULT_MARGINS
    )


@click.command()
@click.argument("baseline", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path), required=False)
@click.option(
    "--margin",
    "margins",
    envvar="WARMGATE_MARGIN",
    multiple=True,
    metavar="METRIC.STATISTIC=N%",
    help=f"How much worse the candidate may be.  May be repeated; replaces the defaults.  [default: {_default()}]",
)
@click.option(
    "--confidence",
    envvar="WARMGATE_CONFIDENCE",
    type=click.FloatRange(0.5, 1, max_open=True),
    default=0.95,
    show_default=True,
    help="How sure a pass or a fail must be, each taken alone.",
)
@click.option(
    "--force",
    envvar="WARMGATE_FORCE",
    is_flag=True,
    help="Judge runs that differ in model, profile, rate or versions too.",
)
@click.option(
    "--seed",
    envvar="WARMGATE_SEED",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the bootstrap.",
)
@click.option(
    "--output",
    envvar="WARMGATE_OUTPUT",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What to print on stdout.",
)
def command(
    baseline: Path,
    candidate: Path | None,
    margins: tuple[str, ...],
    confidence: float,
    force: bool,
    seed: int,
    output: str,
) -> int:
    """Compare the load run CANDIDATE with BASELINE: report directories, or their ledger.jsonl.

    With one run alone, its arms `baseline` and `candidate` are compared.

    \b
    A pass says, with the stated confidence, that the candidate is worse by no more than the margin.
    Runs that are not alike, or too short to tell, are unknown. Exit code 0 no worse, 1 worse,
    2 usage, 3 unknown or could not observe.

    \b
    Examples:
      warmgate compare reports/v1 reports/v2
      warmgate compare reports/v1 reports/v2 --margin ttft.p99=20% --margin goodput=0.5%
      warmgate compare reports/vllm-0.31 reports/vllm-0.32 --force --output json
      warmgate compare reports/canary
    """
    asked = tuple(_margin(text) for text in margins) or DEFAULT_MARGINS
    first = read_saved_run(baseline)
    slos, harness = _expected(first)
    if candidate is None:
        found = judge_arms(first.traffic, slos, asked, confidence=confidence, harness=harness, seed=seed)
    else:
        second = read_saved_run(candidate)
        found = judge_runs(first, second, slos, asked, confidence=confidence, force=force, harness=harness, seed=seed)
    if output == "json":
        sys.stdout.write(json.dumps(document(found), indent=2) + "\n")
    else:
        table = "\n".join(change_table(found.changes))
        text = render_text(found.report, color=color_wanted(sys.stdout, os.environ))
        title, _, rest = text.partition("\n")
        sys.stdout.write(f"{title}\n\n{table}\n{rest}")
    return found.report.exit_code


def _expected(run: SavedRun) -> tuple[tuple[Slo, ...], HarnessBounds]:
    """The SLOs that say what a good request is, and the bounds of the harness: the baseline's, for both sides."""
    profile = run.profile or {}
    try:
        slos = SLOS.validate_python(tuple(profile.get("slos", ())))
        return slos, HarnessBounds.model_validate(profile.get("harness", {}))
    except (ValidationError, TypeError) as error:
        raise CannotObserve(
            f"{run.name}: its report.json is of another version: give its ledger in a directory of its own"
        ) from error


def document(found: Comparison) -> dict[str, Any]:
    """The comparison as plain data: a report's members, and each change with its bounds. Null is "not known"."""
    changes = [
        {
            "metric": change.metric,
            "statistic": change.statistic,
            "unit": "share" if change.statistic == "share" else "ms",
            "n": {"baseline": change.n[0], "candidate": change.n[1]},
            "baseline": _finite(change.baseline),
            "candidate": _finite(change.candidate),
            "worse_share": _finite(change.worse),
            "worse_share_at_least": _finite(change.low),
            "worse_share_at_most": _finite(change.high),
            "margin_share": change.margin,
            "verdict": None if change.verdict is None else change.verdict.value,
            "why_not": change.why_not,
        }
        for change in found.changes
    ]
    return {**report_document(found.report), "schema": SCHEMA, "command": "compare", "changes": changes}


def change_table(changes: Sequence[Change]) -> list[str]:
    """One line for each change: both sides, by how much the candidate is worse, and between what that lies."""
    rows = [("", "baseline", "candidate", "worse by", "between", "")]
    for change in changes:
        between = f"{percent(change.low)} and {percent(change.high)}" if not change.why_not else ""
        values = (shown(change, change.baseline), shown(change, change.candidate), percent(change.worse))
        rows.append((change.subject, *values, between, change.why_not))
    widths = [max(len(row[place]) for row in rows) for place in range(5)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:4], widths[1:4], strict=True)]
        lines.append("  ".join(["", row[0].ljust(widths[0]), *cells, row[4].ljust(widths[4]), row[5]]).rstrip())
    return lines


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
