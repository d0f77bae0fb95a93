from __future__ import annotations

from typing import Any

import pytest

from serving.judge.lint import judge_manifests
from serving.verdict import Verdict
from tests.judge.lint.asked import asked, deployment, said
from tests.judge.lint.mutate import base, bundle, changed

LABELS = {"app.kubernetes.io/name": "warmgate", "app.kubernetes.io/instance": "qwen"}


def one(kind: str, spec: Any, api: str = "v1", namespace: str = "llm", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": "a", "namespace": namespace, **metadata},
        "spec": spec,
    }


def service(selector: Any, **more: Any) -> dict[str, Any]:
    return one("Service", {"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": "http"}], **more})


def monitor(selector: Any, namespace: str = "llm", **more: Any) -> dict[str, Any]:
    spec = {"selector": selector, "podMetricsEndpoints": [{"port": "http"}], **more}
    return one("PodMonitor", spec, "monitoring.coreos.com/v1", namespace)


def kserve() -> list[dict[str, Any]]:
    return [each for each in base("kserve") if each["kind"] in ("InferenceService", "ServingRuntime")]


def stateful(labels: dict[str, str]) -> dict[str, Any]:
    template = {"metadata": {"labels": labels}, "spec": {"containers": []}}
    return one("StatefulSet", {"selector": {"matchLabels": labels}, "template": template}, "apps/v1")


EXPRESSION = {"matchExpressions": [{"key": "app.kubernetes.io/instance", "operator": "In", "values": ["qwen", "b"]}]}


@pytest.mark.parametrize(
    "documents",
    [
        pytest.param([deployment(), service(LABELS)], id="labels"),
        pytest.param([deployment(), monitor(EXPRESSION)], id="an-expression"),
        pytest.param([deployment(), monitor({})], id="everything"),
        pytest.param([deployment(), monitor({"matchLabels": LABELS}, "x", namespaceSelector={"any": True})], id="any"),
        pytest.param(
            [deployment(), monitor({"matchLabels": LABELS}, "x", namespaceSelector={"matchNames": ["llm"]})], id="named"
        ),
        pytest.param([*kserve(), monitor({"matchLabels": {"app": "isvc.qwen-r1-predictor"}})], id="kserve's-label"),
        pytest.param([stateful({"a": "b"}), service({"statefulset.kubernetes.io/pod-name": "a-0"})], id="one-of-a-set"),
        pytest.param(
            [
                one("Job", {"template": {"spec": {}}}, "batch/v1"),
                service({"batch.kubernetes.io/job-name": "a"}),
            ],
            id="a-job's-own-label",
        ),
        pytest.param(
            [deployment(), one("NetworkPolicy", {"podSelector": {}}, "networking.k8s.io/v1")], id="an-empty-selector"
        ),
        pytest.param([deployment(), one("NetworkPolicy", {}, "networking.k8s.io/v1")], id="a-selector-left-out"),
    ],
)
def test_a_selector_that_meets_a_pod_holds(documents: list[dict[str, Any]]):
    assert said("WG393", *documents) == []
    assert asked("WG393", *documents)


@pytest.mark.parametrize(
    "documents",
    [
        pytest.param([service({"app": "b"})], id="no-pods-at-all"),
        pytest.param([deployment(), one("Service", {"selector": {"app": "b"}}, namespace="other")], id="elsewhere"),
        pytest.param([deployment(), one("Service", {"ports": []})], id="no-selector"),
        pytest.param([deployment(), service({"app": "b"}, type="ExternalName")], id="ExternalName"),
        pytest.param([deployment(), one("Service", {"template": {}}, "serving.knative.dev/v1")], id="Knative's"),
    ],
)
def test_a_selector_whose_pods_may_be_elsewhere_is_not_judged(documents: list[dict[str, Any]]):
    assert not asked("WG393", *documents)


