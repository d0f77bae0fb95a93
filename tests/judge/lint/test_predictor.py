from __future__ import annotations

from typing import Any

import pytest

from serving.verdict import Verdict
from tests.judge.lint.asked import asked, deployment, said
from tests.judge.lint.mutate import base, changed

MODE = 'metadata.annotations["serving.kserve.io/deploymentMode"]'
CLASS = 'metadata.annotations["serving.kserve.io/autoscalerClass"]'
SKLEARN = {
    "kind": "InferenceService",
    "apiVersion": "serving.kserve.io/v1beta1",
    "metadata": {"name": "iris"},
    "spec": {"predictor": {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "gs://iris"}}},
}


def kserve(*changes: dict[str, Any], name: str = "kserve") -> list[dict[str, Any]]:
    return changed(base(name), [{"in": "InferenceService/qwen", **change} for change in changes])


@pytest.mark.parametrize("code", ["WG371", "WG372", "WG373", "WG374"])
def test_a_classical_model_is_left_alone(code: str):
    assert not asked(code, SKLEARN)


@pytest.mark.parametrize("code", ["WG371", "WG372", "WG374"])
def test_a_model_whose_runtime_nobody_told_is_looked_at(code: str):
    unseen = {**SKLEARN, "spec": {"predictor": {"model": {"modelFormat": {"name": "vLLM"}}}}}
    assert said(code, unseen)


@pytest.mark.parametrize(
    ("change", "observed"),
    [
        pytest.param({"remove": MODE}, "no deploymentMode: the cluster's default, Knative as shipped", id="none"),
        pytest.param(
            {"set": MODE, "to": "RawDeployment"}, "deploymentMode RawDeployment, the old name of Standard", id="raw"
        ),
        pytest.param(
            {"set": MODE, "to": "Serverless"}, "deploymentMode Serverless, the old name of Knative", id="serverless"
        ),
        pytest.param(
            {"set": MODE, "to": "Knative"},
            "deploymentMode Knative, which allows one port and no probe of another",
            id="knative",
        ),
        pytest.param({"remove": CLASS}, "no autoscalerClass: an HPA on CPU", id="no-class"),
        pytest.param({"set": CLASS, "to": "kpa"}, "autoscalerClass kpa, which is rejected", id="kpa"),
    ],
)
def test_mode_and_autoscaler_are_told_apart(change: dict[str, Any], observed: str):
    assert [each.observed for each in said("WG371", *kserve(change))] == [observed]


@pytest.mark.parametrize("name", ["hpa", "keda", "none", "external"])
def test_every_class_that_kserve_has_is_one(name: str):
    assert said("WG371", *kserve({"set": CLASS, "to": name})) == []


@pytest.mark.parametrize("seconds", [300, 3600])
def test_a_long_timeout_holds(seconds: int):
    assert said("WG372", *kserve({"set": "spec.predictor.timeout", "to": seconds})) == []


@pytest.mark.parametrize(
    ("resources", "missing"),
    [
        pytest.param({"limits": {"cpu": "8", "memory": "24Gi"}}, "", id="requests-are-the-limits"),
        pytest.param({"requests": {"cpu": "8"}, "limits": {"memory": "24Gi"}}, "", id="no-cpu-limit-by-choice"),
        pytest.param({"requests": {"cpu": "8", "memory": "24Gi"}}, "no memory limit", id="no-memory-limit"),
        pytest.param({"limits": {"memory": "24Gi"}}, "no cpu request", id="no-cpu"),
        pytest.param({}, "no cpu request, no memory request, no memory limit", id="nothing"),
    ],
)
def test_a_deployment_states_what_nobody_fills_in(resources: dict[str, Any], missing: str):
    found = said("WG373", deployment({"resources": resources}))
    assert [each.observed for each in found] == ([missing] if missing else [])


def test_a_custom_container_states_all_four():
    resources = {"limits": {"memory": "24Gi"}}
    change = {"set": "spec.predictor.containers[0].resources", "to": resources}
    (found,) = said("WG373", *kserve(change, name="custom"))
    assert found.observed == "no cpu request, no cpu limit, no memory request"


@pytest.mark.parametrize(
    ("strategy", "observed"),
    [
        pytest.param({"type": "Recreate"}, [], id="recreate"),
        pytest.param({"rollingUpdate": {"maxSurge": "25%"}}, [], id="percentage"),
        pytest.param({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}, [], id="no-surge"),
        pytest.param({"rollingUpdate": {"maxSurge": "1"}}, ['maxSurge: "1"'], id="quoted"),
        pytest.param({"rollingUpdate": {"maxUnavailable": -1}}, ["maxUnavailable: -1"], id="negative"),
        pytest.param({"rollingUpdate": {"maxSurge": True}}, ["maxSurge: true"], id="boolean"),
        pytest.param({"type": "OnDelete"}, ["type OnDelete"], id="a-DaemonSet's"),
        pytest.param(
            {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}, ["rollingUpdate with Recreate"], id="both"
        ),
    ],
)
def test_strategies_have_the_form_that_the_api_takes(strategy: dict[str, Any], observed: list[str]):
    documents = kserve({"set": "spec.predictor.deploymentStrategy", "to": strategy})
    assert [each.observed for each in said("WG376", *documents)] == observed


