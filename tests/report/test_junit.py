from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from serving import codes
from serving.report.junit import render_junit
from serving.verdict import Finding, Report, Verdict

PASSED = Finding(codes.SLO_MET, Verdict.PASS, "ttft p95", "143.0 ms", "<= 300 ms", "within the limit")
FAILED = Finding(codes.SLO_MET, Verdict.FAIL, "ttft p99", "412.0 ms", "<= 350 ms", "over the limit", "fewer requests")
DOUBTED = Finding(
    codes.HARNESS_ON_TIME, Verdict.UNKNOWN, "schedule_lag p99", "80 ms", "<= 50 ms", "late", "a free core"
)
SKIPPED = Finding(codes.GPU_MEMORY, Verdict.NOT_APPLICABLE, "GPU memory", "no GPU", "", "no driver")


def suite_of(*findings: Finding) -> ET.Element:
    text = render_junit(Report("load test", findings))
    assert text.startswith("<?xml version='1.0' encoding='utf-8'?>\n<testsuites>")
    (suite,) = ET.fromstring(text.encode())
    return suite


def test_a_report_is_one_testsuite_with_a_testcase_for_each_finding():
    suite = suite_of(PASSED, FAILED, DOUBTED, SKIPPED)
    assert suite.attrib == {"name": "load test", "tests": "4", "failures": "1", "errors": "1", "skipped": "1"}
    assert [(case.get("classname"), case.get("name"), [child.tag for child in case]) for case in suite] == [
        ("WG203", "ttft p95 <= 300 ms", ["system-out"]),
        ("WG203", "ttft p99 <= 350 ms", ["failure"]),
        ("WG202", "schedule_lag p99 <= 50 ms", ["error"]),
        ("WG106", "GPU memory", ["skipped"]),
    ]


def test_what_failed_says_what_was_seen_and_what_to_do():
    (case,) = suite_of(FAILED)
    failure = case[0]
    assert failure.get("message") == "412.0 ms, expected <= 350 ms: over the limit"
    assert failure.get("type") == "WG203"
    assert "fewer requests" in (failure.text or "")


@pytest.mark.parametrize("findings", [pytest.param((), id="empty"), pytest.param((SKIPPED,), id="nothing-applicable")])
def test_a_report_that_judged_nothing_is_no_green_build(findings: tuple[Finding, ...]):
    suite = suite_of(*findings)
    assert suite.get("errors") == "1"
    assert suite.findall("testcase/error")[0].get("message") == "nothing was judged, so nothing passed"


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.UNKNOWN])
def test_every_report_that_is_no_pass_has_a_failure_or_an_error(verdict: Verdict):
    suite = suite_of(PASSED, replace(FAILED, verdict=verdict))
    assert int(suite.get("failures", 0)) + int(suite.get("errors", 0)) == 1


def test_any_text_is_well_formed():
    nasty = "]]> <script> & \" ' \x00 \x1b[2J \ud800 \ufffe two\nlines 🇫🇷"
    (case,) = suite_of(replace(FAILED, subject=nasty, observed=nasty, why=nasty, remedy=nasty))
    assert "]]> <script> & \" '" in str(case.get("name"))
    assert "🇫🇷" in str(case[0].get("message"))
    assert "\x1b" not in str(case[0].text)
