"""Chart and kustomization tell one story: the same facts about the same endpoint, not the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest

from tests.helm.scenarios import over, render, scenario
from tests.manifests.kustomize import Object, build, endpoint_with, only
from tests.manifests.pods import Pods, pods

POOL = {"priorityClass": {"name": "warmgate-inference"}}  # the overlays of the pool have a quota for that class
SAME = {
    "single-gpu": ("overlays/gpu-pool", POOL),
    "canary": ("overlays/canary-rehearsal", POOL),
    "cpu-demo": ("overlays/dev-cpu", {}),
}


def chart(name: str, *patches: Mapping[str, Any]) -> list[Object]:
    """A supported scenario of the chart, without its tests."""
    objects = render(over(scenario(name), *patches))
    return [each for each in objects if "helm.sh/hook" not in each["metadata"].get("annotations", {})]


def facts(objects: list[Object]) -> dict[str, Any]:
    """What Kubernetes and KServe will do, whoever wrote it down and in which order."""
    service, account = only(objects, "InferenceService"), only(objects, "ServiceAccount")
    predictors = [service["spec"]["predictor"], *(each["predictor"] for each in service["spec"].get("canary", []))]
    told = {
        "endpoint": (service["metadata"]["namespace"], service["metadata"]["name"]),
        "annotations": service["metadata"]["annotations"],
        "strategy": service["spec"]["predictor"]["deploymentStrategy"],
        "timeout": service["spec"]["predictor"]["timeout"],
        "releases": [(each["name"], each["minReplicas"], each["model"]["storageUri"]) for each in predictors],
        "formats": [each["model"]["modelFormat"] for each in predictors],
        "traffic": [each["trafficPercent"] for each in service["spec"].get("canary", [])],
        "account": (account["metadata"]["name"], account["automountServiceAccountToken"]),
        "budget": only(objects, "PodDisruptionBudget")["spec"],
        "reach": _reach(only(objects, "NetworkPolicy")["spec"]),
    }
    for number, group in enumerate(pods(objects)):
        told |= {f"{key} of {number}": value for key, value in _of_pods(group).items()}
    return told


def _of_pods(group: Pods) -> dict[str, Any]:
    (container,), spec = group.containers, group.spec
    return {
        "deployment": group.owner,
        "image": (container["image"], container["imagePullPolicy"]),
        "args": sorted(container["args"]),
        "env": {each["name"]: each["value"] for each in container["env"]},
        "ports": container["ports"],
        "resources": container["resources"],
        "nodeSelector": spec.get("nodeSelector", {}),
        "tolerations": spec.get("tolerations", []),
        "spread": spec.get("topologySpreadConstraints"),
        "startupProbe": container["startupProbe"],
        "readinessProbe": container["readinessProbe"],
        "livenessProbe": container["livenessProbe"],
        "grace": spec["terminationGracePeriodSeconds"],
        "security": (spec["securityContext"], container["securityContext"]),
        "links": spec["enableServiceLinks"],
        "token": (spec["automountServiceAccountToken"], spec["serviceAccountName"]),
        "priority": spec.get("priorityClassName"),
        "volumes": {each["name"]: {k: v for k, v in each.items() if k != "name"} for each in spec["volumes"]},
        "mounts": {each["mountPath"]: each["name"] for each in container["volumeMounts"]},
    }


def _reach(policy: Object) -> dict[str, Any]:
    """Who gets to which port, and where to: selectors as sets of allowed values, however they are written."""
    rules: dict[str, Any] = {"selects": _selected(policy["podSelector"]), "types": sorted(policy["policyTypes"])}
    for direction, side in (("ingress", "from"), ("egress", "to")):
        rules[direction] = sorted(
            (str(_peer(peer)), port["port"], port["protocol"])
            for rule in policy[direction]
            for peer in rule[side]
            for port in rule["ports"]
        )
    return rules


def _peer(peer: Object) -> dict[str, Any]:
    return {kind: _selected(selector) for kind, selector in sorted(peer.items())}


def _selected(selector: Object) -> dict[str, list[str]]:
    found = {key: [value] for key, value in selector.get("matchLabels", {}).items()}
    for each in selector.get("matchExpressions", []):
        assert each["operator"] == "In"
        found[each["key"]] = sorted(each["values"])
    return dict(sorted(found.items()))


@pytest.mark.parametrize("scenario", SAME)
def test_chart_and_kustomization_state_the_same_facts(scenario: str):
    overlay, patch = SAME[scenario]
    assert facts(build(overlay)) == facts(chart(scenario, patch))


def test_a_mig_slice_is_asked_for_in_the_same_way():
    ours, theirs = facts(endpoint_with("gpu-mig")), facts(chart("mig", {"gpu": {"product": ""}}))
    for fact in ("resources of 0", "nodeSelector of 0", "tolerations of 0"):
        assert ours[fact] == theirs[fact]


def test_a_turn_on_a_gpu_is_asked_for_in_the_same_way():
    ours, theirs = facts(endpoint_with("gpu-time-slicing")), facts(chart("time-slicing-dev"))
    for fact in ("resources of 0", "nodeSelector of 0", "tolerations of 0", "releases"):
        assert ours[fact] == theirs[fact]
    share = "--gpu-memory-utilization=0.4"
    assert share in ours["args of 0"]
    assert share in theirs["args of 0"]
    assert ours["annotations"]["warmgate/class"] == theirs["annotations"]["warmgate/class"] == "development"


@pytest.mark.parametrize(
    ("values", "differ"),
    [
        pytest.param({"gpu": {"count": 2}}, {"resources", "args"}, id="GPUs"),
        pytest.param({"gpu": {"nodeSelector": {"pool": "a"}}}, {"nodeSelector"}, id="selector"),
        pytest.param({"gpu": {"tolerations": []}}, {"tolerations"}, id="toleration"),
        pytest.param({"gpu": {"poolSize": 16}}, {"annotations"}, id="pool"),
        pytest.param({"model": {"resources": {"limits": {"memory": "32Gi"}}}}, {"resources"}, id="memory"),
        pytest.param({"model": {"env": {"A": "b"}}}, {"env"}, id="env"),
        pytest.param({"model": {"storageUri": "pvc://models/x"}}, {"releases"}, id="weights"),
        pytest.param({"endpoint": {"replicas": 3}}, {"releases"}, id="replicas"),
        pytest.param({"endpoint": {"timeoutSeconds": 60}}, {"timeout"}, id="timeout"),
        pytest.param({"endpoint": {"loadSeconds": 200}}, {"annotations", "startupProbe", "env"}, id="load time"),
        pytest.param({"endpoint": {"lameDuckSeconds": 20}}, {"grace", "env"}, id="lame duck"),
        pytest.param({"endpoint": {"drainSeconds": 90}}, {"grace", "env"}, id="drain"),
        pytest.param({"endpoint": {"strategy": {"maxSurge": 2}}}, {"strategy"}, id="surge"),
        pytest.param({"podDisruptionBudget": {"maxUnavailable": 2}}, {"budget"}, id="budget"),
        pytest.param({"networkPolicy": {"gatewayNamespaces": ["other"]}}, {"reach"}, id="gateway"),
        pytest.param({"networkPolicy": {"clientNamespaces": ["other"]}}, {"reach"}, id="clients"),
        pytest.param({"priorityClass": {"name": "other"}}, {"priority"}, id="priority"),
        pytest.param({"image": {"tag": "0.0.9"}}, {"image"}, id="image"),
        pytest.param({"pod": {"sharedMemory": "1Gi"}}, {"volumes"}, id="shared memory"),
        pytest.param({"class": "development"}, {"annotations"}, id="class"),
    ],
)
def test_the_comparison_sees_a_chart_that_says_something_else(values: dict[str, Any], differ: set[str]):
    ours, theirs = facts(build("overlays/gpu-pool")), facts(chart("single-gpu", POOL, values))
    assert {
        key.removesuffix(" of 0") for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)
    } == differ


@pytest.mark.parametrize(
    ("fact", "path"),
    [
        ("readinessProbe of 0", ("containers", 0, "readinessProbe", "timeoutSeconds")),
        ("livenessProbe of 0", ("containers", 0, "livenessProbe", "failureThreshold")),
        ("ports of 0", ("containers", 0, "ports")),
        ("security of 0", ("containers", 0, "securityContext", "readOnlyRootFilesystem")),
    ],
)
def test_the_comparison_sees_a_kustomization_that_says_something_else(fact: str, path: tuple[str | int, ...]):
    changed = deepcopy(build("overlays/gpu-pool"))
    found: Any = only(changed, "ServingRuntime")["spec"]
    for step in path[:-1]:
        found = found[step]
    found[path[-1]] = None
    assert facts(changed)[fact] != facts(build("overlays/gpu-pool"))[fact]


def test_what_is_monitored_and_told_of_readiness_is_the_same():
    monitoring = {"monitoring": {"podMonitor": {"enabled": True}, "rules": {"enabled": True}}}
    theirs = chart("single-gpu", monitoring)
    ours = endpoint_with("monitoring", resources=["overlays/gpu-pool"])
    assert only(ours, "PodMonitor")["spec"] == only(theirs, "PodMonitor")["spec"]
    charts = {rule["alert"]: _rule(rule) for rule in _rules(theirs) if "alert" in rule}
    alerts = {rule["alert"]: _rule(rule) for rule in _rules(ours)}
    assert alerts == {name: charts[name] for name in alerts}
    (group,) = [each for each in only(theirs, "PrometheusRule")["spec"]["groups"] if each["name"].endswith("readiness")]
    assert sorted(alerts) == sorted(rule["alert"] for rule in group["rules"])


def _rules(objects: list[Object]) -> list[Object]:
    return [rule for group in only(objects, "PrometheusRule")["spec"]["groups"] for rule in group["rules"]]


def _rule(rule: Object) -> tuple[str, str | None, str]:
    words = "".join(rule["expr"].split())
    return words, rule.get("for"), rule["labels"]["severity"]
