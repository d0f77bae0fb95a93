"""Renders a lint report as SARIF 2.1.0, which code hosts and editors show beside the lines it speaks of.

What does not hold is a result of its rule's level, what cannot be told is `open`, what an annotation allows is a
suppressed result, and rules that held are left out. Formatting only, from nothing but the report and the rules.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Sequence
from typing import Any, Final
from urllib.parse import quote

from serving import __version__
from serving.judge.lint.rule import Rule
from serving.report.text import one_line
from serving.verdict import Finding, Report, Verdict

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
PLACE: Final = re.compile(r"(?P<file>.+?):(?P<line>\d+)(?: (?P<path>.*))?")
NO_FILE: Final = ("stdin",)


def render_sarif(report: Report, rules: Sequence[Rule], rendered: Collection[str] = ()) -> str:
    """The report as text with a newline at its end. Lines in `rendered` sources are not those of a file: left out."""
    severities = {rule.code.id: rule.severity.value for rule in rules}
    order = {rule.code.id: number for number, rule in enumerate(rules)}
    results = []
    for finding in report.findings:
        if finding.verdict is Verdict.PASS:
            continue
        known = {"ruleIndex": order[finding.code.id]} if finding.code.id in order else {}
        results.append({"ruleId": finding.code.id, **known, **_result(finding, severities, rendered)})
    driver = {
        "name": "warmgate",
        "version": __version__,
        "informationUri": "https://pypi.org/project/warmgate/",
        "rules": [_rule(rule) for rule in rules],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True, "exitCode": report.exit_code}],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    text = json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "replace").decode()


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code.id,
        "shortDescription": {"text": rule.code.question},
        "fullDescription": {"text": rule.code.pass_means},
        "help": {"text": rule.reason},
        "defaultConfiguration": {"level": rule.severity.value},
    }


def _result(finding: Finding, severities: dict[str, str], rendered: Collection[str]) -> dict[str, Any]:
    said = f"{finding.subject}: {finding.observed}, expected {finding.expected}. {finding.why}"
    if finding.remedy:
        said += f" Remedy: {finding.remedy}"
    place = PLACE.fullmatch(finding.source)
    path = place["path"] if place is not None else None
    found: dict[str, Any] = {
        "level": severities.get(finding.code.id, "error"),
        "message": {"text": one_line(said)},
        "locations": [_location(finding, place, rendered)],
        "partialFingerprints": {"warmgate/v1": f"{finding.code.id} {finding.subject} {path or ''}".rstrip()},
    }
    if finding.verdict is Verdict.UNKNOWN:
        return {**found, "kind": "open", "level": "none"}
    if finding.verdict is Verdict.NOT_APPLICABLE:
        return {**found, "suppressions": [{"kind": "inSource", "justification": one_line(finding.expected)}]}
    return found


def _location(finding: Finding, place: re.Match[str] | None, rendered: Collection[str]) -> dict[str, Any]:
    location: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": finding.subject, "kind": "object"}]}
    if place is None or place["file"] in NO_FILE:
        return location
    physical: dict[str, Any] = {"artifactLocation": {"uri": quote(os.fsencode(place["file"]))}}
    if place["file"] not in rendered:
        physical["region"] = {"startLine": int(place["line"])}
    return {"physicalLocation": physical, **location}
