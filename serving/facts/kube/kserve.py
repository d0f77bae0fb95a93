"""How KServe makes Pods out of an InferenceService: runtime and predictor merged, canaries inherited.

Follows the controller (KServe 0.20 and its main branch of August 2026: predictor.go, deployment_reconciler.go,
utils.go). What it cannot know without the runtime is left out, and `Workload.missing_runtime` of it says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from serving.facts.kube.image import read_image
from serving.facts.kube.llm_inference_service import llm_workloads
from serving.facts.kube.manifests import Bundle, Document, near
from serving.facts.kube.merging import filled, merge, overlaid
from serving.facts.kube.multinode import worker_template
from serving.facts.kube.pods import Workload
from serving.facts.kube.predictor import (
    ISVC_LABEL,
    NOT_CONTAINER,
    NOT_POD,
    RUNTIME_POD,
    RUNTIMES,
    SERVING,
    TRANSFORMER,
    canaries,
    deployment_name,
    least_replicas,
    model_of,
    model_path,
)
from serving.facts.kube.shape import EMPTY, as_map, as_maps, as_text, as_texts, as_whole, dig, text_map

DEFAULT_STRATEGY: Final[Mapping[str, Any]] = {
    "type": "RollingUpdate",
    "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
}


def runtime_of(bundle: Bundle, document: Document, predictor: Mapping[str, Any]) -> Document | None:
    """The runtime of a predictor that has a `model`: by name, else by model format where one selects itself.

    The namespace's own come before the cluster's, and among equals the highest priority for the format.
    """
    model = model_of(predictor) or EMPTY
    name = as_text(model.get("runtime"))
    if name:
        return bundle.find("ServingRuntime", name, document.namespace) or bundle.find("ClusterServingRuntime", name)
    nodes = isinstance(predictor.get("workerSpec"), Mapping)
    for kind in RUNTIMES:
        found = [
            each
            for each in bundle.known(kind)
            if (kind != "ServingRuntime" or near(each.namespace, document.namespace))
            and each.spec.get("disabled") is not True
            and each.spec.get("multiModel") is not True
            and isinstance(each.spec.get("workerSpec"), Mapping) is nodes
            and supports(each, model)
        ]
        if found:
            return min(found, key=lambda each: (-_priority(each, model), each.name))
    return None


def supports(runtime: Document, model: Mapping[str, Any]) -> bool:
    """Does a runtime take this model's format, and its version if it names one? Unnamed, it must select itself."""
    name, version = as_text(dig(model, "modelFormat.name")), as_text(dig(model, "modelFormat.version"))
    return any(
        as_text(each.get("name")) == name
        and version in ("", as_text(each.get("version")))
        and (bool(model.get("runtime")) or each.get("autoSelect") is True)
        for each in as_maps(runtime.spec.get("supportedModelFormats"))
    )


def _priority(runtime: Document, model: Mapping[str, Any]) -> int:
    wanted = as_text(dig(model, "modelFormat.name"))
    formats = [each for each in as_maps(runtime.spec.get("supportedModelFormats")) if each.get("name") == wanted]
    return max((as_whole(each.get("priority")) or 0 for each in formats), default=0)


def workloads_of(bundle: Bundle, document: Document) -> Iterator[Workload]:
    """The Pods that KServe makes of one document; none for kinds that are not KServe's."""
    if document.kind == "InferenceService":
        yield from kserve_workloads(bundle, document)
    elif document.kind == "LLMInferenceService":
        yield from llm_workloads(document)


def kserve_workloads(bundle: Bundle, document: Document) -> Iterator[Workload]:
    """The predictor's Pods, those of its multi-node workers, of every canary, and of transformer and explainer."""
    stable = as_map(document.spec.get("predictor"))
    yield _workload(bundle, document, stable, "spec.predictor", "main")
    if isinstance(stable.get("workerSpec"), Mapping):
        yield _workers(bundle, document, stable)
    for number, canary in canaries(document):
        merged = inherited(stable, as_map(canary.get("predictor")))
        yield _workload(bundle, document, merged, f"spec.canary[{number}].predictor", "canary", canary)
    for component in ("transformer", "explainer"):
        written = as_map(document.spec.get(component))
        if as_maps(written.get("containers")):
            yield _component(document, component, written)


def inherited(stable: Mapping[str, Any], canary: Mapping[str, Any]) -> dict[str, Any]:
    """A canary's predictor as the controller completes it: unset members come from stable, lists replace whole.

    Zero values (0, false, "") cannot override. Autoscaling, workers and the rollout strategy of stable are dropped, and
    so are the canary's own strategy and storageUris: the controller passes neither on.
    """
    merged = overlaid(stable, canary)
    for member in (
        "maxReplicas",
        "scaleTarget",
        "scaleMetric",
        "autoScaling",
        "workerSpec",
        "deploymentStrategy",
        "storageUris",
    ):
        merged.pop(member, None)
    merged["minReplicas"] = canary.get("minReplicas")
    return merged


def _workload(
    bundle: Bundle,
    document: Document,
    predictor: Mapping[str, Any],
    path: str,
    role: str,
    canary: Mapping[str, Any] = EMPTY,
) -> Workload:
    model = model_of(predictor)
    runtime = runtime_of(bundle, document, predictor) if model is not None else None
    ours = {key: value for key, value in predictor.items() if key not in NOT_POD}
    spec = _custom(ours, role) if model is None else _with_runtime(document, runtime, model, ours)
    deployment = deployment_name(document, predictor)
    return Workload(
        document,
        deployment,
        path,
        spec,
        _labels(document, runtime.spec if runtime else EMPTY, predictor, f"isvc.{deployment}"),
        _annotations(document, runtime.spec if runtime else EMPTY, predictor),
        replicas=_canary_replicas(document, predictor, canary) if role == "canary" else least_replicas(predictor),
        strategy=as_map(predictor.get("deploymentStrategy")) or DEFAULT_STRATEGY,
        role=role,
        runtime=runtime,
        missing_runtime=model is not None and runtime is None,
        places={} if model is None else {SERVING: f"{path}.{model_path(predictor)}"},
    )


