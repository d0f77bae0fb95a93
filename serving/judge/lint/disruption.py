"""Rules of voluntary disruption: serving Pods have a budget, and every budget lets nodes be drained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from serving.codes.lint import DISRUPTION_BUDGETED, DRAINS_ALLOWED
from serving.facts.kube.declared import for_trying
from serving.facts.kube.manifests import Bundle, Document
from serving.facts.kube.pods import Workload
from serving.facts.kube.scalers import bounds
from serving.facts.kube.strategy import share
from serving.facts.kube.workloads import pods, workloads
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity

BUDGET: Final = "PodDisruptionBudget"
REPLICATED: Final = frozenset(
    {"Deployment", "StatefulSet", "InferenceService", "LLMInferenceService", "LeaderWorkerSet"}
)


def _selected(bundle: Bundle, budget: Document) -> list[Workload]:
    return [each for each in pods(bundle).selected(budget.spec.get("selector"), (budget.namespace,)) if not each.finite]


def _budgeted(bundle: Bundle) -> Iterator[Look]:
    covered = {id(each) for budget in bundle.known(BUDGET) for each in _selected(bundle, budget)}
    for workload in workloads(bundle):
        if not workload.engines or workload.role != "main" or workload.kind not in REPLICATED or for_trying(workload):
            continue
        least = bounds(bundle, workload)[0]
        if least < 2:
            continue  # a budget for a single Pod either blocks drains or does nothing
        if id(workload) in covered:
            yield Held(workload.document)
            continue
        yield Fault(
            workload.document,
            workload.path,
            f"{least} replicas and no PodDisruptionBudget that selects them",
            "a budget for them",
            f"add a {BUDGET} with maxUnavailable: 1 and selector: {{matchLabels: {_labels(workload)}}}",
            workload.label,
        )


def _labels(workload: Workload) -> str:
    names = ("serving.kserve.io/inferenceservice", "component") if workload.kind == "InferenceService" else ()
    chosen = {name: workload.labels[name] for name in names if name in workload.labels} or dict(workload.labels)
    return "{" + ", ".join(f"{name}: {value}" for name, value in chosen.items()) + "}"


def _drains(bundle: Bundle) -> Iterator[Look]:
    taken: dict[int, Document] = {}
    for budget in bundle.of(BUDGET):
        chosen = _selected(bundle, budget)
        if not any(each.engines for each in chosen):
            continue
        rival = next((taken[id(each)] for each in chosen if id(each) in taken), None)
        taken |= {id(each): budget for each in chosen}
        total = sum(bounds(bundle, each)[0] for each in chosen)
        blocked = _blocked(budget, total)
        if rival is not None:
            yield Fault(
                budget,
                "spec.selector",
                f"selects Pods that {rival.id} selects too",
                "one budget for each Pod",
                f"drop {budget.id} or {rival.id}: the eviction API refuses a Pod with two",
            )
        elif blocked:
            least = "maxUnavailable: 1" if total > 1 else "maxUnavailable: 1, and run two replicas"
            yield Fault(
                budget,
                f"spec.{blocked.partition(' ')[0]}",
                f"{blocked} for {total} Pods" if total != 1 else f"{blocked} for 1 Pod",
                "room for one eviction",
                f"replace it by {least}",
            )
        else:
            yield Held(budget)


def _blocked(budget: Document, pods: int) -> str:
    """What forbids every eviction, or the empty string. Kubernetes rounds both amounts of a budget up."""
    unavailable, available = budget.spec.get("maxUnavailable"), budget.spec.get("minAvailable")
    if unavailable is not None:
        return f"maxUnavailable {unavailable}" if share(unavailable, max(pods, 1), True) == 0 else ""
    healthy = share(available, pods, True)
    return f"minAvailable {available}" if healthy is not None and 0 < pods <= healthy else ""


RULES: Final = (
    Rule(
        DISRUPTION_BUDGETED,
        Severity.WARNING,
        "A node drain evicts all Pods of a node at once unless a budget says how many may go; KServe makes none. "
        "Two replicas on one node are then gone together, for a whole load time.",
        _budgeted,
    ),
    Rule(
        DRAINS_ALLOWED,
        Severity.WARNING,
        "A budget that never allows an eviction stops every node drain, upgrade and scale-down until somebody deletes "
        "it in a hurry; and a Pod under two budgets cannot be evicted at all.",
        _drains,
    ),
)
