from __future__ import annotations

from typing import Any

import pytest

from serving.verdict import Verdict
from tests.judge.lint.asked import asked, deployment, said
from tests.judge.lint.mutate import base, changed


def prometheus(query: str) -> dict[str, Any]:
    return {"type": "prometheus", "metadata": {"query": query, "threshold": "4"}}


def scaled_object(*triggers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    spec = {"scaleTargetRef": {"name": "qwen"}, "minReplicaCount": 1, "maxReplicaCount": 3, **spec}
    return {
        "kind": "ScaledObject",
        "metadata": {"name": "qwen", "namespace": "llm"},
        "spec": {**spec, "triggers": list(triggers)},
    }


def hpa(*metrics: dict[str, Any], kind: str = "Deployment", **spec: Any) -> dict[str, Any]:
    spec = {"scaleTargetRef": {"kind": kind, "name": "qwen"}, "minReplicas": 1, "maxReplicas": 3, **spec}
    return {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "qwen", "namespace": "llm"},
        "spec": {**spec, "metrics": list(metrics)},
    }


def external(name: str) -> dict[str, Any]:
    return {"type": "External", "external": {"metric": {"name": name}, "target": {"type": "Value", "value": "5"}}}


PATH = 'metadata.annotations["serving.kserve.io/autoscalerClass"]'
CPU = {"type": "Resource", "resource": {"name": "cpu"}}
SIDECAR = {"type": "ContainerResource", "containerResource": {"name": "memory", "container": "engine"}}
WAITING = prometheus('sum(vllm:num_requests_waiting{namespace="llm",pod=~"qwen-.*"})')


@pytest.mark.parametrize(
    ("scaler", "good"),
    [
        pytest.param(hpa(external("vllm_num_requests_waiting")), True, id="an external metric"),
        pytest.param(hpa({"type": "Pods", "pods": {"metric": {"name": "vllm_kv_cache"}}}), True, id="a metric of Pods"),
        pytest.param(hpa(external("x"), CPU), False, id="CPU beside it"),
        pytest.param(hpa(SIDECAR), False, id="memory of a container"),
        pytest.param(hpa(targetCPUUtilizationPercentage=80), False, id="version 1"),
        pytest.param(scaled_object(WAITING), True, id="KEDA on the queue"),
        pytest.param(scaled_object(WAITING, {"type": "cpu"}), False, id="KEDA on CPU beside it"),
    ],
)
def test_engines_are_scaled_on_load(scaler: dict[str, Any], good: bool):
    assert asked("WG350", deployment(), scaler)
    assert (said("WG350", deployment(), scaler) == []) is good


@pytest.mark.parametrize("scaler", [hpa(CPU), scaled_object({"type": "cpu"})], ids=["HPA", "KEDA"])
def test_other_servers_may_be_scaled_on_cpu(scaler: dict[str, Any]):
    web = deployment({"image": "nginx:1.27", "args": None})
    assert not asked("WG350", web, scaler)
    assert not asked("WG350", deployment(), {**scaler, "spec": scaler["spec"] | {"scaleTargetRef": {"name": "web"}}})


@pytest.mark.parametrize(
    ("annotation", "predictor", "good"),
    [
        pytest.param("none", {"maxReplicas": 4}, True, id="nothing scales"),
        pytest.param("external", {"maxReplicas": 4}, True, id="somebody else scales"),
        pytest.param("hpa", {}, True, id="no room to move"),
        pytest.param("hpa", {"maxReplicas": 4}, False, id="KServe's default metric"),
        pytest.param(None, {"maxReplicas": 4}, False, id="KServe's default class"),
    ],
)
def test_kserves_own_autoscaler_follows_cpu(annotation: str | None, predictor: dict[str, Any], good: bool):
    key = 'metadata.annotations["serving.kserve.io/autoscalerClass"]'
    changes: list[dict[str, Any]] = [{"in": "InferenceService/qwen", "set": key, "to": annotation}]
    if annotation is None:
        changes = [{"in": "InferenceService/qwen", "remove": key}]
    changes += [
        {"in": "InferenceService/qwen", "set": f"spec.predictor.{name}", "to": predictor[name]} for name in predictor
    ]
    assert (said("WG350", *changed(base("kserve"), changes)) == []) is good


