"""Rules of the rollout itself: no warm Pod goes before another is ready, there is room for the other, and time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from serving.codes.lint import CAPACITY_KEPT, DEADLINE_SUFFICES, SURGE_POSSIBLE
from serving.facts.engine import load_seconds
from serving.facts.manifests import Bundle
from serving.facts.pods import Workload
from serving.facts.scalers import bounds
from serving.facts.shape import as_whole
from serving.facts.strategy import ROLLING, Strategy, strategy
from serving.facts.workloads import workloads
from serving.judge.lint.capacity import Part, Room, parts_beside, pods, rooms, sum_of, unadmitted, unseen, used, written
from serving.judge.lint.gpus import asks_for_gpu
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, Unclear

DEADLINE_S: Final = 600  # Kubernetes' default, and KServe's only value
CLASS: Final = "warmgate/class"
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


def for_trying(workload: Workload) -> bool:
    """Is it declared to be no production, so that a gap in service is nobody's loss?"""
    return workload.says(CLASS) == "development"


def _remedy(workload: Workload) -> str:
    if workload.kind in ("LLMInferenceService", "LeaderWorkerSet"):
        return "{maxSurge: 1, maxUnavailable: 0}"
    return KEEP


def _lost(how: Strategy, least: int, most: int) -> str | None:
    """What a rollout takes away at some number of replicas, or None."""
    if how.name == "Recreate":
        return f"Recreate: all {most} Pods end before the first new one starts"
    if how.name != ROLLING:
        return f"{how.name}: a Pod is replaced only after it is gone"
    for replicas in (most, max(least, 1)):
        amounts = how.at(replicas)
        if amounts and amounts[1] > 0:
            return f"{how}: {amounts[1]} of {replicas} Pods may be missing"
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
        remedy = "allow `get` and `list` on it, or state the pool with the annotation warmgate/pool-gpus"
        yield Unclear(workload.document, path, missing, remedy, workload.label)
    else:
        yield Held(workload.document)


def _short(bundle: Bundle, workload: Workload, replicas: int, extra: int) -> Iterator[Look]:
    for room in rooms(bundle, workload):
        beside = [Part(each.workload, each.pods, each.workload.label) for each in parts_beside(bundle, workload, room)]
        phases = [[*phase, *beside] for phase in _phases(bundle, workload, replicas, extra)]
        worst = max(phases, key=lambda parts: used(bundle, room, parts))
        total = used(bundle, room, worst)
        if total > room.size:
            yield _no_room(bundle, workload, room, worst, extra)


def _phases(bundle: Bundle, workload: Workload, replicas: int, extra: int) -> Iterator[list[Part]]:
    """The Pods of one document at the worst moments: while it surges, and while its canaries load.

    Canaries that are ready take their number from stable's, down to one Pod; multi-node workers surge by as many again.
    """
    kin = [each for each in workloads(bundle) if each.document is workload.document and each is not workload]
    canaries = [Part(each, each.replicas or 0, f"canary {each.name}") for each in kin if each.role == "canary"]
    others = [
        Part(each, pods(each, bounds(bundle, each)[0]) * (2 if each.role == "worker" else 1), each.role)
        for each in kin
        if each.role != "canary"
    ]
    given = sum(part.pods for part in canaries)
    stable = max(replicas - given, 1) if given else replicas
    yield [Part(workload, pods(workload, stable), "replicas"), Part(workload, extra, "surge"), *canaries, *others]
    if canaries:
        yield [Part(workload, pods(workload, replicas), "replicas"), *canaries, *others]


def _no_room(bundle: Bundle, workload: Workload, room: Room, parts: list[Part], extra: int) -> Fault:
    total, size = written(used(bundle, room, parts), room.key), written(room.size, room.key)
    where = f"{room.name} of {size}" if room.quota is None else f"{room.name}: {size}"
    remedy = f"raise it to {total}, or run fewer replicas"
    if extra:
        remedy += ", or take the loss on purpose: maxSurge 0, maxUnavailable 1 and warmgate/allow with the reason"
    observed = f"{sum_of(bundle, room, parts)} {room.key if room.quota is None else ''}".strip()
    path = strategy(workload)
    return Fault(
        workload.document, path.path if path else "", observed, f"no more than {where}", remedy, workload.label
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