@pytest.mark.parametrize(
    "documents",
    [
        pytest.param([deployment(), monitor(None)], id="no-selector-selects-nothing"),
        pytest.param([deployment(), monitor({"matchLabels": {**LABELS, "x": "y"}})], id="one-label-too-many"),
        pytest.param([*kserve(), monitor({"matchLabels": {"app": "qwen-r1-predictor"}})], id="almost-kserve's"),
        pytest.param([deployment(), one("Service", {"selector": {"app": "b"}}, namespace="")], id="any-namespace"),
    ],
)
def test_a_selector_that_meets_nothing_is_a_fault(documents: list[dict[str, Any]]):
    assert [each.verdict for each in said("WG393", *documents)] == [Verdict.FAIL]


def test_the_labels_of_a_runtime_that_is_not_there_are_not_guessed():
    (isvc,) = [each for each in kserve() if each["kind"] == "InferenceService"]
    assert [each.verdict for each in said("WG393", isvc, monitor({"matchLabels": {"tier": "a"}}))] == [Verdict.UNKNOWN]


def test_the_remedy_shows_the_labels_that_come_closest():
    (found,) = said("WG393", deployment(), service({**LABELS, "app.kubernetes.io/instance": "qwen2"}))
    assert "app.kubernetes.io/instance=qwen" in found.remedy


@pytest.mark.parametrize(
    ("selector", "holds"),
    [
        pytest.param({"matchLabels": {"app": "a"}}, True, id="labels"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True, id="expression"),
        pytest.param({"matchLabels": {"app": "b"}}, False, id="another-value"),
        pytest.param({}, False, id="empty-is-rejected"),
        pytest.param(None, False, id="none-is-rejected"),
    ],
)
def test_a_controllers_selector_is_of_its_own_template(selector: Any, holds: bool):
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {}}
    document = one("Deployment", {"selector": selector, "template": template}, "apps/v1")
    assert (said("WG392", document) == []) is holds


ROUTE = "gateway.networking.k8s.io/v1"


def route(**backend: Any) -> dict[str, Any]:
    return one("HTTPRoute", {"rules": [{"backendRefs": [backend]}]}, ROUTE)


@pytest.mark.parametrize(
    "documents",
    [
        pytest.param([*kserve(), route(name="qwen-r1-predictor", port=80)], id="kserve's-service"),
        pytest.param([*kserve(), route(name="qwen-r1-predictor", port=8081)], id="its-second-port"),
        pytest.param([*kserve(), route(name="qwen", port=80)], id="the-endpoint's-name"),
        pytest.param(
            [*kserve(), route(kind="InferencePool", group="inference.networking.k8s.io", name="p")], id="pool"
        ),
        pytest.param([route(name="elsewhere", port=80)], id="nothing-here"),
        pytest.param([deployment(), route(name="b", namespace="other", port=80)], id="another-namespace"),
        pytest.param([*base("canary"), route(name="qwen-r2-predictor", port=80)], id="a-canary's-service"),
    ],
)
def test_routes_to_what_is_there_or_may_be_elsewhere_hold(documents: list[dict[str, Any]]):
    assert said("WG394", *documents) == []
    assert said("WG395", *documents) == []


def test_an_autoscaler_finds_what_kserve_makes():
    scaled = one("ScaledObject", {"scaleTargetRef": {"name": "qwen-r1-predictor"}}, "keda.sh/v1alpha1")
    assert said("WG394", *kserve(), scaled) == []


def test_a_missing_runtime_is_said_once_by_one_rule_alone():
    documents = changed(base("canary"), [{"drop": "ServingRuntime/qwen-1a2b3c4d"}])
    report = judge_manifests(bundle(documents), "test")
    (found,) = [each for each in report.findings if each.verdict is not Verdict.PASS]
    assert (found.code.id, found.verdict) == ("WG394", Verdict.UNKNOWN)
    assert found.observed == "its runtime qwen-1a2b3c4d is not among the documents"


def test_a_runtime_may_be_in_the_cluster():
    documents = base("kserve")
    live = [each for each in documents if each["kind"] == "ServingRuntime"]
    written = [each for each in documents if each["kind"] != "ServingRuntime"]
    found = judge_manifests(bundle(written, live), "test").findings
    assert [each for each in found if each.code.id == "WG394" and each.verdict is not Verdict.PASS] == []
    live[0]["metadata"]["name"] = "another"
    found = judge_manifests(bundle(written, live), "test").findings
    assert [each.verdict for each in found if each.code.id == "WG394"] == [Verdict.FAIL]