def _labels(
    document: Document, runtime: Mapping[str, Any], predictor: Mapping[str, Any], app: str, component: str = "predictor"
) -> dict[str, str]:
    """Labels of the Pods: the runtime's under the InferenceService's under the predictor's, and KServe's own."""
    labels = text_map(runtime.get("labels")) | document.labels | text_map(predictor.get("labels"))
    return labels | {"app": app, ISVC_LABEL: document.name, "component": component}


def _annotations(document: Document, runtime: Mapping[str, Any], predictor: Mapping[str, Any]) -> dict[str, str]:
    return text_map(runtime.get("annotations")) | document.annotations | text_map(predictor.get("annotations"))


def _canary_replicas(document: Document, predictor: Mapping[str, Any], canary: Mapping[str, Any]) -> int:
    """minReplicas if it is set, else the traffic's share of stable's, rounded up: 0 percent gives no Pod at all."""
    given = as_whole(predictor.get("minReplicas"))
    if given is not None:
        return given
    stable = least_replicas(as_map(document.spec.get("predictor")))
    return -(-stable * (as_whole(canary.get("trafficPercent")) or 0) // 100)


def _custom(ours: Mapping[str, Any], role: str) -> Mapping[str, Any]:
    """A custom predictor. The webhook names a single container (but no canary's: it does not look there)."""
    containers = as_maps(ours.get("containers"))
    if role == "canary" or not containers or not (len(containers) == 1 or not containers[0].get("name")):
        return ours
    return {**ours, "containers": [{**containers[0], "name": SERVING}, *containers[1:]]}


def _with_runtime(
    document: Document, runtime: Document | None, model: Mapping[str, Any], ours: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The PodSpec of a runtime and a predictor: serving container, transformer, the runtime's others, the predictor's.

    The serving containers are merged, and so are the transformers; arguments are joined, the predictor's behind the
    runtime's. A model's `name` renames the container, which only a canary may have.
    """
    theirs = runtime.spec if runtime else EMPTY
    base = {key: theirs[key] for key in RUNTIME_POD if key in theirs}
    own = {key: value for key, value in model.items() if key not in NOT_CONTAINER}
    given, added = as_maps(theirs.get("containers")), as_maps(ours.get("containers"))
    serving = _joined_container(_named(given, SERVING) or {"name": SERVING}, own)
    serving = filled(_versioned(serving, as_text(model.get("runtimeVersion"))), document.metadata)
    transformer = [each for each in (_named(given, TRANSFORMER), _named(added, TRANSFORMER)) if each]
    containers = [serving]
    if transformer:
        both = transformer[0] if len(transformer) == 1 else _joined_container(transformer[0], transformer[1])
        containers.append(filled(both, document.metadata))
    containers += [each for each in given if each.get("name") not in (SERVING, TRANSFORMER)]
    containers += [each for each in added if each.get("name") != TRANSFORMER]
    return {**merge(base, ours), "containers": containers}


def _named(containers: list[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    return next((each for each in containers if each.get("name") == name), None)


def _joined_container(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = merge(base, own)
    arguments = [*as_texts(base.get("args")), *as_texts(own.get("args"))]
    return {**merged, "args": arguments} if arguments else merged


def _versioned(container: Mapping[str, Any], version: str) -> Mapping[str, Any]:
    """`runtimeVersion` is the image's tag, unless the image is a digest."""
    image = read_image(as_text(container.get("image")))
    if not version or not image.repository or image.digest:
        return container
    return {**container, "image": f"{image.repository}:{version}"}


def _workers(bundle: Bundle, document: Document, predictor: Mapping[str, Any]) -> Workload:
    """The worker Deployment of a multi-node predictor; its name knows nothing of the predictor's name."""
    runtime = runtime_of(bundle, document, predictor)
    theirs = as_map(runtime.spec.get("workerSpec")) if runtime else EMPTY
    written = as_map(predictor.get("workerSpec"))
    head = _workload(bundle, document, predictor, "spec.predictor", "main")
    backend = as_text(dig(runtime.spec, "annotations.multinode/executor-backend")) if runtime else ""
    base = {key: theirs[key] for key in (*RUNTIME_POD, "containers") if key in theirs}
    spec, replicas = worker_template(merge, base, theirs, written, head.spec, backend)
    strategy = as_map(predictor.get("deploymentStrategy")) or DEFAULT_STRATEGY
    if strategy.get("type") == "RollingUpdate":
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "0%", "maxSurge": "100%"}}
    return Workload(
        document,
        f"{document.name}-predictor-worker",
        "spec.predictor.workerSpec",
        spec,
        _labels(document, theirs, predictor, f"isvc.{head.name}-worker"),
        _annotations(document, theirs, predictor),
        replicas=replicas,
        strategy=strategy,
        role="worker",
        runtime=runtime,
        missing_runtime=runtime is None,
    )


def _component(document: Document, component: str, written: Mapping[str, Any]) -> Workload:
    name = f"{document.name}-{component}"
    return Workload(
        document,
        name,
        f"spec.{component}",
        {key: value for key, value in written.items() if key not in NOT_POD},
        _labels(document, EMPTY, written, f"isvc.{name}", component),
        _annotations(document, EMPTY, written),
        replicas=least_replicas(written),
        strategy=as_map(written.get("deploymentStrategy")) or DEFAULT_STRATEGY,
        role=component,
    )
