"""How findings are put together: of one bundle, and of bundles that are alternatives."""

from __future__ import annotations

from serving.facts.kube.manifests import Bundle
from serving.judge.lint import judge_alternatives
from serving.verdict import Verdict
from tests.judge.lint.mutate import base, bundle, changed

LINKS = {"in": "Deployment/qwen", "set": "spec.template.spec.enableServiceLinks", "to": True}


def test_what_alternatives_share_is_told_once() -> None:
    shared = bundle(changed(base("deployment"), [LINKS])).documents
    own = [bundle([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "same"}}]) for _ in range(2)]
    report = judge_alternatives([Bundle((*shared, *each.documents)) for each in own], "test")
    assert [each.code.id for each in report.findings if each.verdict is not Verdict.PASS] == ["WG380"]
    unique = next(each for each in report.findings if each.code.id == "WG396")
    assert unique.subject == f"{len(shared) + 2} objects"


def test_a_fault_of_one_alternative_is_no_pass_of_the_other() -> None:
    good, bad = (bundle(changed(base("deployment"), changes)) for changes in ([], [LINKS]))
    report = judge_alternatives([good, bad], "test")
    assert [each.verdict for each in report.findings if each.code.id == "WG380"] == [Verdict.FAIL]
    assert report.exit_code == 1
