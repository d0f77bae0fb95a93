from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from serving import codes
from serving.report.json import json_schema, render_json
from serving.verdict import Finding, Report, Verdict

COMMITTED = Path(__file__).parents[2] / "docs" / "report.schema.json"
FINDING = Finding(codes.LATENCY, Verdict.PASS, "TTFT", "p95 143 ms", "p95 ≤ 500 ms", "p50 98 ms", "", "http://h/v1")


def rendered(report: Report) -> Any:
    document = json.loads(render_json(report))
    jsonschema.validate(document, json.loads(COMMITTED.read_text()))
    return document


def test_the_committed_schema_is_up_to_date_and_a_schema():
    assert COMMITTED.read_text() == json_schema(), "run: python -m serving.report.json > docs/report.schema.json"
    jsonschema.Draft202012Validator.check_schema(json.loads(json_schema()))


def test_a_report_becomes_this_document():
    assert rendered(Report("verify m", (FINDING,))) == {
        "schema": "warmgate.report/v1",
        "title": "verify m",
        "verdict": "pass",
        "exit_code": 0,
        "findings": [
            {
                "code": "WG104",
                "question": "Is latency within target?",
                "verdict": "pass",
                "subject": "TTFT",
                "observed": "p95 143 ms",
                "expected": "p95 ≤ 500 ms",
                "why": "p50 98 ms",
                "remedy": "",
                "source": "http://h/v1",
            }
        ],
    }


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_fits_the_schema(verdict: Verdict):
    document = rendered(Report("t", (replace(FINDING, verdict=verdict),)))
    assert document["findings"][0]["verdict"] == verdict.value


def test_any_text_survives():
    nasty = 'quote " backslash \\ newline \n escape \x1b emoji 🇫🇷'
    assert rendered(Report("t", (replace(FINDING, why=nasty),)))["findings"][0]["why"] == nasty


def test_half_a_character_does_not_break_the_stream():
    text = render_json(Report("t", (replace(FINDING, why="half \ud800 of one"),)))
    assert json.loads(text.encode())["findings"][0]["why"] == "half ? of one"


MUTANTS = {
    "no-verdict": lambda document: document.pop("verdict"),
    "no-finding-code": lambda document: document["findings"][0].pop("code"),
    "unknown-verdict": lambda document: document.update(verdict="ok"),
    "not-applicable-as-a-whole": lambda document: document.update(verdict="not_applicable"),
    "other-schema": lambda document: document.update(schema="warmgate.report/v2"),
    "usage-exit-code": lambda document: document.update(exit_code=2),
    "number-for-text": lambda document: document["findings"][0].update(observed=143),
}


@pytest.mark.parametrize("mutate", [pytest.param(mutate, id=name) for name, mutate in MUTANTS.items()])
def test_the_schema_refuses_what_is_no_report(mutate: Any):
    document = rendered(Report("t", (FINDING,)))
    mutate(document)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json.loads(json_schema()))


def test_members_may_be_added_beside_the_named_ones():
    document = rendered(Report("t", (FINDING,))) | {"command": "verify"}
    jsonschema.validate(document, json.loads(json_schema()))
