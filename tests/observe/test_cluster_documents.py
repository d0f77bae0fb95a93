"""What a cluster tells the real kubectl: a small API server here, and a real one where its binaries are."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.errors import CannotObserve
from serving.facts.kube.manifests import CLUSTER
from serving.observe import cluster_documents
from serving.observe.cluster_documents import KINDS, Cluster, read_cluster
from serving.observe.kubectl import find_kubectl
from tests.fakes.api_server import ApiServer, api_server
from tests.observe.real_api_server import real_api_server

ASSETS = os.environ.get("KUBEBUILDER_ASSETS")


@pytest.fixture(autouse=True)
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HOME", str(tmp_path))  # its discovery cache, and nobody's own kubeconfig
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    try:
        return find_kubectl()
    except CannotObserve:
        pytest.skip("kubectl is not installed (extra lint)")


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server() as running:
        yield running


def named(name: str, namespace: str = "", **rest: Any) -> dict[str, Any]:
    place = {"namespace": namespace} if namespace else {}
    return {"metadata": {"name": name, **place, "managedFields": [{"manager": "x"}]}, **rest}


@pytest.fixture
def gpu_cluster(server: ApiServer, tmp_path: Path) -> Cluster:
    crd = {
        "group": "serving.kserve.io",
        "scope": "Namespaced",
        "names": {"kind": "InferenceService", "plural": "inferenceservices"},
        "versions": [
            {"name": "v1beta1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    }
    server.serve("v1", "nodes", "Node", named("gpu-1", status={"allocatable": {"nvidia.com/gpu": "8"}}))
    server.serve("v1", "resourcequotas", "ResourceQuota", named("q", "llm"), namespaced=True)
    server.serve("v1", "limitranges", "LimitRange", namespaced=True)
    server.serve("v1", "persistentvolumeclaims", "PersistentVolumeClaim", named("models", "llm"), namespaced=True)
    server.serve("scheduling.k8s.io/v1", "priorityclasses", "PriorityClass", named("warmgate-inference", value=1000))
    server.serve("storage.k8s.io/v1", "storageclasses", "StorageClass")
    server.serve("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", namespaced=True)
    server.serve(
        "apiextensions.k8s.io/v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        named("inferenceservices.serving.kserve.io", spec=crd),
    )
    return Cluster(kubeconfig=server.kubeconfig(tmp_path / "config"))


def test_what_is_there_becomes_documents_and_what_is_not_served_is_unseen(gpu_cluster: Cluster) -> None:
    live = read_cluster(gpu_cluster)
    assert [(each.kind, each.namespace, each.name) for each in live.documents] == [
        ("Node", "", "gpu-1"),
        ("ResourceQuota", "llm", "q"),
        ("PersistentVolumeClaim", "llm", "models"),
        ("PriorityClass", "", "warmgate-inference"),
        ("CustomResourceDefinition", "", "inferenceservices.serving.kserve.io"),
    ]
    assert {each.place for each in live.documents} == {CLUSTER}
    assert live.documents[0].body["status"]["allocatable"] == {"nvidia.com/gpu": "8"}
    assert "managedFields" not in live.documents[0].metadata
    unserved = {"RuntimeClass", "DeviceClass", "ServingRuntime", "ClusterServingRuntime"}
    assert live.unseen == dict.fromkeys(unserved, "the cluster does not serve it")


def test_a_definition_keeps_its_names_and_versions_and_no_schema(gpu_cluster: Cluster) -> None:
    body = read_cluster(gpu_cluster).documents[-1].body
    assert body["spec"]["group"] == "serving.kserve.io"
    assert body["spec"]["names"]["kind"] == "InferenceService"
    assert body["spec"]["versions"] == [{"name": "v1beta1", "served": True, "storage": True}]


def test_a_kind_that_may_not_be_read_is_unseen_and_the_others_are_read(gpu_cluster: Cluster, server: ApiServer) -> None:
    server.forbidden = {"nodes", "priorityclasses"}
    live = read_cluster(gpu_cluster)
    for kind, plural in (("Node", "nodes"), ("PriorityClass", "priorityclasses")):
        assert live.unseen[kind].startswith(f'not permitted: {plural} is forbidden: User "ci" cannot list')
        assert "\n" not in live.unseen[kind]
    assert {each.kind for each in live.documents} >= {"ResourceQuota", "CustomResourceDefinition"}


def test_who_may_see_one_namespace_only_sees_that(gpu_cluster: Cluster, server: ApiServer) -> None:
    server.forbidden_everywhere = {"resourcequotas", "persistentvolumeclaims"}
    assert {"ResourceQuota", "PersistentVolumeClaim"} <= read_cluster(gpu_cluster).unseen.keys()
    live = read_cluster(Cluster(kubeconfig=gpu_cluster.kubeconfig, namespace="llm"))
    assert {"ResourceQuota", "PersistentVolumeClaim"} <= {each.kind for each in live.documents}
    assert any(path.startswith("/api/v1/namespaces/llm/resourcequotas?") for _, path in server.requests)


def test_nothing_is_written_and_no_secret_is_asked_for(gpu_cluster: Cluster, server: ApiServer) -> None:
    read_cluster(gpu_cluster)
    assert {method for method, _ in server.requests} == {"GET"}
    assert not [path for _, path in server.requests if "secrets" in path or "configmaps" in path]


def test_a_user_that_nobody_knows_cannot_look(gpu_cluster: Cluster, server: ApiServer) -> None:
    server.unauthorized = True
    with pytest.raises(CannotObserve, match=r"the cluster knows no such user .*: log in, or give --kubeconfig"):
        read_cluster(gpu_cluster)


def test_a_server_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    state = ApiServer()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        state.port = taken.getsockname()[1]
        with pytest.raises(
            CannotObserve, match=r"the cluster does not answer \(.*refused.*\): check --kubeconfig"
        ) as error:
            read_cluster(Cluster(kubeconfig=state.kubeconfig(tmp_path / "config")))
    assert "\n" not in str(error.value)


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_documents, "ANSWER_SECONDS", 1)
    state = ApiServer()
    began = time.perf_counter()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        state.port = silent.getsockname()[1]
        with pytest.raises(CannotObserve, match=r"does not answer|no answer within 2 s"):
            read_cluster(Cluster(kubeconfig=state.kubeconfig(tmp_path / "config")))
    assert time.perf_counter() - began < 10


def test_without_any_kubeconfig_the_remedy_is_named() -> None:
    with pytest.raises(CannotObserve, match="check --kubeconfig, --context"):
        read_cluster(Cluster(context=None))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(None, id="missing"),
        pytest.param("a: [", id="no-yaml"),
        pytest.param("apiVersion: v1\nkind: Config\n", id="no-such-context"),
    ],
)
def test_a_wrong_kubeconfig_is_told_in_one_line(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config").write_text(text)
    with pytest.raises(CannotObserve, match="kubectl cannot ask the cluster") as error:
        read_cluster(Cluster(kubeconfig=tmp_path / "config", context="production"))
    assert "\n" not in str(error.value)


@pytest.mark.timeout(180)
@pytest.mark.skipif(not ASSETS, reason="KUBEBUILDER_ASSETS is not set: no real API server to read from")
def test_a_real_api_server_is_read(tmp_path: Path, kubectl: str) -> None:
    with real_api_server(tmp_path) as config:
        made = (
            "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: warmgate-inference}\nvalue: 1000\n"
        )
        options = [f"--kubeconfig={config}", "create", "-f", "-"]
        subprocess.run([kubectl, *options], input=made, text=True, check=True, timeout=60)
        live = read_cluster(Cluster(kubeconfig=config))
    assert "warmgate-inference" in {each.name for each in live.documents if each.kind == "PriorityClass"}
    assert set(live.unseen) == {"ServingRuntime", "ClusterServingRuntime"}
    assert set(KINDS) > {each.kind for each in live.documents}
