"""Reads from a cluster what manifests are judged against: `kubectl get`, kind by kind, and nothing else.

A kind that may not be read, or that is not served, is unseen with why; a cluster that does not answer is CannotObserve.
Never writes, and never asks for Secrets or ConfigMaps.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from serving.errors import CannotObserve
from serving.facts.kube.manifests import CLUSTER, Document
from serving.facts.kube.shape import as_map, as_maps, as_text, dig
from serving.observe.kubectl import Answer, kubectl

KINDS: Final = {
    "Node": "nodes",
    "ResourceQuota": "resourcequotas",
    "LimitRange": "limitranges",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "PriorityClass": "priorityclasses.scheduling.k8s.io",
    "RuntimeClass": "runtimeclasses.node.k8s.io",
    "DeviceClass": "deviceclasses.resource.k8s.io",
    "StorageClass": "storageclasses.storage.k8s.io",
    "NetworkPolicy": "networkpolicies.networking.k8s.io",
    "ServingRuntime": "servingruntimes.serving.kserve.io",
    "ClusterServingRuntime": "clusterservingruntimes.serving.kserve.io",
    "CustomResourceDefinition": "customresourcedefinitions.apiextensions.k8s.io",
}
ANSWER_SECONDS: Final = 10
AT_ONCE: Final = 4
UNREACHABLE: Final = (
    "connection to the server",
    "Unable to connect",
    "dial tcp",
    "no such host",
    "i/o timeout",
    "Client.Timeout",
    "context deadline exceeded",
    "TLS handshake",
    "x509",
    "server could not find the requested resource",
    "EOF",
)
NOT_SERVED: Final = ("doesn't have a resource type", "no matches for kind")


@dataclass(frozen=True)
class Cluster:
    """How to reach it, with kubectl's own defaults. `namespace` is read where not all of them may be."""

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None


@dataclass(frozen=True)
class Live:
    """What the cluster told, and each kind that it would not tell, with why."""

    documents: tuple[Document, ...]
    unseen: Mapping[str, str] = field(default_factory=dict)


def read_cluster(cluster: Cluster) -> Live:
    """The objects of all kinds that matter to lint."""
    return asyncio.run(_read(cluster))


async def _read(cluster: Cluster) -> Live:
    documents: list[Document] = []
    unseen: dict[str, str] = {}
    places = asyncio.Semaphore(AT_ONCE)
    first, *others = KINDS

    async def look(kind: str) -> None:
        async with places:
            answer = await _get(cluster, kind, ["--all-namespaces"])
            if answer.code and "(Forbidden)" in answer.errors and cluster.namespace:
                answer = await _get(cluster, kind, ["--namespace", cluster.namespace])
        if answer.code:
            unseen[kind] = _why(answer)
        else:
            documents.extend(_documents(kind, answer.out))

    await look(first)  # alone: a dead cluster is told after one wait, not after one for every kind
    await asyncio.gather(*(look(kind) for kind in others))
    order = list(KINDS)
    return Live(tuple(sorted(documents, key=lambda each: order.index(each.kind))), unseen)


async def _get(cluster: Cluster, kind: str, where: list[str]) -> Answer:
    options = [f"--request-timeout={ANSWER_SECONDS}s", "--output=json", *where]
    if cluster.kubeconfig is not None:
        options.append(f"--kubeconfig={cluster.kubeconfig}")
    if cluster.context is not None:
        options.append(f"--context={cluster.context}")
    return await kubectl(["get", KINDS[kind], *options], 2 * ANSWER_SECONDS)


def _why(answer: Answer) -> str:
    """Why a kind is unseen, in one line. Raises CannotObserve where no kind could be read."""
    said = [" ".join(line.split()) for line in answer.errors.splitlines() if line.strip()]
    said = [line for line in said if not line.startswith(("Warning:", "E0", "E1", "W0", "W1", "I0", "I1"))] or said
    last = said[-1].removeprefix("error: ").removeprefix("Error from server ") if said else f"exit code {answer.code}"
    if any(text in answer.errors for text in NOT_SERVED):
        return "the cluster does not serve it"
    if "(Forbidden)" in answer.errors:
        return f"not permitted: {last.removeprefix('(Forbidden): ')[:200]}"
    if "(Unauthorized)" in answer.errors or "must be logged in" in answer.errors:
        raise CannotObserve(f"the cluster knows no such user ({last[:200]}): log in, or give --kubeconfig")
    if any(text in answer.errors for text in UNREACHABLE):
        raise CannotObserve(
            f"the cluster does not answer ({last[:200]}): check --kubeconfig, --context and the network"
        )
    if not answer.errors.startswith("Error from server"):  # kubectl itself: no such context, a broken kubeconfig
        raise CannotObserve(f"kubectl cannot ask the cluster ({last[:200]}): check --kubeconfig and --context")
    return last[:200]


def _documents(kind: str, out: bytes) -> list[Document]:
    try:
        items = as_maps(as_map(json.loads(out)).get("items"))
    except ValueError as error:
        raise CannotObserve(f"kubectl's answer for {KINDS[kind]} is no JSON ({error}): try again") from error
    small = [_definition(item) if kind == "CustomResourceDefinition" else _trimmed(item) for item in items]
    return [Document(CLUSTER, index, 1, {**item, "kind": kind}) for index, item in enumerate(small)]


def _trimmed(item: Mapping[str, Any]) -> dict[str, Any]:
    """An object without what only the API server needs."""
    metadata = {key: value for key, value in as_map(item.get("metadata")).items() if key != "managedFields"}
    return {**item, "metadata": metadata}


def _definition(item: Mapping[str, Any]) -> dict[str, Any]:
    """A definition's names and served versions, without its schemas, which are most of its megabytes."""
    versions = as_maps(dig(item, "spec.versions"))
    kept = [{key: each.get(key) for key in ("name", "served", "storage")} for each in versions]
    spec = {"group": dig(item, "spec.group"), "scope": dig(item, "spec.scope"), "names": dig(item, "spec.names")}
    metadata = {"name": as_text(dig(item, "metadata.name"))}
    return {"apiVersion": item.get("apiVersion"), "metadata": metadata, "spec": {**spec, "versions": kept}}
