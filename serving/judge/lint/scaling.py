"""Rules of autoscaling: it follows the engine's load, ends within pool and quota, and can come back from zero."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from serving.codes.lint import ONE_SCALER, SCALE_FITS, SCALE_FROM_ZERO, SCALED_ON_LOAD
from serving.facts.kube.demand import demand
from serving.facts.kube.manifests import Bundle
from serving.facts.kube.pods import Workload
from serving.facts.kube.predictor import AUTOSCALER, standard_mode
from serving.facts.kube.scalers import Scaler, Signal, scalers
from serving.facts.kube.shape import as_maps, as_text, as_whole
from serving.facts.kube.workloads import workloads
from serving.facts.promql import selectors
from serving.facts.vllm_metrics import of_vllm
from serving.judge.lint.capacity import UNSEEN, Part, neighbours, pods_of, rooms, sum_of, unseen
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, Unclear

OF_PODS: Final = re.compile(r"(vllm|warmgate)_")  # metrics that the Pods themselves export
KNATIVE: Final = "kserve knative"
HANDED_OVER: Final = "scaledobject.keda.sh/transfer-hpa-ownership"  # KEDA takes the other autoscaler over


def scaled(bundle: Bundle) -> Iterator[tuple[Workload, Scaler]]:
    """Every workload with what scales it."""
    for workload in workloads(bundle):
        if not workload.missing_runtime:
            for scaler in scalers(bundle, workload):
                yield workload, scaler


def _on_load(bundle: Bundle) -> Iterator[Look]:
    for workload, scaler in scaled(bundle):
        if not workload.engines or scaler.kind == KNATIVE:
            continue
        wrong = [each for each in scaler.signals if each.kind == "resource"]
        asked_for = any(each.path == "spec.predictor.scaleMetric" for each in wrong)
        if scaler.kind == "kserve hpa" and scaler.most <= scaler.least and not asked_for:
            continue  # an autoscaler with no room to move
        if not wrong:
            yield Held(scaler.document)
        for each in wrong:
            name = each.text or "a resource"
            implied = "" if each.path not in ("spec.metrics", "spec.predictor") else " by default"
            yield Fault(
                scaler.document,
                each.path,
                f"scales on {name}{implied}",
                "a signal of the load",
                _better(scaler),
                workload.label,
            )


def _better(scaler: Scaler) -> str:
    query = 'sum(vllm:num_requests_waiting{model_name="..."})'
    if scaler.kind.startswith("kserve"):
        return f"set {AUTOSCALER}: none and fixed replicas, or keda with an External metric on {query}"
    if scaler.kind == "keda":
        return f"replace the trigger by one of type prometheus with query: {query}"
    return f"scale on an External metric instead, or by a KEDA ScaledObject with query: {query}"


def _fits(bundle: Bundle) -> Iterator[Look]:
    for workload, scaler in scaled(bundle):
        room_seen = False
        short = False
        for room in rooms(bundle, workload):
            room_seen = True
            most = Part(pods_of(workload, scaler.most), room.each(demand(bundle, workload)), "at most")
            parts = [most, *neighbours(bundle, workload, room)]
            if sum(part.amount for part in parts) > room.size:
                short = True
                yield Fault(
                    scaler.document,
                    scaler.path,
                    sum_of(room, parts),
                    f"no more than {room}",
                    f"lower {scaler.path.rpartition('.')[2]}, or add what is missing",
                    workload.label,
                )
        missing = unseen(bundle, workload)
        if not short and missing:
            yield Unclear(scaler.document, scaler.path, missing, UNSEEN, workload.label)
        elif not short and room_seen:
            yield Held(scaler.document)


def _from_zero(bundle: Bundle) -> Iterator[Look]:
    records = _records(bundle)
    for workload, scaler in scaled(bundle):
        if not workload.engines or scaler.kind == KNATIVE:
            continue
        if scaler.least > 0 or any(_outlives(each, records) for each in scaler.signals):
            yield Held(scaler.document)
        else:
            path = "spec.predictor.minReplicas" if scaler.kind == "kserve keda" else _least(scaler)
            yield Fault(
                scaler.document,
                path,
                f"0 replicas, and only {_named(scaler)} to wake it",
                "a signal that lives without the Pods",
                f"set {path.rpartition('.')[2]}: 1, or add a trigger on the gateway's request rate",
                workload.label,
            )
    for workload in workloads(bundle):
        if workload.kind == "InferenceService" and workload.role == "main" and workload.engines:
            yield from _switched_off(workload)


def _switched_off(workload: Workload) -> Iterator[Look]:
    """Without an autoscaler 0 replicas stay 0: there is no activator in Standard mode."""
    fixed = workload.document.annotations.get(AUTOSCALER) == "none"
    if fixed and workload.replicas == 0 and standard_mode(workload.document) is not False:
        yield Fault(
            workload.document,
            "spec.predictor.minReplicas",
            "0 replicas, and no autoscaler",
            "at least 1",
            'set minReplicas: 1; to switch it off, annotate serving.kserve.io/stop: "true"',
            workload.label,
        )


def _alone(bundle: Bundle) -> Iterator[Look]:
    for workload in workloads(bundle):
        found = [each for each in scalers(bundle, workload) if each.document.annotations.get(HANDED_OVER) != "true"]
        meant = next((each for each in found if each.document.name == workload.name), found[0] if found else None)
        for each in found:
            if each is meant:
                yield Held(each.document)
                continue
            other = meant.document.id if meant and meant.document is not workload.document else "KServe's own"
            own = each.document is workload.document
            path = "metadata.annotations" if own else "spec.scaleTargetRef.name"
            remedy = f"set {AUTOSCALER}: external" if own else f"name what {each.document.id} is for, or remove it"
            observed = f"scales {workload.label}, as does {other}"
            yield Fault(each.document, path, observed, "one autoscaler", remedy)


def _least(scaler: Scaler) -> str:
    if scaler.kind == "hpa":
        return "spec.minReplicas"
    idle = as_whole(scaler.document.spec.get("idleReplicaCount")) == 0
    return "spec.idleReplicaCount" if idle else "spec.minReplicaCount"


def _named(scaler: Scaler) -> str:
    return ", ".join(sorted({each.text for each in scaler.signals})) or "nothing"


def _records(bundle: Bundle) -> dict[str, str]:
    """Recording rules among the documents: name -> expression."""
    found = {}
    for document in bundle.known("PrometheusRule"):
        for group in as_maps(document.spec.get("groups")):
            for rule in as_maps(group.get("rules")):
                found[as_text(rule.get("record"))] = as_text(rule.get("expr"))
    return found


def _outlives(signal: Signal, records: dict[str, str]) -> bool:
    """Can the signal speak while no Pod runs? A query can, unless every metric beneath it is the Pods' own."""
    if signal.kind == "resource":
        return False
    if signal.kind == "other":
        return not OF_PODS.search(signal.text)
    pending, seen = [signal.text], set[str]()
    while pending:
        found = {each.metric or each.pattern for each in selectors(pending.pop())}
        if not found or any(name not in records and not (of_vllm(name) or OF_PODS.match(name)) for name in found):
            return True
        pending += [records[name] for name in found - seen if name in records]
        seen |= found
    return False


RULES: Final = (
    Rule(
        SCALED_ON_LOAD,
        Severity.ERROR,
        "CPU and memory of a vLLM server are flat, whatever the load: its work is on the GPU and its memory is taken "
        "at the start. Such an autoscaler never moves, or moves for no reason.",
        _on_load,
    ),
    Rule(
        SCALE_FITS,
        Severity.ERROR,
        "Replicas beyond pool or quota stay Pending or are never created, just when load asks for them.",
        _fits,
    ),
    Rule(
        SCALE_FROM_ZERO,
        Severity.ERROR,
        "A metric of the Pods is gone when there are no Pods, and no value reads as no load: nothing ever scales up "
        "again. KServe's Standard mode has no activator that would hold requests.",
        _from_zero,
    ),
    Rule(
        ONE_SCALER,
        Severity.ERROR,
        "Kubernetes stops both of two autoscalers whose Pods are the same (AmbiguousSelector), and the workload that "
        "the second one was meant for has none. A ScaledObject makes an autoscaler, too.",
        _alone,
    ),
)