def test_the_most_replicas_and_their_neighbours_must_fit():
    other = deployment()
    other["metadata"]["name"] = "llama"
    scaler = scaled_object(WAITING, maxReplicaCount=3)
    assert said("WG351", deployment(), scaler) == []
    (finding,) = said("WG351", deployment(), other, scaler)
    assert finding.subject == "Deployment/llm/qwen"
    assert finding.observed == "3 at most + 2 Deployment/llm/llama = 5 nvidia.com/gpu"
    assert finding.expected == "no more than the pool of 4"


@pytest.mark.parametrize(
    ("scaler", "back"),
    [
        pytest.param(scaled_object(WAITING), True, id="one stays"),
        pytest.param(scaled_object(WAITING, minReplicaCount=0), False, id="only the engine's own metric"),
        pytest.param(scaled_object(WAITING, idleReplicaCount=0), False, id="idle at zero"),
        pytest.param(scaled_object(WAITING, {"type": "cpu"}, minReplicaCount=0), False, id="CPU of no Pods"),
        pytest.param(
            scaled_object(prometheus("sum(vllm:a) or vector(0)"), minReplicaCount=0), False, id="zero instead"
        ),
        pytest.param(scaled_object(prometheus("warmgate_ready"), minReplicaCount=0), False, id="the agent's metric"),
        pytest.param(
            scaled_object(prometheus("rate(envoy_cluster_upstream_rq_total[1m])"), minReplicaCount=0),
            True,
            id="gateway",
        ),
        pytest.param(
            scaled_object(WAITING, prometheus("vllm:num_incoming_requests_total"), minReplicaCount=0), True, id="router"
        ),
        pytest.param(scaled_object(WAITING, {"type": "cron"}, minReplicaCount=0), True, id="a clock"),
        pytest.param(hpa(external("vllm_num_requests_waiting"), minReplicas=0), False, id="HPA"),
        pytest.param(hpa(external("queue_messages"), minReplicas=0), True, id="HPA on a queue"),
    ],
)
def test_what_is_at_zero_can_come_back(scaler: dict[str, Any], back: bool):
    assert asked("WG352", deployment(), scaler)
    assert (said("WG352", deployment(), scaler) == []) is back


def test_a_recording_rule_of_the_engines_metric_vanishes_with_it():
    def rules(expr: str) -> dict[str, Any]:
        groups = [{"name": "a", "rules": [{"record": "qwen:waiting:sum", "expr": expr}]}]
        return {"kind": "PrometheusRule", "metadata": {"name": "a"}, "spec": {"groups": groups}}

    scaler = scaled_object(prometheus("qwen:waiting:sum"), minReplicaCount=0)
    assert len(said("WG352", deployment(), scaler, rules("sum(vllm:num_requests_waiting)"))) == 1
    assert said("WG352", deployment(), scaler, rules("sum(gateway_waiting)")) == []
    assert len(said("WG352", deployment(), scaler, rules("vllm:a + qwen:waiting:sum"))) == 1  # of itself, too


MONITOR = {
    "kind": "PodMonitor",
    "metadata": {"name": "qwen", "namespace": "llm"},
    "spec": {
        "podTargetLabels": ["example.com/team"],
        "podMetricsEndpoints": [{"relabelings": [{"targetLabel": "release", "sourceLabels": ["a"]}]}],
    },
}


