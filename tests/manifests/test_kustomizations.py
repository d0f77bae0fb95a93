"""Every kustomization, and every component on the base: it builds, it is legal, and nothing contradicts the rest."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import kubernetes_validate
import pytest

from tests.manifests.checks import CHECKS
from tests.manifests.kustomize import COMPONENTS, KUSTOMIZATIONS, Object, build, endpoint_with, only

OURS = ("serving.kserve.io", "nvidia.com", "monitoring.coreos.com", "scheduling.volcano.sh", "trainer.kubeflow.org")
IN_BASE = ("components/labels", "components/network-policy")
SETS = [
    *(pytest.param(path, (), id=path) for path in KUSTOMIZATIONS),
    *(
        pytest.param("base", (path.removeprefix("components/"), "labels"), id=path)
        for path in COMPONENTS
        if path not in IN_BASE
    ),
]


def _objects(path: str, components: tuple[str, ...]) -> list[Object]:
    return endpoint_with(*components, resources=[path]) if components else build(path)


@pytest.fixture(scope="module", autouse=True)
def _files_that_the_validator_leaves_open() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def test_there_is_something_to_check():
    assert {"base", "pool", "gpu-operator", "overlays/gpu-pool", "jobs/fine-tune/volcano"} <= set(KUSTOMIZATIONS)
    assert {"components/gpu-mig", "components/canary", "components/monitoring"} <= set(COMPONENTS)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@pytest.mark.parametrize(("path", "components"), SETS)
def test_it_holds(check: Callable[[list[Object]], Iterator[str]], path: str, components: tuple[str, ...]):
    assert not list(check(_objects(path, components)))


@pytest.mark.parametrize(("path", "components"), SETS)
def test_kubernetes_takes_its_own_kinds(path: str, components: tuple[str, ...]):
    core = [each for each in _objects(path, components) if each["apiVersion"].partition("/")[0] not in OURS]
    for each in core:
        kubernetes_validate.validate(each, "1.36", strict=True)


def test_the_validator_is_not_blind():
    budget = only(build("base"), "PodDisruptionBudget")
    budget["spec"]["maxUnavailabel"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(budget, "1.36", strict=True)


def _drop(*path: str | int) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        for step in path[:-1]:
            found = found[step]
        del found[path[-1]]

    return change


def _put(value: Any, *path: str | int) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        for step in path[:-1]:
            found = found[step]
        found[path[-1]] = value

    return change


PREDICTOR = ("spec", "predictor")
CONTAINER = ("spec", "template", "spec", "containers", 0)
CANARY = ("spec", "canary", 0, "predictor")


@pytest.mark.parametrize(
    ("check", "path", "kind", "change", "told"),
    [
        pytest.param("identity", "base", "ServiceAccount", _drop("metadata", "name"), "no name", id="no name"),
        pytest.param("identity", "base", "ServiceAccount", _drop("apiVersion"), "apiVersion", id="no apiVersion"),
        pytest.param("identity", "pool", "PriorityClass", _put("llm", "metadata", "namespace"), "llm", id="namespace"),
        pytest.param("identity", "base", "ServiceAccount", _drop("metadata", "namespace"), "None", id="no namespace"),
        pytest.param("pinned", "gpu-smoke-test", "Pod", _put("a:latest", "spec", "containers", 0, "image"), "latest",
                     id="latest"),
        pytest.param("pinned", "base", "ServingRuntime", _put("h:5/a", "spec", "containers", 0, "image"), "h:5/a",
                     id="no tag behind a port"),
        pytest.param("placement", "overlays/gpu-pool", "InferenceService",
                     _drop(*PREDICTOR, "model", "resources", "limits", "nvidia.com/gpu"), "limits {}", id="limit lost"),
        pytest.param("placement", "overlays/gpu-pool", "InferenceService", _drop(*PREDICTOR, "nodeSelector"),
                     "selector False", id="selector lost"),
        pytest.param("placement", "overlays/gpu-pool", "InferenceService", _drop(*PREDICTOR, "tolerations"),
                     "toleration False", id="toleration lost"),
        pytest.param("placement", "base", "InferenceService",
                     _put({"nvidia.com/gpu.present": "true"}, *PREDICTOR, "nodeSelector"), "limit {}", id="selector"),
        pytest.param("selection", "base", "PodDisruptionBudget",
                     _put("other", "spec", "selector", "matchLabels", "serving.kserve.io/inferenceservice"),
                     "selects no Pod", id="budget of another"),
        pytest.param("selection", "overlays/gpu-pool", "NetworkPolicy",
                     _put("worker", "spec", "podSelector", "matchLabels", "component"), "selects no Pod", id="policy"),
        pytest.param("selection", "jobs/fine-tune/volcano", "Job", _put("other", "metadata", "name"), "Service",
                     id="service of a renamed job"),
        pytest.param("hardened", "base", "InferenceService", _drop(*PREDICTOR, "enableServiceLinks"), "service links",
                     id="service links"),
        pytest.param("hardened", "base", "InferenceService",
                     _put(True, *PREDICTOR, "automountServiceAccountToken"), "token", id="token"),
        pytest.param("hardened", "base", "InferenceService", _drop(*PREDICTOR, "securityContext", "runAsNonRoot"),
                     "security context", id="root"),
        pytest.param("hardened", "jobs/batch-inference", "Job", _drop(*CONTAINER, "securityContext", "capabilities"),
                     "security context", id="capabilities"),
        pytest.param("hardened", "jobs/batch-inference", "Job",
                     _drop(*CONTAINER, "securityContext", "readOnlyRootFilesystem"), "writes its root", id="root fs"),
        pytest.param("sized", "base", "InferenceService", _drop(*PREDICTOR, "model", "resources", "limits", "memory"),
                     "no limits of ['memory']", id="no memory limit"),
        pytest.param("finite", "jobs/batch-inference", "Job", _drop("spec", "activeDeadlineSeconds"),
                     "activeDeadlineSeconds", id="no deadline"),
        pytest.param("finite", "jobs/batch-inference", "Job", _drop("spec", "ttlSecondsAfterFinished"),
                     "ttlSecondsAfterFinished", id="no ttl"),
        pytest.param("finite", "jobs/fine-tune/trainjob", "TrainJob", _drop("spec", "activeDeadlineSeconds"),
                     "activeDeadlineSeconds", id="no deadline of a TrainJob"),
        pytest.param("finite", "jobs/fine-tune/trainjob", "TrainingRuntime",
                     _drop("spec", "template", "spec", "failurePolicy"), "maxRestarts", id="endless restarts"),
        pytest.param("finite", "gpu-smoke-test", "Pod", _put("Always", "spec", "restartPolicy"), "Always", id="Always"),
        pytest.param("mounted", "jobs/fine-tune/job", "PersistentVolumeClaim", _put("x", "metadata", "name"),
                     "no claim fine-tune", id="no claim"),
        pytest.param("mounted", "jobs/fine-tune/job", "ConfigMap", _put("x", "metadata", "name"), "no ConfigMap",
                     id="no program"),
        pytest.param("mounted", "base", "ServingRuntime", _drop("spec", "volumes", 0), "no volume shm", id="no volume"),
        pytest.param("canary", "overlays/canary-rehearsal", "InferenceService",
                     _put("pvc://models/qwen3-0.6b/r1", *CANARY, "model", "storageUri"), "URI", id="same URI"),
        pytest.param("canary", "overlays/canary-rehearsal", "InferenceService", _drop(*CANARY, "minReplicas"),
                     "minReplicas None", id="no replicas"),
        pytest.param("canary", "overlays/canary-rehearsal", "InferenceService", _put(5, *CANARY, "minReplicas"),
                     "minReplicas 5", id="more replicas than stable"),
        pytest.param("canary", "overlays/canary-rehearsal", "InferenceService", _drop(*CANARY, "model", "name"),
                     "model.name", id="no model.name"),
        pytest.param("canary", "overlays/canary-rehearsal", "InferenceService", _put("r1", *CANARY, "name"), "names",
                     id="same name"),
        pytest.param("canary", "overlays/canary-rehearsal", "InferenceService", _put(4, *CANARY, "maxReplicas"),
                     "must not set ['maxReplicas']", id="maxReplicas"),
        pytest.param("canary", "overlays/canary-rehearsal", "InferenceService",
                     _put({}, *CANARY, "model", "resources"), "resources", id="other resources"),
        pytest.param("canary", "overlays/canary-rehearsal", "InferenceService",
                     _put(101, "spec", "canary", 0, "trafficPercent"), "100", id="over 100 %"),
        pytest.param("canary", "overlays/canary-rehearsal", "InferenceService",
                     _put("Knative", "metadata", "annotations", "serving.kserve.io/deploymentMode"), "Standard",
                     id="mode"),
    ],
)  # fmt: skip
def test_a_mutant_is_told(check: str, path: str, kind: str, change: Callable[[Any], None], told: str):
    objects = build(path)
    change(next(each for each in objects if each["kind"] == kind))
    problems = list(CHECKS[check](objects))
    assert any(told in each for each in problems), problems
