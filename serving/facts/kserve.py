"""How KServe makes Pods out of an InferenceService in Standard mode: runtime and predictor merged, canaries inherited.

Follows the controller (KServe 0.20 and its main branch of August 2026: predictor.go, deployment_reconciler.go,
utils.go). What it cannot know without the runtime is left out, and `Workload.missing_runtime` of it says so.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

from serving.facts.manifests import Bundle, Document, near
from serving.facts.pods import Workload
from serving.facts.shape import EMPTY, as_map, as_maps, as_text, as_texts, as_whole, dig, text_map

SERVING: Final = "kserve-container"
MODE: Final = "serving.kserve.io/deploymentMode"
AUTOSCALER: Final = "serving.kserve.io/autoscalerClass"
MERGE_KEYS: Final = {  # lists of a PodSpec that strategic merge joins by a key; every other list replaces
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
}
# members of a predictor beside the PodSpec that is inlined into it
NOT_POD: Final = frozenset(
    {
        "name",
        "model",
        "minReplicas",
        "maxReplicas",
        "scaleTarget",
        "scaleMetric",
        "scaleMetricType",
        "autoScaling",
        "containerConcurrency",
        "timeout",
        "canaryTrafficPercent",
        "logger",
        "batcher",
        "labels",
        "annotations",
        "deploymentStrategy",
        "workerSpec",
        "storageUris",
    }
)
# members of a runtime beside its PodSpec
NOT_RUNTIME_POD: Final = frozenset(
    {
        "supportedModelFormats",
        "multiModel",
        "disabled",
        "protocolVersions",
        "workerSpec",
        "grpcEndpoint",
        "grpcDataEndpoint",
        "httpDataEndpoint",
        "replicas",
        "storageHelper",
        "builtInAdapter",
        "labels",
        "annotations",
    }
)
DEFAULT_STRATEGY: Final[Mapping[str, Any]] = {
    "type": "RollingUpdate",
    "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
}


def standard_mode(document: Document) -> bool | None:
    """Is it deployed as a Deployment (Standard mode)? None where that depends on the cluster's default."""
    mode = document.annotations.get(MODE)
    return None if mode is None else mode in ("Standard", "RawDeployment")


def deployment_name(document: Document, predictor: Mapping[str, Any]) -> str:
    """The Deployment and Service that KServe makes for a predictor."""
    name = as_text(predictor.get("name"))
    return f"{document.name}-{name}-predictor" if name else f"{document.name}-predictor"


def runtime_of(bundle: Bundle, document: Document, predictor: Mapping[str, Any]) -> Document | None:
    """The runtime of a predictor that has a `model`: by name, else by model format where one selects itself."""
    model = as_map(predictor.get("model"))
    name = as_text(model.get("runtime"))
    if name:
        return bundle.find("ServingRuntime", name, document.namespace) or bundle.find("ClusterServingRuntime", name)
    wanted = as_text(dig(model, "modelFormat.name"))
    for kind in ("ServingRuntime", "ClusterServingRuntime"):
        for each in bundle.known(kind):
            fits = kind != "ServingRuntime" or near(each.namespace, document.namespace)
            formats = as_maps(each.spec.get("supportedModelFormats"))
            if fits and any(one.get("name") == wanted and one.get("autoSelect") is True for one in formats):
                return each
    return None


def kserve_workloads(bundle: Bundle, document: Document) -> Iterator[Workload]:
    """The predictor's Pods, those of its multi-node workers, and those of every canary."""
    stable = as_map(document.spec.get("predictor"))
    yield _workload(bundle, document, stable, "spec.predictor", "main")
    if isinstance(stable.get("workerSpec"), Mapping):
        yield _workers(bundle, document, stable)
    for number, canary in enumerate(as_maps(document.spec.get("canary"))):
        merged = inherited(stable, as_map(canary.get("predictor")))
        yield _workload(bundle, document, merged, f"spec.canary[{number}].predictor", "canary", canary)


def inherited(stable: Mapping[str, Any], canary: Mapping[str, Any]) -> dict[str, Any]:
    """A canary's predictor as the controller completes it: unset members come from stable, lists replace whole.

    Zero values (0, false, "") cannot override, and the autoscaling members of stable are dropped.
    """
    merged = _overlaid(stable, canary)
    for member in ("maxReplicas", "scaleTarget", "scaleMetric", "autoScaling", "workerSpec", "deploymentStrategy"):
        merged.pop(member, None)
    merged["minReplicas"] = canary.get("minReplicas")
    return merged


def _overlaid(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping):
            merged[key] = _overlaid(as_map(merged.get(key)), value)
        elif value not in (None, 0, False, "", []):
            merged[key] = value
    return merged


