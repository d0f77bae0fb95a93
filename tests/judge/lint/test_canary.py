from __future__ import annotations

import copy
from typing import Any

import pytest

from serving.judge.lint import judge_manifests
from serving.verdict import Finding, Verdict
from tests.judge.lint.mutate import base, bundle, changed

CODES = ["WG360", "WG361", "WG362", "WG363", "WG364", "WG365"]
HERE = "InferenceService/qwen"


def found(code: str, *changes: dict[str, Any], live: list[dict[str, Any]] | None = None) -> list[Finding]:
    report = judge_manifests(bundle(changed(base("canary"), list(changes)), live), "test")
    return [each for each in report.findings if each.code.id == code]


def to(path: str, value: Any) -> dict[str, Any]:
    return {"in": HERE, "set": path, "to": value}


def faults(code: str, *changes: dict[str, Any]) -> list[str]:
    return [each.observed for each in found(code, *changes) if each.verdict is Verdict.FAIL]


FIRST = "spec.canary[0]"


@pytest.mark.parametrize("code", CODES)
def test_without_a_canary_no_rule_of_canaries_has_anything_to_say(code: str):
    without = changed(base("canary"), [{"in": HERE, "remove": "spec.canary"}])
    assert [each for each in judge_manifests(bundle(without), "test").findings if each.code.id == code] == []


@pytest.mark.parametrize(
    ("code", "change"),
    [
        pytest.param("WG360", to(f"{FIRST}.predictor.model.storageUri", "pvc://models/qwen3-0.6b/r1/"), id="slash"),
        pytest.param("WG361", to(f"{FIRST}.predictor.name", "r2-b"), id="dashes-in-a-name"),
        pytest.param("WG361", to(f"{FIRST}.trafficPercent", 0), id="no-traffic-yet"),
        pytest.param(
            "WG361", to('metadata.annotations["serving.kserve.io/deploymentMode"]', "RawDeployment"), id="renamed-mode"
        ),
        pytest.param("WG361", to(f"{FIRST}.trafficPercent", 100), id="all-traffic"),
        pytest.param("WG361", to(f"{FIRST}.predictor.maxReplicas", 0), id="zero-is-not-set"),
        pytest.param("WG362", to(f"{FIRST}.predictor.minReplicas", 2), id="as-many-as-stable"),
        pytest.param("WG363", to('metadata.annotations["serving.kserve.io/autoscalerClass"]', "hpa"), id="hpa"),
        pytest.param(
            "WG363", to('metadata.annotations["serving.kserve.io/autoscalerClass"]', "external"), id="external"
        ),
        pytest.param("WG365", to(f"{FIRST}.predictor.model.command", ["warmgate", "serve", "--"]), id="more-in-canary"),
        pytest.param("WG365", {"in": HERE, "set": f"{FIRST}.predictor.hostNetwork", "to": False}, id="false-as-stable"),
    ],
)
def test_what_kserve_takes_holds(code: str, change: dict[str, Any]):
    assert faults(code, change) == []
    assert found(code, change)


def test_replicas_follow_the_share_where_they_are_not_stated():
    assert faults("WG362", {"in": HERE, "remove": f"{FIRST}.predictor.minReplicas"}) == []


@pytest.mark.parametrize(
    ("shares", "observed"),
    [
        pytest.param([60, 40], [], id="one-hundred"),
        pytest.param([60, 41], ["60 + 41 = 101"], id="one-more"),
    ],
)
def test_shares_may_sum_up_to_one_hundred(shares: list[int], observed: list[str]):
    (isvc,) = [one for one in base("canary") if one["kind"] == "InferenceService"]
    second = copy.deepcopy(isvc["spec"]["canary"][0])
    second["predictor"] |= {"name": "r3"}
    second["predictor"]["model"]["storageUri"] = "pvc://models/qwen3-0.6b/r3"
    second["trafficPercent"] = shares[1]
    assert faults("WG361", to(f"{FIRST}.trafficPercent", shares[0]), to("spec.canary[+]", second)) == observed


@pytest.mark.parametrize(
    ("predictor", "observed"),
    [
        pytest.param({"name": "r2"}, "neither model nor containers", id="no-implementation"),
        pytest.param(
            {"name": "r2", "model": {"name": "kserve-container"}, "containers": [{"name": "kserve-container"}]},
            "2 implementations (model, containers)",
            id="two-implementations",
        ),
        pytest.param(
            {
                "name": "r2",
                "containers": [{"name": "kserve-container", "env": [{"name": "STORAGE_URI", "value": "x"}]}],
            },
            "containers over stable's model: both remain",
            id="another-implementation",
        ),
        pytest.param({"name": "r1", "model": {"name": "kserve-container"}}, "name r1, stable's", id="stable's-name"),
        pytest.param({"name": "2r", "model": {"name": "kserve-container"}}, "name '2r'", id="digit-first"),
        pytest.param({"name": "r-", "model": {"name": "kserve-container"}}, "name 'r-'", id="dash-last"),
    ],
)
def test_what_the_webhook_rejects_is_said(predictor: dict[str, Any], observed: str):
    assert observed in faults("WG361", to(f"{FIRST}.predictor", {"minReplicas": 1, **predictor}))


CACHE = {
    "kind": "LocalModelCache",
    "apiVersion": "serving.kserve.io/v1alpha1",
    "metadata": {"name": "qwen"},
    "spec": {"sourceModelUri": "pvc://models/qwen3-0.6b"},
}
DISABLED = to('metadata.annotations["serving.kserve.io/disable-localmodel"]', "true")


@pytest.mark.parametrize(
    ("uri", "changes", "verdict"),
    [
        pytest.param("pvc://models/qwen3-0.6b", [], Verdict.FAIL, id="a-folder-above"),
        pytest.param("pvc://models/qwen3-0.6b/r1", [], Verdict.FAIL, id="the-same"),
        pytest.param("pvc://models/qwen3", [], Verdict.PASS, id="the-same-beginning-only"),
        pytest.param("hf://other/model", [], Verdict.PASS, id="another"),
        pytest.param("pvc://models/qwen3-0.6b", [DISABLED], Verdict.PASS, id="opted-out"),
    ],
)
def test_a_cache_counts_where_it_matches_stable(uri: str, changes: list[dict[str, Any]], verdict: Verdict):
    live = [{**CACHE, "spec": {"sourceModelUri": uri}}]
    assert {each.verdict for each in found("WG364", *changes, live=live)} == {verdict}


def test_members_that_do_not_override_are_named():
    changes = [to("spec.predictor.hostNetwork", True), to(f"{FIRST}.predictor.hostNetwork", False)]
    assert faults("WG365", *changes) == ["hostNetwork: false, which does not override stable's"]
