"""What the members of an InferenceService mean: its mode, its predictors and canaries, their models and names.

Reads one document; how KServe merges it with a runtime is in `kserve.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from serving.facts.kube.manifests import Document
from serving.facts.kube.shape import as_map, as_maps, as_text, as_whole

SERVING: Final = "kserve-container"
TRANSFORMER: Final = "transformer-container"
MODE: Final = "serving.kserve.io/deploymentMode"
AUTOSCALER: Final = "serving.kserve.io/autoscalerClass"
ISVC_LABEL: Final = "serving.kserve.io/inferenceservice"
RUNTIMES: Final = ("ServingRuntime", "ClusterServingRuntime")  # the namespace's own come before the cluster's
# the older form of a model: the webhook turns `sklearn: {...}` into `model: {modelFormat: {name: sklearn}, ...}`
FRAMEWORKS: Final = (
    "sklearn",
    "xgboost",
    "tensorflow",
    "pytorch",
    "triton",
    "onnx",
    "huggingface",
    "pmml",
    "lightgbm",
    "paddle",
)
# members of a predictor beside the PodSpec that is inlined into it
NOT_POD: Final = frozenset(
    {
        *FRAMEWORKS,
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
        "storageContainerName",
    }
)
# members of a model beside the Container that is inlined into it
NOT_CONTAINER: Final = frozenset(
    {"modelFormat", "runtime", "storageUri", "storage", "runtimeVersion", "protocolVersion", "confidential"}
)
# all that KServe takes of a runtime's PodSpec; hostIPC, for one, is lost
RUNTIME_POD: Final = (
    "nodeSelector",
    "affinity",
    "tolerations",
    "volumes",
    "imagePullSecrets",
    "schedulerName",
    "resourceClaims",
)


def standard_mode(document: Document) -> bool | None:
    """Is it deployed as a Deployment (Standard mode)? None where that depends on the cluster's default."""
    mode = document.annotations.get(MODE)
    return None if mode is None else mode in ("Standard", "RawDeployment")


def deployment_name(document: Document, predictor: Mapping[str, Any]) -> str:
    """The Deployment and Service that KServe makes for a predictor."""
    name = as_text(predictor.get("name"))
    return f"{document.name}-{name}-predictor" if name else f"{document.name}-predictor"


def model_of(predictor: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The predictor's model, in whichever form it was written; None for a custom container."""
    model = predictor.get("model")
    if isinstance(model, Mapping):
        return model
    for framework in FRAMEWORKS:
        if isinstance(predictor.get(framework), Mapping):
            return {"modelFormat": {"name": framework}, **as_map(predictor.get(framework))}
    return None


def model_path(predictor: Mapping[str, Any]) -> str:
    """The member in which its model was written."""
    return next((name for name in FRAMEWORKS if isinstance(predictor.get(name), Mapping)), "model")


def storage_uri(predictor: Mapping[str, Any]) -> str:
    """The URI that KServe compares: the model's, or `STORAGE_URI` of a custom container; empty where there is none."""
    model = model_of(predictor)
    if model is not None:
        return as_text(model.get("storageUri"))
    for container in as_maps(predictor.get("containers")):
        if container.get("name") == SERVING:
            for item in as_maps(container.get("env")):
                if item.get("name") == "STORAGE_URI":
                    return as_text(item.get("value"))
    return ""


def canaries(document: Document) -> list[tuple[int, Mapping[str, Any]]]:
    """Entries of `spec.canary` that are mappings, each with its number there."""
    given = document.spec.get("canary")
    if not isinstance(given, list):
        return []
    return [(number, each) for number, each in enumerate(given) if isinstance(each, Mapping)]


def components(document: Document) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Everything of an InferenceService that becomes Pods, as written: predictor, transformer, explainer, canaries."""
    for name in ("predictor", "transformer", "explainer"):
        yield f"spec.{name}", as_map(document.spec.get(name))
    for number, canary in canaries(document):
        yield f"spec.canary[{number}].predictor", as_map(canary.get("predictor"))


def least_replicas(predictor: Mapping[str, Any]) -> int:
    """The minReplicas of a predictor or a component; one where it states none."""
    given = as_whole(predictor.get("minReplicas"))
    return 1 if given is None else given
