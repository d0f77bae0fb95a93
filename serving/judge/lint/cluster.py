"""Rules that ask a live cluster, and say little without: PriorityClasses it has, nodes that fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from serving.codes.lint import FITS_A_NODE, PRIORITY_KNOWN
from serving.facts.kube.demand import demand
from serving.facts.kube.extended import is_extended
from serving.facts.kube.gpus import gpu_limits, placed, queued
from serving.facts.kube.manifests import Bundle
from serving.facts.kube.nodes import Refusal, allocatable, closed_pool, live_nodes, refusal
from serving.facts.kube.pods import Workload
from serving.facts.kube.shape import as_text
from serving.facts.kube.workloads import workloads
from serving.judge.lint.devices import is_offered, provided
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, Unclear

BUILT_IN_PRIORITIES: Final = frozenset({"system-cluster-critical", "system-node-critical"})


def _priority(bundle: Bundle) -> Iterator[Look]:
    told = bundle.live is not None or any(bundle.of("PriorityClass"))
    for workload in workloads(bundle):
        name = as_text(workload.spec.get("priorityClassName"))
        if not name or not told:  # whoever passes no PriorityClass at all keeps them elsewhere
            continue
        if name in BUILT_IN_PRIORITIES or bundle.find("PriorityClass", name):
            yield Held(workload.document)
        elif bundle.live is None or "PriorityClass" in bundle.unseen:
            why = bundle.unseen.get("PriorityClass", "it is not among the documents")
            yield Unclear(
                workload.document,
                f"{workload.path}.priorityClassName",
                f"whether PriorityClass {name} exists: {why}",
                "pass the file that has it, or use --cluster",
                workload.label,
            )
        else:
            names = sorted({each.name for each in bundle.known("PriorityClass")} - BUILT_IN_PRIORITIES)
            yield Fault(
                workload.document,
                f"{workload.path}.priorityClassName",
                f"PriorityClass {name} is not there",
                f"one of {', '.join(names)}" if names else "a PriorityClass that exists",
                f"create PriorityClass {name} first, or name one that exists",
                workload.label,
            )


def _fits(bundle: Bundle) -> Iterator[Look]:
    if bundle.live is None:
        return
    for workload in (placed(bundle, each) for each in workloads(bundle)):
        if workload.kind == "DaemonSet" or workload.missing_runtime or queued(workload):
            continue
        if not live_nodes(bundle):
            why = bundle.unseen.get("Node", "the cluster has none")
            yield Unclear(
                workload.document,
                workload.path,
                f"whether a node fits: {why}",
                "let the reader list nodes",
                workload.label,
            )
            return  # the same for every Pod
        refused = _refusals(bundle, workload)
        if not all(each.reasons for each in refused):
            yield Held(workload.document)
            continue
        best = min(refused, key=lambda each: (not _offers(each, workload), len(each.reasons)))
        yield Fault(
            workload.document,
            workload.path,
            f"0 of {len(refused)} nodes fit; nearest is {best.node.name}: {'; '.join(best.reasons)}",
            "a node with the labels, tolerated taints and allocatable resources",
            f"change what {best.node.name} lacks, or add a node that has it; where an autoscaler would add one, allow "
            "this rule",
            workload.label,
        )


def _refusals(bundle: Bundle, workload: Workload) -> list[Refusal]:
    """Why each node refuses, without what other rules say: taints of a closed GPU pool, resources nobody knows."""
    asked = {
        name: amount
        for name, amount in demand(bundle, workload).requests.items()
        if name not in provided(bundle) and (not is_extended(name) or is_offered(bundle, name))
    }
    known = set(closed_pool(bundle, workload))
    found = []
    for node in live_nodes(bundle):
        each = refusal(workload, node, asked)
        taints = tuple(taint for taint in each.taints if taint not in known or not _offers(each, workload))
        found.append(Refusal(node, each.labels, taints, each.resources))
    return found


def _offers(refused: Refusal, workload: Workload) -> bool:
    """Does the node have the GPU resources at all?"""
    return all(allocatable(refused.node, name) > 0 for name in gpu_limits(workload))


RULES: Final = (
    Rule(
        PRIORITY_KNOWN,
        Severity.ERROR,
        "A Pod with an unknown PriorityClass is forbidden at creation: there is no Pod to look at, only a FailedCreate "
        "event of its owner.",
        _priority,
    ),
    Rule(
        FITS_A_NODE,
        Severity.ERROR,
        "The Pod stays Pending, and the scheduler's message counts each node under its first failing filter only: it "
        "hides what else is missing.",
        _fits,
    ),
)
