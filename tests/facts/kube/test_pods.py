from __future__ import annotations

from typing import Any

import pytest

from serving.facts.kube.manifests import Document
from serving.facts.kube.pods import Workload, plain_workloads

TEMPLATE = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c"}]}}


def written(kind: str, spec: Any, **metadata: Any) -> list[Workload]:
    body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "a", **metadata}, "spec": spec}
    return list(plain_workloads(Document("test.yaml", 0, 1, body)))


@pytest.mark.parametrize(
    ("kind", "spec", "paths"),
    [
        pytest.param("Deployment", {"template": TEMPLATE}, ["spec.template.spec"], id="Deployment"),
        pytest.param("StatefulSet", {"template": TEMPLATE}, ["spec.template.spec"], id="StatefulSet"),
        pytest.param("DaemonSet", {"template": TEMPLATE}, ["spec.template.spec"], id="DaemonSet"),
        pytest.param("Rollout", {"template": TEMPLATE}, ["spec.template.spec"], id="Rollout"),
        pytest.param("Job", {"template": TEMPLATE}, ["spec.template.spec"], id="Job"),
        pytest.param("Service", {"template": TEMPLATE}, ["spec.template.spec"], id="Knative"),
        pytest.param("Service", {"selector": {"app": "a"}}, [], id="Service"),
        pytest.param("Job", {"tasks": [{"template": TEMPLATE}]}, ["spec.tasks[0].template.spec"], id="Volcano"),
        pytest.param(
            "CronJob",
            {"jobTemplate": {"spec": {"template": TEMPLATE}}},
            ["spec.jobTemplate.spec.template.spec"],
            id="CronJob",
        ),
        pytest.param(
            "LeaderWorkerSet",
            {"leaderWorkerTemplate": {"leaderTemplate": TEMPLATE, "workerTemplate": TEMPLATE}},
            ["spec.leaderWorkerTemplate.leaderTemplate.spec", "spec.leaderWorkerTemplate.workerTemplate.spec"],
            id="LeaderWorkerSet",
        ),
        pytest.param(
            "JobSet",
            {"replicatedJobs": [{"template": {"spec": {"template": TEMPLATE}}}] * 2},
            [f"spec.replicatedJobs[{n}].template.spec.template.spec" for n in (0, 1)],
            id="JobSet",
        ),
        pytest.param(
            "RayService",
            {"rayClusterConfig": {"workerGroupSpecs": [{"template": TEMPLATE}]}},
            ["spec.rayClusterConfig.workerGroupSpecs[0].template.spec"],
            id="RayService",
        ),
        pytest.param("Pod", TEMPLATE["spec"], ["spec"], id="Pod"),
        pytest.param("ConfigMap", {"template": TEMPLATE}, [], id="no-Pods"),
        pytest.param("Deployment", "junk", [], id="malformed-spec"),
        pytest.param("JobSet", {"replicatedJobs": ["junk", {"template": 3}]}, [], id="malformed-list"),
    ],
)
def test_every_kind_of_pod_template_is_found(kind: str, spec: Any, paths: list[str]):
    found = written(kind, spec)
    assert [each.path for each in found] == paths
    assert [each.containers[0].path for each in found] == [f"{path}.containers[0]" for path in paths]


@pytest.mark.parametrize(
    ("kind", "label"),
    [
        pytest.param("Job", "batch.kubernetes.io/job-name", id="Job"),
        pytest.param("Job", "job-name", id="Job-older"),
        pytest.param("LeaderWorkerSet", "leaderworkerset.sigs.k8s.io/name", id="LeaderWorkerSet"),
    ],
)
def test_pods_carry_the_labels_of_their_controller(kind: str, label: str):
    where = (
        {"leaderWorkerTemplate": {"workerTemplate": TEMPLATE}} if kind == "LeaderWorkerSet" else {"template": TEMPLATE}
    )
    (found,) = written(kind, where)
    assert found.labels == {**found.labels, "app": "a", label: "a"}


@pytest.mark.parametrize(
    ("kind", "spec", "finite"),
    [
        pytest.param("Job", {"template": TEMPLATE}, True, id="Job"),
        pytest.param("Deployment", {"template": TEMPLATE}, False, id="Deployment"),
        pytest.param("Pod", {"restartPolicy": "Never"}, True, id="Pod-never"),
        pytest.param("Pod", {"restartPolicy": "OnFailure"}, True, id="Pod-on-failure"),
        pytest.param("Pod", {}, False, id="Pod-always"),
    ],
)
def test_finite_is_what_is_meant_to_end(kind: str, spec: Any, finite: bool):
    assert [each.finite for each in written(kind, spec)] == [finite]


def test_a_sidecar_runs_with_the_others_and_an_init_container_does_not():
    inits = [{"name": "load"}, {"name": "proxy", "restartPolicy": "Always"}]
    (found,) = written("Pod", {"initContainers": inits, "containers": [{"name": "main"}]})
    assert [each.name for each in found.all_containers] == ["load", "proxy", "main"]
    assert [each.name for each in found.containers] == ["proxy", "main"]
    assert found.all_containers[1].path == "spec.initContainers[1]"


def test_defaults_are_those_of_the_api():
    (found,) = written("Deployment", {"template": {"spec": {}}})
    assert (found.replicas, found.grace_s, found.node_selector, found.tolerations) == (1, 30, {}, [])


def test_what_was_written_replaces_the_defaults():
    (found,) = written(
        "Deployment",
        {"replicas": 0, "template": {"spec": {"terminationGracePeriodSeconds": 0, "nodeSelector": {"gpu": True}}}},
    )
    assert (found.replicas, found.grace_s, found.node_selector) == (0, 0, {"gpu": "true"})


def test_an_annotation_of_the_pods_comes_before_the_documents():
    template = {"metadata": {"annotations": {"a": "pod"}}, "spec": {}}
    (found,) = written("Deployment", {"template": template}, annotations={"a": "doc", "b": "doc"})
    assert (found.says("a"), found.says("b"), found.says("c")) == ("pod", "doc", None)


def test_engines_are_the_containers_that_serve():
    containers = [{"name": "proxy", "image": "envoy:1"}, {"name": "engine", "image": "vllm/vllm-openai:1"}]
    (found,) = written("Deployment", {"template": {"spec": {"containers": containers}}})
    assert [each.name for each in found.engines] == ["engine"]
    assert found.runs_vllm
