"""`warmgate compare`: two saved load runs, or the two arms of one, and whether the candidate is no worse.

Read-only. Parses, reads, judges, renders; decides nothing.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Final

import click
from pydantic import TypeAdapter, ValidationError

from serving.errors import CannotObserve, Refused
from serving.expectations import HarnessBounds, Margin, Slo
from serving.facts.saved_run import SavedRun
from serving.judge.compare import DEFAULT_MARGINS, judge_arms, judge_runs
from serving.observe.saved_run import read_saved_run
from serving.report.compare import change_table, comparison_document
from serving.report.text import color_wanted, render_text

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
        sys.stdout.write(json.dumps(comparison_document(found), indent=2) + "\n")
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
