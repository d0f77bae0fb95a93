"""SARIF: structure as the standard's schema has it, levels, suppressions, and no line that is not a file's."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from serving.codes import Code
from serving.judge.lint.rule import Rule, Severity
from serving.report.sarif import render_sarif
from serving.verdict import Finding, Report, Verdict

CODES = [Code("WG901", "Is it so?", "It is so."), Code("WG902", "Is it good?", "It is good.")]
RULES = [
    Rule(CODES[0], Severity.ERROR, "It breaks.", lambda bundle: iter(())),
    Rule(CODES[1], Severity.WARNING, "It costs.", lambda bundle: iter(())),
]


def closed(required: list[str], **members: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": members, "additionalProperties": False}


TEXT = closed(["text"], text={"type": "string", "minLength": 1})
LEVEL = {"enum": ["none", "note", "warning", "error"]}
# What SARIF 2.1.0 (section 3) says of the members that are written here, and no other members.
ESSENTIALS = closed(
    ["version", "runs"],
    version={"const": "2.1.0"},
    **{"$schema": {"type": "string", "format": "uri"}},
    runs={
        "type": "array",
        "items": closed(
            ["tool"],
            columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
            invocations={
                "type": "array",
                "items": closed(
                    ["executionSuccessful"], executionSuccessful={"type": "boolean"}, exitCode={"type": "integer"}
                ),
            },
            tool=closed(
                ["driver"],
                driver=closed(
                    ["name"],
                    name={"type": "string"},
                    version={"type": "string"},
                    informationUri={"type": "string", "pattern": "^https://"},
                    rules={
                        "type": "array",
                        "uniqueItems": True,
                        "items": closed(
                            ["id"],
                            id={"type": "string"},
                            shortDescription=TEXT,
                            fullDescription=TEXT,
                            help=TEXT,
                            defaultConfiguration=closed([], level=LEVEL),
                        ),
                    },
                ),
            ),
            results={
                "type": "array",
                "items": closed(
                    ["message"],
                    ruleId={"type": "string"},
                    ruleIndex={"type": "integer", "minimum": 0},
                    kind={"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]},
                    level=LEVEL,
                    message=TEXT,
                    partialFingerprints={"type": "object", "additionalProperties": {"type": "string"}},
                    suppressions={
                        "type": "array",
                        "items": closed(
                            ["kind"], kind={"enum": ["inSource", "external"]}, justification={"type": "string"}
                        ),
                    },
                    locations={
                        "type": "array",
                        "items": closed(
                            [],
                            logicalLocations={
                                "type": "array",
                                "items": closed([], fullyQualifiedName={"type": "string"}, kind={"type": "string"}),
                            },
                            physicalLocation=closed(
                                ["artifactLocation"],
                                artifactLocation=closed(["uri"], uri={"type": "string", "pattern": r"^[^ \\]+$"}),
                                region=closed(["startLine"], startLine={"type": "integer", "minimum": 1}),
                            ),
                        ),
                    },
                ),
            },
        ),
    },
)


def finding(code: Code, verdict: Verdict, source: str = "a.yaml:3 spec.x") -> Finding:
    return Finding(code, verdict, "Pod/a", "one", "two", "It breaks.", "make it two", source)


def rendered(*findings: Finding, lines_of: tuple[str, ...] = ()) -> dict[str, Any]:
    text = render_sarif(Report("lint", findings), RULES, lines_of)
    document: dict[str, Any] = json.loads(text)
    jsonschema.validate(document, ESSENTIALS)
    assert text.endswith("}\n")
    run: dict[str, Any] = document["runs"][0]
    return run


def test_every_rule_is_described_whether_it_was_broken_or_not() -> None:
    rules = rendered()["tool"]["driver"]["rules"]
    assert [(rule["id"], rule["defaultConfiguration"]["level"]) for rule in rules] == [
        ("WG901", "error"),
        ("WG902", "warning"),
    ]
    assert rules[0]["help"]["text"] == "It breaks."


def test_each_verdict_has_its_form() -> None:
    run = rendered(
        finding(CODES[0], Verdict.FAIL),
        finding(CODES[1], Verdict.FAIL),
        finding(CODES[0], Verdict.UNKNOWN),
        finding(CODES[0], Verdict.NOT_APPLICABLE),
        finding(CODES[0], Verdict.PASS),
    )
    results = run["results"]
    assert [(each["ruleIndex"], each["level"], each.get("kind", "fail")) for each in results] == [
        (0, "error", "fail"),
        (1, "warning", "fail"),
        (0, "none", "open"),
        (0, "error", "fail"),
    ]
    assert [each.get("suppressions") for each in results] == [
        None,
        None,
        None,
        [{"kind": "inSource", "justification": "two"}],
    ]
    assert run["invocations"][0]["exitCode"] == 1
    assert results[0]["message"]["text"] == "Pod/a: one, expected two. It breaks. Remedy: make it two"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("a.yaml:3 spec.x", {"artifactLocation": {"uri": "a.yaml"}, "region": {"startLine": 3}}, id="file"),
        pytest.param("a.yaml:3", {"artifactLocation": {"uri": "a.yaml"}, "region": {"startLine": 3}}, id="no-path"),
        pytest.param(
            "a b/é:c.yaml:3 x",
            {"artifactLocation": {"uri": "a%20b/%C3%A9%3Ac.yaml"}, "region": {"startLine": 3}},
            id="odd-name",
        ),
        pytest.param(
            "chart/templates/x.yaml:7 spec", {"artifactLocation": {"uri": "chart/templates/x.yaml"}}, id="rendered"
        ),
        pytest.param("stdin:4 spec", None, id="stdin"),
        pytest.param("cluster spec", None, id="cluster"),
        pytest.param("", None, id="nowhere"),
    ],
)
def test_a_place_is_a_line_only_where_a_file_has_that_line(source: str, expected: Any) -> None:
    run = rendered(finding(CODES[0], Verdict.FAIL, source), lines_of=("chart/templates/x.yaml",))
    location = run["results"][0]["locations"][0]
    assert location.get("physicalLocation") == expected
    assert location["logicalLocations"] == [{"fullyQualifiedName": "Pod/a", "kind": "object"}]


def test_the_same_fault_keeps_its_fingerprint_when_lines_move() -> None:
    prints = [
        rendered(finding(CODES[0], Verdict.FAIL, source))["results"][0]["partialFingerprints"]
        for source in ("a.yaml:3 spec.x", "a.yaml:30 spec.x", "a.yaml:3 spec.y")
    ]
    assert prints[0] == prints[1] != prints[2]


def test_half_a_character_does_not_stop_the_report() -> None:
    odd = Finding(CODES[0], Verdict.FAIL, "Pod/\ud800", "a\nb", "c", "d", "", "")
    render_sarif(Report("lint", (odd,)), RULES).encode()
