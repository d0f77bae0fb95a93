"""Kinds and versions that are served, those that are not, and those that nobody knows."""

from __future__ import annotations

from typing import Any

import pytest

from serving.judge.lint import judge_manifests
from serving.verdict import Finding, Verdict
from tests.judge.lint.asked import said
from tests.judge.lint.mutate import bundle


def thing(api_version: str, kind: str, name: str = "x", **annotations: str) -> dict[str, Any]:
    metadata = {"name": name, "annotations": {f"warmgate/{key}": value for key, value in annotations.items()}}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def definition(group: str, kind: str, *versions: str) -> dict[str, Any]:
    spec = {"group": group, "names": {"kind": kind}, "versions": [{"name": each} for each in versions]}
    return {**thing("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"{kind}.{group}"), "spec": spec}


def live(documents: list[dict[str, Any]], cluster: list[dict[str, Any]], **more: Any) -> list[Finding]:
    findings = judge_manifests(bundle(documents, cluster, **more), "test").findings
    return [each for each in findings if each.code.id == "WG310" and each.verdict is not Verdict.PASS]


HELD = [
    ("v1", "ConfigMap"),
    ("apps/v1", "Deployment"),
    ("autoscaling/v1", "HorizontalPodAutoscaler"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("resource.k8s.io/v1beta1", "ResourceClaimTemplate"),
    ("serving.kserve.io/v1beta1", "InferenceService"),
    ("batch.volcano.sh/v1alpha1", "Job"),
    ("kueue.x-k8s.io/v1beta2", "LocalQueue"),
    ("kustomize.config.k8s.io/v1beta1", "Kustomization"),
]


@pytest.mark.parametrize(("api_version", "kind"), HELD)
def test_what_is_served_needs_no_definition(api_version: str, kind: str) -> None:
    assert said("WG310", thing(api_version, kind)) == []


@pytest.mark.parametrize("api_version", ["v1", "apps/v1", "rbac.authorization.k8s.io/v1"])
@pytest.mark.parametrize("cluster", [None, []], ids=["without a cluster", "with one"])
def test_nothing_but_kubernetes_adds_to_its_own_groups(api_version: str, cluster: list[dict[str, Any]] | None) -> None:
    findings = judge_manifests(bundle([thing(api_version, "Any")], cluster), "test").findings
    assert [each.verdict for each in findings if each.code.id == "WG310"] == [Verdict.FAIL]


REMEDIES = [
    ("apps/v1", "Deploymnt", "write apiVersion: apps/v1, kind: Deployment"),
    ("v1", "configmap", "write apiVersion: v1, kind: ConfigMap"),
    ("v1", "Deployment", "write apiVersion: apps/v1"),
    ("apps/v1", "Service", "write apiVersion: v1"),
    ("extensions/v1beta1", "Deployment", "write apiVersion: apps/v1"),
    ("extensions/v1beta1", "Ingress", "write apiVersion: networking.k8s.io/v1"),
    ("apps/v1beta1", "Deployment", "write apiVersion: apps/v1"),
    ("autoscaling/v2beta2", "HorizontalPodAutoscaler", "write apiVersion: autoscaling/v2"),
    ("policy/v1beta1", "PodSecurityPolicy", "leave it out"),
    ("serving.kserve.io/v1beta1", "InferenceServce", "write kind: InferenceService"),
    ("serving.kserve.io/v1beta1", "inferenceservice", "write kind: InferenceService"),
    ("serving.kserv.io/v1beta1", "InferenceService", "write apiVersion: serving.kserve.io/v1beta1"),
    ("app/v1", "StatefulSet", "write apiVersion: apps/v1"),
]


@pytest.mark.parametrize(("api_version", "kind", "remedy"), REMEDIES)
def test_what_was_meant_is_told(api_version: str, kind: str, remedy: str) -> None:
    (finding,) = said("WG310", thing(api_version, kind))
    assert (finding.verdict, finding.remedy) == (Verdict.FAIL, remedy)


def test_the_last_release_that_served_it_is_told() -> None:
    (finding,) = said("WG310", thing("policy/v1beta1", "PodDisruptionBudget"))
    assert "1.24" in finding.observed
    assert finding.expected == "version policy/v1"


UNKNOWN = [
    ("example.com/v1", "Foo"),
    ("monitoring.coreos.com/v1", "Foo"),
    ("serving.kserve.io/v1", "InferenceService"),
    ("metrics.k8s.io/v1", "PodMetrics"),
    ("example.com/v1", "F" * 10_000),
]


@pytest.mark.parametrize(("api_version", "kind"), UNKNOWN)
def test_what_nobody_knows_is_no_pass(api_version: str, kind: str) -> None:
    (finding,) = said("WG310", thing(api_version, kind))
    assert finding.verdict is Verdict.UNKNOWN
    assert "no definition of" in finding.observed
    assert "CustomResourceDefinition" in finding.remedy


def test_it_is_said_once_for_each_kind() -> None:
    documents = [thing("example.com/v1", kind, name) for kind in ("Foo", "Bar") for name in ("a", "b", "c")]
    assert [each.subject for each in said("WG310", *documents)] == ["Foo/a", "Bar/a"]


def test_an_allowance_is_for_its_own_object_alone() -> None:
    allowed = thing("example.com/v1", "Foo", "a", allow="WG310: its operator comes with the cluster")
    findings = said("WG310", allowed, thing("example.com/v1", "Foo", "b"), thing("example.com/v1", "Foo", "c"))
    assert [(each.subject, each.verdict) for each in findings] == [
        ("Foo/a", Verdict.NOT_APPLICABLE),
        ("Foo/b", Verdict.UNKNOWN),
    ]


@pytest.mark.parametrize("cluster", [None, []], ids=["without a cluster", "with one"])
def test_a_definition_among_the_documents_will_be_served(cluster: list[dict[str, Any]] | None) -> None:
    documents = [definition("example.com", "Foo", "v1"), thing("example.com/v1", "Foo")]
    assert live(documents, cluster or []) == [] if cluster is not None else said("WG310", *documents) == []


def test_a_definition_is_better_than_what_is_known_of_an_operator() -> None:
    documents = [definition("keda.sh", "ScaledObject", "v2"), thing("keda.sh/v1alpha1", "ScaledObject")]
    assert [each.remedy for each in said("WG310", *documents)] == ["write apiVersion: keda.sh/v2"]


def test_a_cluster_knows_better_than_a_table() -> None:
    known = thing("keda.sh/v1alpha1", "TriggerAuthentication")
    (finding,) = live([known], [])
    assert (finding.verdict, finding.remedy) == (Verdict.FAIL, "install the operator that owns keda.sh")
    assert live([known], [definition("keda.sh", "TriggerAuthentication", "v1alpha1")]) == []
    (finding,) = live([known], [], unseen={"CustomResourceDefinition": "forbidden"})
    assert (finding.verdict, "forbidden" in finding.observed) == (Verdict.UNKNOWN, True)


def test_what_an_aggregated_api_serves_is_its_own_matter() -> None:
    service = {**thing("apiregistration.k8s.io/v1", "APIService", "v1.example.com")}
    service["spec"] = {"group": "example.com", "version": "v1", "service": {"name": "a"}}
    assert said("WG310", service, thing("example.com/v1", "Foo")) == []
