"""What must hold of any set of documents here: each check yields a line for every problem, and has mutants."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from tests.manifests.pods import Object, Pods, pods

GPU: Final = re.compile(r"nvidia\.com/(gpu|gpu\.shared|mig-.+)")
CLUSTER_WIDE: Final = {"Namespace", "PriorityClass", "ClusterPolicy", "Queue"}


def identity(objects: list[Object]) -> Iterator[str]:
    """Everything has a name of its own, and a namespace exactly where it can have one."""
    for each in objects:
        missing = [key for key in ("apiVersion", "kind") if not each.get(key)]
        metadata = each.get("metadata", {})
        if missing or not metadata.get("name"):
            yield f"{each.get('kind')}: no {missing or 'name'}"
        elif (each["kind"] in CLUSTER_WIDE) == ("namespace" in metadata):
            yield f"{each['kind']}/{metadata['name']}: namespace {metadata.get('namespace')}"
    counted = Counter((o["kind"], o["metadata"].get("namespace"), o["metadata"].get("name")) for o in objects)
    yield from (f"{key}: {count} times" for key, count in counted.items() if count > 1)


def pinned(objects: list[Object]) -> Iterator[str]:
    """Every image says which one it is."""
    for each in pods(objects):
        for container in each.containers:
            tag = container["image"].rpartition("/")[2].partition(":")[2]
            if tag in ("", "latest"):
                yield f"{each.owner}: image {container['image']}"


def placement(objects: list[Object]) -> Iterator[str]:
    """GPU request, limit, selector and toleration: all of them or none."""
    for each in pods(objects):
        limits = {k: v for c in each.containers for k, v in c["resources"]["limits"].items() if GPU.fullmatch(k)}
        requests = {k: v for c in each.containers for k, v in c["resources"]["requests"].items() if GPU.fullmatch(k)}
        if limits != requests:
            yield f"{each.owner}: requests {requests}, limits {limits}"
        selected = each.spec.get("nodeSelector", {}).get("nvidia.com/gpu.present") == "true"
        tolerated = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in each.spec.get(
            "tolerations", []
        )
        if {bool(limits), selected, tolerated} == {True, False}:
            yield f"{each.owner}: limit {limits}, selector {selected}, toleration {tolerated}"


def selection(objects: list[Object]) -> Iterator[str]:
    """Whatever selects Pods finds some, in its own namespace."""
    labels = [each.labels for each in pods(objects)]
    for each in objects:
        spec = each.get("spec", {})
        if each["kind"] == "Service":
            wanted = spec["selector"]
        elif each["kind"] in ("PodDisruptionBudget", "PodMonitor"):
            wanted = spec["selector"]["matchLabels"]
        elif each["kind"] == "NetworkPolicy":
            wanted = spec["podSelector"].get("matchLabels", {})
        else:
            continue
        if wanted and not any(wanted.items() <= found.items() for found in labels):
            yield f"{each['kind']}/{each['metadata']['name']}: selects no Pod by {wanted}"


def hardened(objects: list[Object]) -> Iterator[str]:
    """Restricted Pods without a token, without service links, on a root that cannot be written."""
    for each in pods(objects):
        if each.spec.get("automountServiceAccountToken") is not False:
            yield f"{each.owner}: mounts a token"
        if each.spec.get("enableServiceLinks") is not False:
            yield f"{each.owner}: has service links"
        security = each.spec.get("securityContext", {})
        if not security.get("runAsNonRoot") or security.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{each.owner}: Pod's security context {security}"
        for container in each.containers:
            own = container.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{each.owner}/{container['name']}: security context {own}"
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{each.owner}/{container['name']}: writes its root"


def sized(objects: list[Object]) -> Iterator[str]:
    """CPU and memory are always stated: KServe would give an engine 2Gi, a quota would refuse the Pod."""
    for each in pods(objects):
        for container in each.containers:
            for kind in ("requests", "limits"):
                if missing := {"cpu", "memory"} - container.get("resources", {}).get(kind, {}).keys():
                    yield f"{each.owner}/{container['name']}: no {kind} of {sorted(missing)}"


def finite(objects: list[Object]) -> Iterator[str]:
    """Finite work ends: it may not start over for ever, run for ever, or lie around for ever."""
    for each in objects:
        spec = each.get("spec", {})
        if each["kind"] == "Job":
            told = {key: spec.get(key) for key in ("backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")}
        elif each["kind"] == "TrainingRuntime":
            jobs = spec["template"]["spec"]
            told = {
                "maxRestarts": jobs.get("failurePolicy", {}).get("maxRestarts"),
                "backoffLimit": jobs["replicatedJobs"][0]["template"]["spec"].get("backoffLimit"),
                "ttlSecondsAfterFinished": jobs.get("ttlSecondsAfterFinished"),
            }
        elif each["kind"] in ("TrainJob", "Pod"):
            told = {"activeDeadlineSeconds": spec.get("activeDeadlineSeconds")}
        else:
            continue
        yield from (f"{each['kind']}: no {key}" for key, value in told.items() if value is None)
    for group in pods(objects):
        if group.finite and group.spec.get("restartPolicy") not in ("Never", "OnFailure"):
            yield f"{group.owner}: restartPolicy {group.spec.get('restartPolicy')}"


def mounted(objects: list[Object]) -> Iterator[str]:
    """Every mount has its volume, and every claim or ConfigMap is in here; the claim `models` is the user's."""
    there = {(each["kind"], each["metadata"]["name"]) for each in objects}
    for each in pods(objects):
        volumes = {volume["name"]: volume for volume in each.spec.get("volumes", [])}
        for container in each.containers:
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{each.owner}: no volume {mount['name']}"
        for volume in volumes.values():
            claim = volume.get("persistentVolumeClaim", {}).get("claimName", "models")
            if claim != "models" and ("PersistentVolumeClaim", claim) not in there:
                yield f"{each.owner}: no claim {claim}"
            config = volume.get("configMap", {}).get("name")
            if config and ("ConfigMap", config) not in there:
                yield f"{each.owner}: no ConfigMap {config}"


