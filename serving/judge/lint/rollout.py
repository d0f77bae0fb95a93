"""Rules of the rollout itself: no warm Pod goes before another is ready, there is room for the other, and time."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from serving.codes.lint import CAPACITY_KEPT, DEADLINE_SUFFICES, SURGE_POSSIBLE
from serving.facts.kube.declared import for_trying, load_seconds
from serving.facts.kube.demand import demand
from serving.facts.kube.gpus import asks_for_gpu
from serving.facts.kube.manifests import Bundle
from serving.facts.kube.pods import Workload
from serving.facts.kube.quantity import shown
from serving.facts.kube.scalers import bounds
from serving.facts.kube.shape import as_whole
from serving.facts.kube.strategy import ROLLING, Strategy, strategy
from serving.facts.kube.workloads import of_document, workloads
from serving.judge.lint.capacity import UNSEEN, Part, Room, neighbours, pods_of, rooms, sum_of, unadmitted, unseen
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, Unclear

DEADLINE_S: Final = 600  # Kubernetes' default, and KServe's only value
KEEP: Final = "{type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}"


def _kept(bundle: Bundle) -> Iterator[Look]:
    for workload in workloads(bundle):
        how = strategy(workload)
        if how is None or not workload.engines or workload.role != "main" or for_trying(workload):
            continue
        least, most = bounds(bundle, workload)
        if most == 0 or how.stuck:
            continue
        lost = _lost(how, least, most)
        if lost is None:
            yield Held(workload.document)
        else:
            remedy = (
                "serve from a Deployment or an InferenceService: a StatefulSet replaces a Pod only after it is gone"
            )
            if workload.kind != "StatefulSet":
                remedy = f"set {how.path}: {_remedy(workload)}"
            yield Fault(workload.document, how.path, lost, "no warm Pod removed first", remedy, workload.label)


def _remedy(workload: Workload) -> str:
    if workload.kind in ("LLMInferenceService", "LeaderWorkerSet"):
        return "{maxSurge: 1, maxUnavailable: 0}"
    return KEEP


def _lost(how: Strategy, least: int, most: int) -> str | None:
    """What a rollout takes away at some number of replicas, or None."""
    if how.name == "Recreate":
        ending = "the only Pod ends" if most == 1 else f"all {most} Pods end"
        return f"Recreate: {ending} before the first new one starts"
    if how.name != ROLLING:
        return f"{how.name}: a Pod is replaced only after it is gone"
    for replicas in (most, max(least, 1)):
        amounts = how.at(replicas)
        if amounts and amounts[1] > 0:
            missing = "the only Pod" if replicas == 1 else f"{amounts[1]} of {replicas} Pods"
            return f"{how}: {missing} may be missing"
    return None


def _surge(bundle: Bundle) -> Iterator[Look]:
    for workload in workloads(bundle):
        how = strategy(workload)
        if how is None or workload.role != "main" or workload.missing_runtime:
            continue
        if not workload.engines and not asks_for_gpu(workload):
            continue
        least = bounds(bundle, workload)[0]
        amounts = how.at(least) if how.name == ROLLING else (0, 0)
        if how.stuck:
            remedy = f"set {how.path}: {_remedy(workload)}"
            observed = "maxSurge 0 and maxUnavailable 0"
            yield Fault(workload.document, how.path, observed, "one of them above 0", remedy, workload.label)
            continue
        if amounts is None or workload.kind == "DaemonSet":
            continue
        faults = list(_short(bundle, workload, least, amounts[0]))
        refused = unadmitted(bundle, workload)
        if refused:
            expected, remedy = (
                "Pods that the API creates",
                "state requests and limits of every container, or a LimitRange",
            )
            faults.append(Fault(workload.document, workload.path, refused, expected, remedy, workload.label))
        yield from faults or _rest(bundle, workload, how.path)


def _rest(bundle: Bundle, workload: Workload, path: str) -> Iterator[Look]:
    missing = unseen(bundle, workload)
    if missing:
        yield Unclear(workload.document, path, missing, UNSEEN, workload.label)
    else:
        yield Held(workload.document)


def _short(bundle: Bundle, workload: Workload, replicas: int, extra: int) -> Iterator[Look]:
    for room in rooms(bundle, workload):
        beside = neighbours(bundle, workload, room)
        worst = max((_taken(phase) for phase in _phases(bundle, workload, room, replicas, extra)), key=lambda it: it[0])
        total = worst[0] + _taken(beside)[0]
        if total > room.size:
            yield _no_room(workload, room, [*worst[1], *beside], total, extra)


def _taken(parts: list[Part]) -> tuple[Fraction, list[Part]]:
    return sum((part.amount for part in parts), Fraction(0)), parts


def _phases(bundle: Bundle, workload: Workload, room: Room, replicas: int, extra: int) -> Iterator[list[Part]]:
    """The Pods of one document at the worst moments: while it surges, and while its canaries load.

    Canaries that are ready take their number from stable's, down to one Pod; multi-node workers surge by as many again.
    """
    each = room.each(demand(bundle, workload))
    canaries, others = [], []
    for kin in of_document(bundle, workload.document):
        took = room.each(demand(bundle, kin))
        if kin.role == "canary":
            canaries.append(Part(kin.replicas or 0, took, f"canary {kin.name}"))
        elif kin is not workload:
            twice = 2 if kin.role == "worker" else 1
            others.append(Part(pods_of(kin, bounds(bundle, kin)[0]) * twice, took, kin.role))
    given = sum(part.pods for part in canaries)
    stable = max(replicas - given, 1) if given else replicas
    yield [Part(pods_of(workload, stable), each, _replicas(stable)), Part(extra, each, "surge"), *canaries, *others]
    if canaries:
        yield [Part(pods_of(workload, replicas), each, _replicas(replicas)), *canaries, *others]


def _replicas(number: int) -> str:
    return "replica" if number == 1 else "replicas"


def _no_room(workload: Workload, room: Room, parts: list[Part], total: Fraction, extra: int) -> Fault:
    remedy = f"raise it to {shown(total, room.key)}, or run fewer replicas"
    if extra:
        remedy += ", or take the loss on purpose: maxSurge 0, maxUnavailable 1 and warmgate/allow with the reason"
    path = strategy(workload)
    return Fault(
        workload.document,
        path.path if path else "",
        sum_of(room, parts),
        f"no more than {room}",
        remedy,
        workload.label,
    )


def _deadline(bundle: Bundle) -> Iterator[Look]:
    for workload in workloads(bundle):
        load = load_seconds(workload)
        if load is None or not workload.runs_vllm or strategy(workload) is None or workload.role == "worker":
            continue
        if workload.by_kserve:
            deadline, path = DEADLINE_S, workload.path
            remedy = (
                "load in less than 600 s (weights on a shared volume, an image or the node; a kept compile cache), "
                "or serve from a Deployment of your own with a longer progressDeadlineSeconds"
            )
            observed = f"{deadline} s, fixed by KServe, for a load of {load:g} s"
        elif workload.kind == "Deployment":
            given = as_whole(workload.document.spec.get("progressDeadlineSeconds"))
            deadline, path = DEADLINE_S if given is None else given, "spec.progressDeadlineSeconds"
            remedy = f"set progressDeadlineSeconds: {max(round(load * 2), DEADLINE_S)}"
            observed = f"{deadline} s{' by default' if given is None else ''} for a load of {load:g} s"
        else:
            continue
        if deadline > load:
            yield Held(workload.document)
        else:
            yield Fault(workload.document, path, observed, f"more than {load:g} s", remedy, workload.label)


RULES: Final = (
    Rule(
        CAPACITY_KEPT,
        Severity.ERROR,
        "A Pod that goes takes its share of warm capacity with it for as long as its successor loads: minutes. "
        "Kubernetes' and KServe's default of 25 % removes a Pod at once from four replicas on.",
        _kept,
    ),
    Rule(
        SURGE_POSSIBLE,
        Severity.ERROR,
        "A rollout that keeps every warm Pod needs the resources of one more. Where pool or quota end before that, the "
        "new Pod stays Pending or is never created, and the rollout stalls.",
        _surge,
    ),
    Rule(
        DEADLINE_SUFFICES,
        Severity.ERROR,
        "A Pod that is not available by then sets ProgressDeadlineExceeded. KServe then reports the service as not "
        "ready though old Pods serve, and stops to update its routes: canary weights freeze.",
        _deadline,
    ),
)
