"""Renders a comparison: one line a change for a terminal, and one document, schema `warmgate.compare/v1`.

It owns that schema: docs/compare.schema.json is generated from here (`python -m serving.report.compare`). Within v1
members are added, never renamed or removed. Formatting only.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import Any, Final

from serving.expectations import Margin
from serving.judge.compare import Change, Comparison, percent, shown
from serving.report.json import json_schema as report_schema
from serving.report.json import report_document

SCHEMA: Final = "warmgate.compare/v1"


def comparison_document(found: Comparison) -> dict[str, Any]:
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


def json_schema() -> str:
    """The text of docs/compare.schema.json (JSON Schema, draft 2020-12): a report, closed, with what changed."""
    schema = json.loads(report_schema())
    report = schema["properties"]
    report["findings"]["items"] |= {"additionalProperties": False}
    report |= {
        "schema": {"const": SCHEMA},
        "command": {"const": "compare"},
        "changes": {"type": "array", "items": _change(), "description": "Also those that no margin was asked for."},
    }
    closed = {"required": [*report], "additionalProperties": False}
    return (
        json.dumps(schema | {"title": "Two load runs, or two arms of one, compared by warmgate"} | closed, indent=2)
        + "\n"
    )


def _change() -> dict[str, Any]:
    margin = Margin.model_json_schema()["properties"]
    number = {"type": ["number", "null"]}
    count = {"type": "integer", "minimum": 0}
    members = {
        "metric": {"enum": margin["metric"]["enum"]},
        "statistic": {"enum": margin["statistic"]["enum"]},
        "unit": {"enum": ["ms", "share"], "description": "Of both sides' values."},
        "n": _closed({"baseline": count, "candidate": count}) | {"description": "Samples on each side."},
        "baseline": number | {"description": "Null: not seen, or, of a latency, among the failed requests."},
        "candidate": number | {"description": "Alike."},
        "worse_share": number | {"description": "Of a latency a share of the baseline's, of goodput what was lost."},
        "worse_share_at_least": number | {"description": "Its bound from below; null: there is none."},
        "worse_share_at_most": number | {"description": "Its bound from above; null: there is none."},
        "margin_share": number | {"description": "How much worse it may be; null: nobody asked."},
        "verdict": {"enum": ["pass", "fail", "unknown", None], "description": "Null: nobody asked."},
        "why_not": {"type": "string", "description": "Why it cannot be judged; empty when it can."},
    }
    return _closed(members)


def _closed(members: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [*members], "properties": members, "additionalProperties": False}


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


if __name__ == "__main__":
    sys.stdout.write(json_schema())
