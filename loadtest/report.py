"""Writes the files of a run's report: JSON, one HTML page that loads nothing, JUnit XML, and one line a request as CSV.

Formatting and writing only; what it says was decided by the judge. A file is there whole or not at all, never an older
one, and one that cannot be written takes no other with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from loadtest.page import page
from loadtest.table import rows
from serving.errors import Refused
from serving.expectations import Slo
from serving.facts.telemetry import Telemetry
from serving.facts.traffic import Traffic
from serving.report.junit import render_junit
from serving.verdict import Report


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


def write_report(
    directory: Path,
    document: dict[str, Any],
    report: Report,
    traffic: Traffic,
    slos: Sequence[Slo],
    telemetry: Telemetry | None = None,
) -> tuple[str, ...]:
    """Write report.json and then the others. Returns a line for each that could not be written."""
    files: dict[str, Callable[[], Iterable[str]]] = {
        "report.json": lambda: [json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False), "\n"],
        "junit.xml": lambda: [render_junit(report)],
        "requests.csv": lambda: rows(traffic, slos),
        "report.html": lambda: [page(document, traffic, slos, telemetry)],
    }
    told = (_write(directory / name, texts) for name, texts in files.items())
    return tuple(problem for problem in told if problem is not None)


def _write(path: Path, texts: Callable[[], Iterable[str]]) -> str | None:
    """Write a file whole, or say in one line why not."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.unlink(missing_ok=True)  # whose room the new one may need
        with partial.open("w", encoding="utf-8", errors="replace", newline="") as file:
            file.writelines(texts())
        partial.replace(path)
    except OSError as error:
        _discard(partial)
        return f"cannot write {path}: {error.strerror}: make room; the ledger beside it is kept"
    except ImportError as error:
        _discard(partial)
        return f"cannot draw {path}: the package {error.name!r} is missing: pip install 'warmgate[loadtest]'"
    return None


def _discard(path: Path) -> None:
    with suppress(OSError):  # nothing can be removed from a disk that can no longer be written either
        path.unlink(missing_ok=True)
