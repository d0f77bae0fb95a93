from __future__ import annotations

from typing import Any

import pytest

from serving.judge.lint import ALLOW, judge_manifests, silenced
from serving.verdict import Finding, Report, Verdict
from tests.judge.lint.asked import deployment
from tests.judge.lint.mutate import base, bundle


def judged(annotation: str | None, **container: Any) -> Report:
    """The good Deployment under `latest` and what stands around it, with an allowance on the Deployment."""
    changed = deployment({"image": "registry.example.com/warmgate:latest", **container})
    if annotation is not None:
        changed["metadata"]["annotations"][ALLOW] = annotation
    others = [one for one in base("deployment") if one["kind"] != "Deployment"]
    return judge_manifests(bundle([changed, *others]), "test")


def of(report: Report, code: str) -> list[Finding]:
    return [each for each in report.findings if each.code.id == code]


def test_what_nobody_allowed_fails():
    report = judged(None)
    assert [each.verdict for each in of(report, "WG381")] == [Verdict.FAIL]
    assert report.verdict is Verdict.FAIL


def test_what_is_allowed_is_shown_with_its_reason_and_not_counted():
    report = judged("WG381: this registry never overwrites a tag")
    (finding,) = of(report, "WG381")
    assert finding.verdict is Verdict.NOT_APPLICABLE
    assert finding.observed == "registry.example.com/warmgate:latest: a tag that moves"
    assert "this registry never overwrites a tag" in finding.expected
    assert report.verdict is Verdict.PASS
    assert [each.verdict for each in of(report, "WG398")] == [Verdict.PASS]


def test_an_allowance_silences_its_rule_alone():
    report = judged("WG381: pinned by admission", terminationMessagePolicy="FallbackToLogsOnError")
    assert [each.verdict for each in of(report, "WG383")] == [Verdict.FAIL]
    assert report.verdict is Verdict.FAIL


def test_an_allowance_silences_its_own_object_alone():
    documents = [_named("one", "WG381: pinned by admission"), _named("two", None)]
    report = judge_manifests(bundle(documents), "test")
    assert [(each.subject, each.verdict) for each in of(report, "WG381")] == [
        ("Deployment/llm/one (engine)", Verdict.NOT_APPLICABLE),
        ("Deployment/llm/two (engine)", Verdict.FAIL),
    ]


def test_what_cannot_be_told_may_be_allowed_too():
    changed = deployment(automountServiceAccountToken=None)
    assert [each.verdict for each in of(judge_manifests(bundle([changed]), "test"), "WG386")] == [Verdict.UNKNOWN]
    changed["metadata"]["annotations"][ALLOW] = "WG386: the account is made by another team, and says no"
    assert [each.verdict for each in of(judge_manifests(bundle([changed]), "test"), "WG386")] == [
        Verdict.NOT_APPLICABLE
    ]


@pytest.mark.parametrize(
    ("annotation", "reasons", "problems"),
    [
        pytest.param("WG381: why; WG383: why too", {"WG381": "why", "WG383": "why too"}, [], id="two"),
        pytest.param(" WG381 :why ;", {"WG381": "why"}, [], id="spaces, and a semicolon at the end"),
        pytest.param("WG381: a: b, c", {"WG381": "a: b, c"}, [], id="a colon in the reason"),
        pytest.param("WG381", {"WG381": ""}, ["WG381 without a reason"], id="no reason"),
        pytest.param("WG381:", {"WG381": ""}, ["WG381 without a reason"], id="a colon and no reason"),
        pytest.param("WG300: why", {"WG300": "why"}, ["WG300 is no rule"], id="no such rule"),
        pytest.param("WG101: why", {}, ["'WG101: why' is not a code, a colon and a reason"], id="no rule of lint"),
        pytest.param("wg381: why", {}, ["'wg381: why' is not a code, a colon and a reason"], id="small letters"),
        pytest.param(
            "WG381, WG383: why", {}, ["'WG381, WG383: why' is not a code, a colon and a reason"], id="a comma"
        ),
        pytest.param("", {}, ["'' is not a code, a colon and a reason"], id="nothing"),
    ],
)
def test_an_allowance_is_a_code_and_a_reason(annotation: str, reasons: dict[str, str], problems: list[str]):
    changed = _named("one", annotation)
    assert silenced(bundle([changed]).documents[0]) == reasons
    found = of(judge_manifests(bundle([changed]), "test"), "WG398")
    assert [each.observed for each in found if each.verdict is Verdict.FAIL] == problems


def test_an_allowance_that_nothing_needs_is_shown_and_not_counted():
    report = judged("WG381: pinned by admission; WG383: logs stay in the cluster")
    (note,) = [each for each in of(report, "WG398") if each.verdict is Verdict.NOT_APPLICABLE]
    assert note.observed == "WG383 is allowed here, and does not trip"
    assert report.verdict is Verdict.PASS


def test_an_allowance_in_the_pod_template_is_not_read_and_says_so():
    changed = deployment({"image": "registry.example.com/warmgate:latest"})
    changed["spec"]["template"]["metadata"]["annotations"] = {ALLOW: "WG381: pinned by admission"}
    report = judge_manifests(bundle([changed]), "test")
    assert [each.verdict for each in of(report, "WG381")] == [Verdict.FAIL]
    assert [each.verdict for each in of(report, "WG398")] == [Verdict.FAIL]


def _named(name: str, annotation: str | None) -> dict[str, Any]:
    changed = deployment({"image": "registry.example.com/warmgate:latest"})
    changed["metadata"]["name"] = name
    if annotation is not None:
        changed["metadata"]["annotations"][ALLOW] = annotation
    return changed