def ported(**container: Any) -> dict[str, Any]:
    return deployment({"args": ["--model=m", "--port=8080"], **container})


def leading(target: Any) -> dict[str, Any]:
    port = {"name": "http", "port": 80} | ({} if target is None else {"targetPort": target})
    return service(LABELS, ports=[port])


def beside(target: int) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": target}, {"name": "events", "port": 5557}]
    return service(LABELS, ports=ports)


CACHE = [{"name": "http", "containerPort": 8080}, {"name": "events", "containerPort": 5557}]


@pytest.mark.parametrize(
    ("documents", "observed"),
    [
        pytest.param([ported(), leading("http")], [], id="by-name"),
        pytest.param([ported(), leading(8080)], [], id="by-number"),
        pytest.param([ported(), leading(8081)], [], id="the-agent's"),
        pytest.param([ported(ports=[]), leading(8080)], [], id="numbers-need-no-declaration"),
        pytest.param(
            [ported(), leading(8000)],
            ["the Service's port 80 leads to 8000, the engine listens on 8080, 8081"],
            id="none",
        ),
        pytest.param(
            [ported(), leading(None)],
            ["the Service's port 80 leads to 80, the engine listens on 8080, 8081"],
            id="same",
        ),
        pytest.param([ported(args=["--config=/etc/v.yaml"]), leading(8000)], [], id="a-port-that-is-not-told"),
        pytest.param([ported(image="nginx", command=["nginx"]), leading(9000)], [], id="another-server"),
        pytest.param([ported(ports=CACHE), beside(8080)], [], id="a-declared-port-beside-the-engine's"),
        pytest.param(
            [ported(), beside(8080)],
            ["the Service's port 5557 leads to 5557, the engine listens on 8080, 8081"],
            id="an-undeclared-port-beside-the-engine's",
        ),
        pytest.param(
            [ported(ports=CACHE), beside(8000)],
            [
                "the Service's port 80 leads to 8000, the engine listens on 8080, 8081",
                "the Service's port 5557 leads to 5557, the engine listens on 8080, 8081",
            ],
            id="a-declared-port-where-no-other-reaches-the-engine",
        ),
        pytest.param(
            [ported(ports=[]), leading("http")],
            ["the Service's port 80 leads to port http, which no container declares"],
            id="undeclared",
        ),
    ],
)
def test_a_service_leads_to_a_port_that_listens(documents: list[dict[str, Any]], observed: list[str]):
    assert [each.observed for each in said("WG395", *documents)] == observed


def test_a_sidecar_may_listen_where_the_engine_does_not():
    pod = deployment()["spec"]["template"]["spec"]
    proxy = {"name": "proxy", "image": "envoy:1", "ports": [{"name": "web", "containerPort": 9000}]}
    assert said("WG395", deployment(containers=[*pod["containers"], proxy]), leading(9000)) == []
    assert said("WG395", deployment(containers=[*pod["containers"], proxy]), leading("web")) == []


def test_a_logger_takes_port_80_to_kserves_agent():
    documents = changed(base("kserve"), [{"in": "InferenceService/qwen", "set": "spec.predictor.logger", "to": {}}])
    assert said("WG395", *documents) == []


def test_an_object_may_have_its_name_in_another_namespace_or_group():
    documents = [one("ConfigMap", {}), one("ConfigMap", {}, namespace="b"), one("ConfigMap", {}, "example.com/v1")]
    assert said("WG396", *documents) == []
    assert said("WG396", *documents, one("ConfigMap", {}, "v1"))


def test_an_object_in_another_version_of_its_group_is_the_same():
    assert said("WG396", one("HTTPRoute", {}, f"{ROUTE}beta1"), one("HTTPRoute", {}, ROUTE))