def canary(objects: list[Object]) -> Iterator[str]:
    """What KServe's webhook, and only it, refuses of a canary, and what would leave one without a Pod."""
    for service in (each for each in objects if each["kind"] == "InferenceService"):
        stable = service["spec"]["predictor"]
        if service["metadata"]["annotations"].get("serving.kserve.io/deploymentMode") != "Standard":
            yield "deploymentMode is not Standard"
        names = [stable.get("name")]
        for each in service["spec"].get("canary", []):
            predictor = each["predictor"]
            names.append(predictor.get("name"))
            if predictor["model"].get("storageUri") in (None, stable["model"]["storageUri"]):
                yield "the canary's URI is the stable one's: it could not be promoted without a restart"
            if not 1 <= predictor.get("minReplicas", 0) <= stable.get("minReplicas", 1):
                yield f"canary's minReplicas {predictor.get('minReplicas')}"
            if predictor["model"].get("name") != "kserve-container":
                yield "the CRD requires model.name within a canary"
            if taken := {"workerSpec", "maxReplicas", "scaleTarget", "scaleMetric", "autoScaling"} & predictor.keys():
                yield f"a canary must not set {sorted(taken)}"
            if predictor["model"]["resources"] != stable["model"]["resources"]:
                yield "the canary's resources are not the stable one's"
        if None in names or len(set(names)) < len(names):
            yield f"names {names}"
        if sum(each["trafficPercent"] for each in service["spec"].get("canary", [])) > 100:
            yield "more than 100 %"


def demand(groups: list[Pods], resource: str) -> int:
    """How many of a resource all Pods want at once, with every surge."""
    return sum((each.replicas + each.surge) * int(each.asks("requests", resource)) for each in groups)


CHECKS: Final[dict[str, Any]] = {
    each.__name__: each for each in (identity, pinned, placement, selection, hardened, sized, finite, mounted, canary)
}
