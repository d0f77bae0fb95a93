"""Writes the report of a run: report.json, and report.html, one file that opens from disk and loads nothing.

Formatting and writing only; what it says was decided by the judge. A file is there whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from loadtest.plots import plots
from serving.errors import CannotAct, Refused
from serving.expectations import Slo
from serving.facts.samples import METRICS
from serving.facts.traffic import Traffic

STATISTICS: Final = ("n", "failed", "mean", "p50", "p90", "p95", "p99", "max")
MARKS: Final = {"pass": "✓", "fail": "✗", "unknown": "?", "invalid": "?", "not_applicable": "–"}


def read_attachment(path: Path) -> dict[str, Any]:
    """A report that another command wrote as JSON, to be shown in ours. Raises Refused when it is not one."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refused(f"--attach {path}: {error.strerror}: give the JSON of `warmgate verify --output json`") from error
    except ValueError as error:
        raise Refused(f"--attach {path}: not JSON: give the output of `warmgate verify --output json`") from error
    findings = body.get("findings") if isinstance(body, dict) else None
    if not isinstance(findings, list) or not all(isinstance(finding, dict) for finding in findings):
        raise Refused(f"--attach {path}: holds no findings: give the output of `warmgate verify --output json`")
    return dict(body)


def write_report(directory: Path, document: dict[str, Any], traffic: Traffic, slos: Sequence[Slo]) -> None:
    """Write report.json and report.html into the directory. Raises CannotAct with one line."""
    _write(directory / "report.json", json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    _write(directory / "report.html", page(document, traffic, slos))


def page(document: dict[str, Any], traffic: Traffic, slos: Sequence[Slo]) -> str:
    """The text of report.html."""
    environment = Environment(
        loader=PackageLoader("loadtest", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["ms"] = milliseconds
    # chart.py escapes every text that it is given
    pictures = [(plot, Markup(plot.svg)) for plot in plots(traffic, slos)]
    template = environment.get_template("report.html.j2")
    return template.render(r=document, plots=pictures, meanings=METRICS, statistics=STATISTICS, marks=MARKS)


def milliseconds(value: float | None, failed: int = 0) -> str:
    """A latency for people: three figures or so, with its unit; a failed request's has none.

    >>> [milliseconds(value) for value in (0.1234, 12.345, 1234.5, None)], milliseconds(None, failed=2)
    (['0.12 ms', '12.3 ms', '1,234 ms', '–'], 'failed')
    """
    if value is None:
        return "failed" if failed else "–"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms" if value >= 1 else f"{value:.2f} ms"


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise CannotAct(f"cannot write {path}: {error.strerror}: make room; the ledger beside it is kept") from error
