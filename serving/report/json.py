"""Renders a report as one JSON document, schema `warmgate.report/v1`, and owns that schema.

docs/report.schema.json is generated from here (`python -m serving.report.json`). Within v1 members are added, never
renamed or removed. Formatting only, from nothing but the Report.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from serving.verdict import EXIT_CODES, Finding, Report, Verdict

SCHEMA: Final = "warmgate.report/v1"


def report_document(report: Report) -> dict[str, Any]:
    """The report as plain data, in a stable order; commands with more to say add members beside these."""
    return {
        "schema": SCHEMA,
        "title": report.title,
        "verdict": report.verdict.value,
        "exit_code": report.exit_code,
        "findings": [_finding(finding) for finding in report.findings],
    }


def render_json(report: Report, **more: Any) -> str:
    """The document, with members of a command's own, as text that any UTF-8 stream takes, a newline at its end."""
    text = json.dumps({**report_document(report), **more}, indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "replace").decode()  # half a character, cut by a token limit, is no UTF-8


def _finding(finding: Finding) -> dict[str, str]:
    return {
        "code": finding.code.id,
        "question": finding.code.question,
        "verdict": finding.verdict.value,
        "subject": finding.subject,
        "observed": finding.observed,
        "expected": finding.expected,
        "why": finding.why,
        "remedy": finding.remedy,
        "source": finding.source,
    }


def json_schema() -> str:
    """The text of docs/report.schema.json (JSON Schema, draft 2020-12). Members may be added beside the named ones."""
    texts = {
        "question": "What was asked; the same for every finding of this code.",
        "subject": "The thing judged, in a few words.",
        "observed": "What was seen, with its unit.",
        "expected": "What was expected, with its unit.",
        "why": "The evidence, in one line.",
        "remedy": "What to do; empty when there is nothing to do.",
        "source": "Where the evidence came from: a URL, a file, an object.",
    }
    verdict = {"enum": [verdict.value for verdict in Verdict]}
    finding = {
        "type": "object",
        "required": ["code", "question", "verdict", *(name for name in texts if name != "question")],
        "properties": {
            "code": {"type": "string", "pattern": "^WG[0-9]{3}$", "description": "See docs/codes.md."},
            "verdict": verdict | {"description": "`not_applicable` is shown and never counted as a pass."},
            **{name: {"type": "string", "description": text} for name, text in texts.items()},
        },
    }
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A report of warmgate",
        "type": "object",
        "required": ["schema", "title", "verdict", "exit_code", "findings"],
        "properties": {
            "schema": {"const": SCHEMA},
            "title": {"type": "string"},
            "verdict": {"enum": [verdict.value for verdict in Verdict if verdict is not Verdict.NOT_APPLICABLE]},
            "exit_code": {"enum": sorted(set(EXIT_CODES.values())), "description": "0 pass, 1 fail, 3 unknown."},
            "findings": {"type": "array", "items": finding},
        },
    }
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(json_schema())