@pytest.mark.parametrize(
    ("query", "verdict"),
    [
        pytest.param('sum(vllm:num_requests_waiting{model_name="m"})', None, id="its own label"),
        pytest.param('sum(vllm:num_requests_waiting{pod=~"q.*",job="j"})', None, id="labels of every scrape"),
        pytest.param('vllm:num_requests_waiting_by_reason{reason="capacity"}', None, id="a label of this metric"),
        pytest.param('vllm:num_requests_waiting{model!="m"}', None, id="no series needs it"),
        pytest.param('rate(vllm:time_to_first_token_seconds_bucket{le="1"}[1m])', None, id="a bucket"),
        pytest.param('envoy_requests{model="m"}', None, id="another exporter's"),
        pytest.param(
            'vllm:num_requests_waiting{release="r",example_com_team="t"}', None, id="labels of the PodMonitor"
        ),
        pytest.param('vllm:spec_decode_num_drafts_total{whatever="1"}', None, id="a feature's metric"),
        pytest.param('vllm:num_incoming_requests_total{model="m"}', None, id="a router's"),
        pytest.param('vllm:num_requests_waiting{model="m"}', "fail", id="model"),
        pytest.param('{__name__="vllm:num_requests_waiting",model="m"}', "fail", id="model, and the name as a label"),
        pytest.param('vllm:num_requests_running{reason="capacity"}', "fail", id="another metric's label"),
        pytest.param("vllm:time_to_first_token_seconds", "fail", id="a histogram without suffix"),
        pytest.param("vllm:num_requests_wating", "fail", id="a slip"),
        pytest.param('vllm:num_requests_waiting{tier="a"}', "fail", id="a label that no scrape adds"),
    ],
)
def test_queries_name_what_is_there(query: str, verdict: str | None):
    found = said("WG353", deployment(), MONITOR, scaled_object(prometheus(query)))
    assert [each.verdict.value for each in found] == ([verdict] if verdict else [])


@pytest.mark.parametrize(
    ("query", "remedy"),
    [
        ('vllm:num_requests_waiting{model="m"}', "write model_name='m'"),
        ("vllm:gpu_cache_usage_perc", "use vllm:kv_cache_usage_perc"),
        ("vllm:prompt_tokens", "use vllm:prompt_tokens_total"),
        ("vllm:time_to_first_token_seconds", "use vllm:time_to_first_token_seconds_bucket"),
        ("vllm:num_requests_wating", "use vllm:num_requests_waiting"),
    ],
)
def test_the_remedy_is_what_was_meant(query: str, remedy: str):
    assert [each.remedy for each in said("WG353", deployment(), scaled_object(prometheus(query)))] == [remedy]


@pytest.mark.parametrize(
    "monitors", [[], [{**MONITOR, "spec": {"podMetricsEndpoints": [{"relabelings": [{"action": "labelmap"}]}]}}]]
)
def test_a_label_of_unknown_source_is_unknown(monitors: list[dict[str, Any]]):
    query = prometheus('vllm:num_requests_waiting{tier="a"}')
    (finding,) = said("WG353", deployment(), scaled_object(query), *monitors)
    assert finding.verdict is Verdict.UNKNOWN


def test_one_of_two_autoscalers_is_named():
    other = hpa(external("x"))
    other["metadata"]["name"] = "gateway"
    for scalers in ([hpa(external("x")), other], [other, hpa(external("x"))]):
        (found,) = said("WG354", deployment(), *scalers)
        assert found.subject == "HorizontalPodAutoscaler/llm/gateway"
        assert found.observed == "scales Deployment/llm/qwen, as does HorizontalPodAutoscaler/llm/qwen"


@pytest.mark.parametrize("namespace", ["llm", "other"])
def test_autoscalers_of_two_namespaces_are_no_rivals(namespace: str):
    other = hpa(external("x"))
    other["metadata"] = {"name": "gateway", "namespace": namespace}
    assert bool(said("WG354", deployment(), hpa(external("x")), other)) is (namespace == "llm")


def test_keda_may_take_an_autoscaler_over():
    taking = scaled_object(WAITING)
    assert len(said("WG354", deployment(), hpa(external("x")), taking)) == 1
    taking["metadata"]["annotations"] = {"scaledobject.keda.sh/transfer-hpa-ownership": "true"}
    assert said("WG354", deployment(), hpa(external("x")), taking) == []


def test_an_autoscaler_of_ones_own_wants_the_class_external():
    services = [{"in": "InferenceService/qwen", "set": PATH, "to": name} for name in ("hpa", "external")]
    own = hpa(external("x"))
    own["spec"]["scaleTargetRef"]["name"] = "qwen-r1-predictor"
    assert [len(said("WG354", *changed(base("kserve"), [each]), own)) for each in services] == [1, 0]
