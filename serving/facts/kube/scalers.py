"""Autoscalers among the documents, in one form: a HorizontalPodAutoscaler, KEDA's ScaledObject, KServe's own.

Says between which bounds and on what they scale; whether that is good is for judges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from serving.facts.kube.manifests import Bundle, Document, near
from serving.facts.kube.once import once
from serving.facts.kube.pods import Workload
from serving.facts.kube.predictor import AUTOSCALER, standard_mode
from serving.facts.kube.shape import as_map, as_maps, as_text, as_whole, dig

RESOURCES: Final = ("cpu", "memory")
SCALABLE: Final = frozenset({"Deployment", "StatefulSet", "ReplicaSet", "LeaderWorkerSet"})


@dataclass(frozen=True)
class Signal:
    """One thing that is scaled on: a `resource` (cpu, memory), a Prometheus `query`, or `other`, by name."""

    kind: Literal["resource", "query", "other"]
    text: str
    path: str


@dataclass(frozen=True)
class Scaler:
    """`path` is where its bounds stand in `document`; `least` is 0 where it scales to zero."""

    kind: Literal["hpa", "keda", "kserve hpa", "kserve keda", "kserve knative"]
    document: Document
    path: str
    least: int
    most: int
    signals: tuple[Signal, ...]


def scalers(bundle: Bundle, workload: Workload) -> Iterator[Scaler]:
    """What scales these Pods: objects that name them, and KServe where its class says so."""
    if workload.kind == "InferenceService" and workload.role == "main":
        yield from _kserve(workload)
    if workload.kind not in SCALABLE and not workload.by_kserve:
        return
    made = "Deployment" if workload.by_kserve else workload.kind
    for document in _by_target(bundle).get((made, workload.name), ()):
        if near(document.namespace, workload.namespace):
            yield _hpa(document) if document.kind == "HorizontalPodAutoscaler" else _keda(document)


@once
def _by_target(bundle: Bundle) -> Mapping[tuple[str, str], list[Document]]:
    found: dict[tuple[str, str], list[Document]] = {}
    for document in bundle.of("HorizontalPodAutoscaler", "ScaledObject"):
        reference = as_map(document.spec.get("scaleTargetRef"))
        target = (as_text(reference.get("kind")) or "Deployment", as_text(reference.get("name")))
        found.setdefault(target, []).append(document)
    return found


@once
def bounds(bundle: Bundle, workload: Workload) -> tuple[int, int]:
    """The fewest and the most replicas: of the scalers if any, else what is written."""
    found = list(scalers(bundle, workload))
    written = 1 if workload.replicas is None else workload.replicas
    if not found:
        return written, written
    return max(each.least for each in found), max(each.most for each in found)


def _bounds(spec: Mapping[str, Any], least: str, most: str, fewest: int, greatest: int) -> tuple[int, int]:
    low, high = as_whole(spec.get(least)), as_whole(spec.get(most))
    low = fewest if low is None else low
    return low, max(low, greatest if high is None else high)


def _hpa(document: Document) -> Scaler:
    signals = []
    cpu = as_whole(document.spec.get("targetCPUUtilizationPercentage"))
    if cpu is not None:
        signals.append(Signal("resource", "cpu", "spec.targetCPUUtilizationPercentage"))
    for number, metric in enumerate(as_maps(document.spec.get("metrics"))):
        signals.append(_metric(metric, f"spec.metrics[{number}]"))
    if not signals:  # the API's default
        signals.append(Signal("resource", "cpu", "spec.metrics"))
    least, most = _bounds(document.spec, "minReplicas", "maxReplicas", 1, 0)
    return Scaler("hpa", document, "spec.maxReplicas", least, most, tuple(signals))


def _metric(metric: Mapping[str, Any], path: str) -> Signal:
    kind = as_text(metric.get("type"))
    member = kind[:1].lower() + kind[1:]
    body = as_map(metric.get(member)) or as_map(metric.get(kind.lower()))
    query = as_text(dig(body, "metric.query"))
    if query:
        return Signal("query", query, f"{path}.{kind.lower()}.metric.query")
    name = as_text(body.get("name")) or as_text(dig(body, "metric.name"))
    return Signal("resource" if kind in ("Resource", "ContainerResource") else "other", name, path)


def _keda(document: Document) -> Scaler:
    signals = []
    for number, trigger in enumerate(as_maps(document.spec.get("triggers"))):
        kind, query = as_text(trigger.get("type")), as_text(dig(trigger, "metadata.query"))
        path = f"spec.triggers[{number}]"
        if kind in RESOURCES:
            signals.append(Signal("resource", kind, path))
        elif kind == "prometheus" and query:
            signals.append(Signal("query", query, f"{path}.metadata.query"))
        else:
            signals.append(Signal("other", kind, path))
    least, most = _bounds(document.spec, "minReplicaCount", "maxReplicaCount", 0, 100)
    if as_whole(document.spec.get("idleReplicaCount")) == 0:
        least = 0
    return Scaler("keda", document, "spec.maxReplicaCount", least, most, tuple(signals))


def _kserve(workload: Workload) -> Iterator[Scaler]:
    document = workload.document
    predictor = as_map(document.spec.get("predictor"))
    least, most = _bounds(predictor, "minReplicas", "maxReplicas", 1, 0)
    path = "spec.predictor.maxReplicas"
    if standard_mode(document) is False:
        yield Scaler("kserve knative", document, path, least, most, ())
        return
    match document.annotations.get(AUTOSCALER, "hpa"):
        case "hpa":
            least, most = max(least, 1), max(most, 1)
            signals = _kserve_signals(predictor) or (Signal("resource", "cpu", "spec.predictor"),)
            yield Scaler("kserve hpa", document, path, least, most, signals)
        case "keda":
            yield Scaler("kserve keda", document, path, least, most, _kserve_signals(predictor))


def _kserve_signals(predictor: Mapping[str, Any]) -> tuple[Signal, ...]:
    found = []
    scale = as_text(predictor.get("scaleMetric"))
    if scale:
        kind: Literal["resource", "other"] = "resource" if scale in RESOURCES else "other"
        found.append(Signal(kind, scale, "spec.predictor.scaleMetric"))
    for number, metric in enumerate(as_maps(dig(predictor, "autoScaling.metrics"))):
        found.append(_metric(metric, f"spec.predictor.autoScaling.metrics[{number}]"))
    return tuple(found)