def test_two_predictors_may_not_make_one_deployment():
    first, second = (one("InferenceService", {"predictor": {"containers": [{}]}}) for _ in range(2))
    first["metadata"]["name"], second["metadata"]["name"] = "qwen", "qwen-r1"
    assert said("WG396", first, second) == []
    first["spec"]["predictor"]["name"] = "r1"
    (found,) = said("WG396", first, second)
    assert found.observed.startswith("makes Deployment qwen-r1-predictor")


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        pytest.param({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "a-"}}, True, id="generated"),
        pytest.param({"apiVersion": "v1", "kind": "List", "items": []}, True, id="a-list"),
        pytest.param(
            {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}, True, id="a-kustomization"
        ),
        pytest.param({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": {}}}, False, id="a-name-of-no-text"),
        pytest.param({"kind": "Pod", "metadata": {"name": "a"}}, False, id="no-version"),
        pytest.param({}, False, id="nothing"),
    ],
)
def test_an_object_has_version_kind_and_name(body: dict[str, Any], holds: bool):
    assert (said("WG397", body) == []) is holds


def ray(kind: str) -> dict[str, Any]:
    pod = {"spec": {"containers": [{"name": "ray", "image": "rayproject/ray:2.50.0"}]}}
    cluster = {"headGroupSpec": {"template": pod}, "workerGroupSpecs": [{"groupName": "gpu", "template": pod}]}
    spec = cluster if kind == "RayCluster" else {"rayClusterConfig": cluster}
    return {"apiVersion": "ray.io/v1", "kind": kind, "metadata": {"name": "llama", "namespace": "llm"}, "spec": spec}


@pytest.mark.parametrize("kind", ["RayCluster", "RayService"])
@pytest.mark.parametrize(("name", "there"), [("llama-head-svc", True), ("llama-serve-svc", True), ("llama", False)])
def test_the_services_of_ray_are_known(kind: str, name: str, there: bool):
    assert bool(said("WG394", ray(kind), route(name=name, port=8000))) is not there


@pytest.mark.parametrize("kind", ["RayCluster", "RayService"])
def test_the_services_of_ray_may_have_names_of_their_own(kind: str):
    spec = ray(kind)["spec"]
    spec.get("rayClusterConfig", spec)["headGroupSpec"]["headService"] = {"metadata": {"name": "llama"}}
    spec["serveService"] = {"metadata": {"name": "answers"}}
    for name, there in (("llama", True), ("answers", True), ("llama-head-svc", False)):
        assert bool(said("WG394", {**ray(kind), "spec": spec}, route(name=name, port=8000))) is not there


@pytest.mark.parametrize(("namespace", "met"), [("kube-system", True), ("llm", False)])
def test_a_cluster_has_pods_of_its_own(namespace: str, met: bool):
    agent, dns = deployment(), service({"k8s-app": "kube-dns"})
    agent["metadata"]["namespace"] = dns["metadata"]["namespace"] = namespace
    assert (said("WG393", agent, dns) == []) is met


@pytest.mark.parametrize(
    ("labels", "selector", "verdict"),
    [
        pytest.param({"app": "sandbox"}, {"app": "sandbox"}, None, id="it shows such labels"),
        pytest.param({"app": "sandbox"}, {"app": "b"}, "unknown", id="it may add some"),
        pytest.param(None, {"app": "b"}, "fail", id="it has no Pods"),
    ],
)
def test_an_operator_may_make_the_pods(labels: Any, selector: dict[str, str], verdict: str | None):
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    made = one("SandboxTemplate", {"podTemplate": pod} if labels else {"replicas": 1}, "agents.example/v1")
    assert [each.verdict.value for each in said("WG393", deployment(), made, service(selector))] == (
        [verdict] if verdict else []
    )


def test_ray_declares_a_port_for_metrics():
    monitors = [
        one("PodMonitor", {"selector": {}, "podMetricsEndpoints": [{"port": port}]}, "monitoring.coreos.com/v1")
        for port in ("metrics", "http")
    ]
    assert [len(said("WG395", ray("RayCluster"), monitor)) for monitor in monitors] == [0, 1]