def _workload(
    bundle: Bundle,
    document: Document,
    predictor: Mapping[str, Any],
    path: str,
    role: str,
    canary: Mapping[str, Any] = EMPTY,
) -> Workload:
    model = predictor.get("model")
    runtime = runtime_of(bundle, document, predictor) if isinstance(model, Mapping) else None
    ours = {key: value for key, value in predictor.items() if key not in NOT_POD}
    spec: Mapping[str, Any] = ours
    if isinstance(model, Mapping):
        spec = _with_runtime(runtime, model, ours)
    deployment = deployment_name(document, predictor)
    labels = text_map(dig(runtime.body, "spec.labels")) if runtime else {}
    annotations = text_map(dig(runtime.body, "spec.annotations")) if runtime else {}
    labels |= document.labels | text_map(predictor.get("labels"))
    labels |= {
        "app": f"isvc.{deployment}",
        "serving.kserve.io/inferenceservice": document.name,
        "component": "predictor",
    }
    return Workload(
        document,
        deployment,
        path,
        spec,
        labels,
        annotations | document.annotations | text_map(predictor.get("annotations")),
        replicas=_canary_replicas(document, predictor, canary) if role == "canary" else _replicas(predictor),
        strategy=as_map(predictor.get("deploymentStrategy")) or DEFAULT_STRATEGY,
        role=role,
        runtime=runtime,
        missing_runtime=isinstance(model, Mapping) and runtime is None,
    )


def _replicas(predictor: Mapping[str, Any]) -> int:
    given = as_whole(predictor.get("minReplicas"))
    return 1 if given is None else given


def _canary_replicas(document: Document, predictor: Mapping[str, Any], canary: Mapping[str, Any]) -> int:
    """minReplicas if it is set, else the traffic's share of stable's, rounded up: 0 percent gives no Pod at all."""
    given = as_whole(predictor.get("minReplicas"))
    if given is not None:
        return given
    stable = _replicas(as_map(document.spec.get("predictor")))
    return -(-stable * (as_whole(canary.get("trafficPercent")) or 0) // 100)


def _with_runtime(runtime: Document | None, model: Mapping[str, Any], ours: Mapping[str, Any]) -> Mapping[str, Any]:
    base = {key: value for key, value in runtime.spec.items() if key not in NOT_RUNTIME_POD} if runtime else {}
    own = {key: value for key, value in model.items() if key not in ("modelFormat", "runtime", "storageUri", "storage")}
    own.pop("runtimeVersion", None)
    own.pop("protocolVersion", None)
    spec = copy.deepcopy(dict(base))
    containers = as_maps(spec.get("containers"))
    serving = next((each for each in containers if each.get("name") == SERVING), {"name": SERVING})
    merged = merge(serving, own | {"name": SERVING})
    merged["args"] = [*as_texts(serving.get("args")), *as_texts(own.get("args"))]
    others = [each for each in containers if each.get("name") != SERVING]
    spec["containers"] = [merged, *others]
    return merge(spec, ours)


def merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Kubernetes' strategic merge, as far as a PodSpec needs it: maps by key, some lists by their key, others whole.

    >>> merge({"env": [{"name": "A", "value": "1"}]}, {"env": [{"name": "B", "value": "2"}]})
    {'env': [{'name': 'A', 'value': '1'}, {'name': 'B', 'value': '2'}]}
    """
    merged = dict(base)
    for key, value in patch.items():
        before = merged.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            merged[key] = merge(before, value)
        elif key in MERGE_KEYS and isinstance(value, list) and isinstance(before, list):
            merged[key] = _joined(as_maps(before), as_maps(value), MERGE_KEYS[key])
        elif value is not None:
            merged[key] = value
    return merged


def _joined(before: list[Mapping[str, Any]], items: list[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    found: dict[Any, Mapping[str, Any]] = {str(each.get(key)): each for each in before}
    for each in items:
        name = str(each.get(key))
        found[name] = merge(found[name], each) if name in found else each
    return list(found.values())


def _workers(bundle: Bundle, document: Document, predictor: Mapping[str, Any]) -> Workload:
    """The worker Deployment of a multi-node predictor: the runtime's workerSpec under the predictor's."""
    worker = as_map(predictor.get("workerSpec"))
    runtime = runtime_of(bundle, document, predictor)
    base = as_map(runtime.spec.get("workerSpec")) if runtime else EMPTY
    spec = merge(base, worker)
    pipeline = as_whole(spec.get("pipelineParallelSize")) or 1
    spec = {key: value for key, value in spec.items() if key not in ("pipelineParallelSize", "tensorParallelSize")}
    name = f"{deployment_name(document, predictor)}-worker"
    return Workload(
        document,
        name,
        "spec.predictor.workerSpec",
        spec,
        document.labels | {"app": f"isvc.{name}", "serving.kserve.io/inferenceservice": document.name},
        document.annotations,
        replicas=max(pipeline - 1, 1),
        strategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "100%"}},
        role="worker",
        runtime=runtime,
        missing_runtime=runtime is None,
    )


def workloads_of(bundle: Bundle, document: Document) -> Iterator[Workload]:
    """The Pods that one document leads to."""
    if document.kind == "InferenceService":
        yield from kserve_workloads(bundle, document)
    elif document.kind == "LLMInferenceService":
        yield from _llm_workloads(document)


def _llm_workloads(document: Document) -> Iterator[Workload]:
    labels = {"app.kubernetes.io/name": document.name, "app.kubernetes.io/part-of": "llminferenceservice"}
    for path in ("spec.template", "spec.worker", "spec.prefill.template", "spec.prefill.worker"):
        spec = dig(document.body, path)
        if isinstance(spec, Mapping):
            replicas = as_whole(dig(document.body, "spec.replicas"))
            role = "worker" if path.endswith("worker") else "main"
            yield Workload(document, document.name, path, spec, labels, document.annotations, replicas or 1, role=role)
