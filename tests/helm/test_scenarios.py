"""Every supported scenario renders to objects that an API server takes, and the defaults need no optional CRD."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
from helm_python import Chart, lint

from tests.helm.scenarios import CHART, SCENARIOS, only, render, scenario, texts

VERSION = "1.36.0"
CUSTOM = ("serving.kserve.io/", "monitoring.coreos.com/", "keda.sh/")
EVERYTHING: dict[str, Any] = {
    "pod": {
        "labels": {"team": "llm"},
        "annotations": {"example.com/note": "seen"},
        "nodeSelector": {"topology.kubernetes.io/zone": "a"},
        "tolerations": [{"key": "pool", "operator": "Equal", "value": "llm", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {}},
        "runtimeClassName": "nvidia",
        "cacheSizeLimit": "20Gi",
    },
    "priorityClass": {"create": True},
    "resourceQuota": {"enabled": True, "gpus": 8, "hard": {"pods": "20"}},
    "limitRange": {"enabled": True},
    "serviceAccount": {"annotations": {"example.com/role": "reader"}},
    "networkPolicy": {"clientNamespaces": ["apps"], "modelStore": [{"cidr": "10.0.0.0/8", "ports": [443]}]},
    "model": {"apiKey": {"secretName": "key"}, "env": {"HF_HUB_OFFLINE": 1}, "gpuMemoryUtilization": 0.9},
    "lint": {"allow": {"WG399": "an example"}},
}


def values_of(name: str) -> dict[str, Any]:
    return EVERYTHING if name == "everything" else {} if name == "defaults" else scenario(name)


ALL = pytest.mark.parametrize("name", [*SCENARIOS, "defaults", "everything"])


def test_the_scenarios_are_those_that_the_readme_lists() -> None:
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    assert {line.split("`")[1] for line in readme.splitlines() if "-values.yaml` |" in line} == {
        f"{name}-values.yaml" for name in SCENARIOS
    }


def test_core_objects_are_valid_for_kubernetes_with_everything_on() -> None:
    """Those of each scenario are checked together with the kustomizations' objects."""
    objects = render(EVERYTHING)
    core = [each for each in objects if not each["apiVersion"].startswith(CUSTOM)]
    assert core
    for each in core:
        kubernetes_validate.validate(each, VERSION, strict=True)


@ALL
def test_helm_lint_has_nothing_to_say(name: str) -> None:
    report = lint(CHART, values_of(name), strict=True, namespace="llm")
    assert report["errors"] == []
    assert [each for each in report["messages"] if each["severity"] > 1] == []


@ALL
def test_no_two_objects_have_one_name_and_namespaced_ones_say_where(name: str) -> None:
    objects = render(values_of(name))
    names = [(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(names) == len(set(names))
    cluster_wide = {"PriorityClass", "LocalModelCache"}
    assert {each["metadata"].get("namespace") for each in objects if each["kind"] not in cluster_wide} == {"llm"}


def test_a_million_is_written_out() -> None:
    """Helm reads numbers as floats, and templates write large ones as 1e+06: no integer for Kubernetes or vLLM."""
    million = 1_000_000.0
    values = {
        "model": {"env": {"VLLM_EXAMPLE": million, "VLLM_SHARE": 0.5}, "maxModelLen": million},
        "endpoint": {"drainSeconds": million, "timeoutSeconds": million, "loadSeconds": million},
        "loadtest": {"enabled": True, "keepSeconds": million, "deadlineSeconds": million},
        "verify": {"gpuFreeMib": million, "samples": million, "ttftMs": million},
        "monitoring": {"rules": {"enabled": True}},
    }
    for path, text in texts(values).items():
        assert "e+0" not in text, path
    (container,) = only(render(values), "ServingRuntime")["spec"]["containers"]
    assert {"name": "VLLM_EXAMPLE", "value": "1000000"} in container["env"]
    assert {"name": "VLLM_SHARE", "value": "0.5"} in container["env"]


def test_the_defaults_need_only_kubernetes_and_kserve() -> None:
    kinds = {(each["apiVersion"], each["kind"]) for each in render({})}
    assert {kind for kind in kinds if "." in kind[0].split("/")[0]} == {
        ("networking.k8s.io/v1", "NetworkPolicy"),
        ("serving.kserve.io/v1alpha1", "ServingRuntime"),
        ("serving.kserve.io/v1beta1", "InferenceService"),
    }


def test_without_kserve_nothing_of_kserve_is_rendered() -> None:
    objects = render(scenario("no-kserve"))
    assert not [each for each in objects if "kserve" in each["apiVersion"]]
    assert only(objects, "Deployment")["metadata"]["name"] == only(objects, "Service")["metadata"]["name"] == "qwen"


def test_a_packaged_chart_renders_the_same(tmp_path: Any) -> None:
    """.helmignore keeps nothing out that a template reads."""
    archive = Chart.load(CHART).save(tmp_path)
    assert Chart.load(archive).render({}, name="qwen", namespace="llm") == Chart.load(CHART).render(
        {}, name="qwen", namespace="llm"
    )