@pytest.mark.parametrize(
    ("key", "value", "moves"),
    [
        pytest.param("app.kubernetes.io/managed-by", "Helm", False, id="managed-by"),
        pytest.param("meta.helm.sh/release-name", "qwen", False, id="release-name"),
        pytest.param("argocd.argoproj.io/tracking-id", "app:serving/x", False, id="tracking"),
        pytest.param("example.com/shared", "true", False, id="sha-within-a-word"),
        pytest.param("kubectl.kubernetes.io/restartedAt", "x", True, id="restarted-at"),
        pytest.param("example.com/git-commit", "abc", True, id="commit"),
        pytest.param("example.com/note", "2026-11-23T10:00:00Z", True, id="a-time"),
        pytest.param("example.com/note", "a" * 64, True, id="a-sum"),
    ],
)
def test_only_metadata_that_moves_is_named(key: str, value: str, moves: bool):
    documents = kserve({"set": f'metadata.annotations["{key}"]', "to": value})
    assert bool(said("WG366", *documents)) is moves


def test_metadata_of_a_runtime_itself_reaches_no_pod():
    documents = base("kserve")
    (runtime,) = [one for one in documents if one["kind"] == "ServingRuntime"]
    runtime["metadata"]["labels"] = {"helm.sh/chart": "warmgate-0.1.0"}
    assert said("WG366", *documents) == []


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param({"serving.kserve.io/inferenceservice": "qwen"}, id="one-of-both"),
        pytest.param({"serving.kserve.io/inferenceservice": "qwen", "component": "metrics"}, id="another-component"),
    ],
)
def test_kserve_deletes_only_what_has_both_labels(labels: dict[str, str]):
    def service(labels: dict[str, str]) -> dict[str, Any]:
        return {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "a", "labels": labels}, "spec": {}}

    assert said("WG368", service(labels)) == []
    assert said("WG368", service({"component": "predictor", "serving.kserve.io/inferenceservice": "qwen"}))


@pytest.mark.parametrize(
    ("containers", "observed"),
    [
        pytest.param(["engine"], [], id="one-is-renamed-by-kserve"),
        pytest.param(["kserve-container", "proxy"], [], id="first"),
        pytest.param(["", "proxy"], [], id="the-first-gets-the-name"),
        pytest.param(["proxy", "kserve-container"], ["proxy, kserve-container"], id="second"),
        pytest.param(["engine", "proxy"], ["engine, proxy"], id="nowhere"),
    ],
)
def test_where_the_serving_container_stands(containers: list[str], observed: list[str]):
    written = [{"name": name} for name in containers]
    documents = kserve({"set": "spec.predictor.containers", "to": written}, name="custom")
    assert [each.observed for each in said("WG370", *documents)] == observed


def test_a_sidecar_of_runtime_and_predictor_under_one_name_is_no_pod():
    documents = kserve({"set": "spec.predictor.containers", "to": [{"name": "proxy"}]})
    assert said("WG370", *documents) == []
    (runtime,) = [one for one in documents if one["kind"] == "ServingRuntime"]
    runtime["spec"]["containers"].append({"name": "proxy"})
    assert [each.observed for each in said("WG370", *documents)] == ["2 containers named proxy"]


@pytest.mark.parametrize(
    ("runtime", "observed"),
    [
        pytest.param({"containers": [{"name": "proxy"}, {"name": "kserve-container"}]}, [], id="anywhere"),
        pytest.param({"containers": [{"name": "engine"}]}, ["containers engine"], id="another-name"),
        pytest.param({"multiModel": True, "containers": [{"name": "mm"}]}, [], id="ModelMesh"),
        pytest.param(
            {"containers": [{"name": "kserve-container"}], "workerSpec": {"containers": [{"name": "w"}]}},
            ["containers w"],
            id="workers",
        ),
    ],
)
def test_a_runtime_has_the_container_that_kserve_merges_into(runtime: dict[str, Any], observed: list[str]):
    document = {"kind": "ServingRuntime", "apiVersion": "serving.kserve.io/v1alpha1", "metadata": {"name": "r1"}}
    assert [each.observed for each in said("WG370", {**document, "spec": runtime})] == observed


def test_a_port_of_another_server_may_be_named_after_grpc():
    container = {"name": "kserve-container", "image": "triton:24", "ports": [{"name": "grpc", "containerPort": 9000}]}
    document = {**SKLEARN, "spec": {"predictor": {"containers": [container]}}}
    assert not asked("WG369", document)


def test_a_fault_of_the_runtimes_ports_stands_once_at_the_runtime():
    documents = changed(
        base("canary"),
        [{"in": "ServingRuntime/qwen-1a2b3c4d", "set": "spec.containers[0].ports[0].name", "to": "h2c"}],
    )
    (found,) = said("WG369", *documents)
    assert found.subject == "ServingRuntime/llm/qwen-1a2b3c4d"
    assert found.source == "test.yaml:1 spec.containers[0].ports[0].name"
    assert found.verdict is Verdict.FAIL
