"""What live nodes would say to a Pod: labels, taints and allocatable, as the scheduler's filters read them.

Pure comparison of two documents. It does not know what is free, only what a node could ever give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from serving.facts.kube.gpus import AFFINITY, gpu_limits
from serving.facts.kube.manifests import Bundle, Document
from serving.facts.kube.once import once
from serving.facts.kube.pods import Workload
from serving.facts.kube.quantity import quantity, shown
from serving.facts.kube.selectors import holds
from serving.facts.kube.shape import as_map, as_maps, as_text, as_texts, dig


@dataclass(frozen=True)
class Refusal:
    """Why a node does not take a Pod; empty reasons mean that it does."""

    node: Document
    labels: tuple[str, ...]
    taints: tuple[str, ...]
    resources: tuple[str, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """All of them, in the order in which the scheduler asks."""
        return (*(f"taint {each} not tolerated" for each in self.taints), *self.labels, *self.resources)


@once
def live_nodes(bundle: Bundle) -> tuple[Document, ...]:
    """The nodes that the cluster has; none where no cluster was asked."""
    return tuple(each for each in bundle.live or () if each.kind == "Node")


def allocatable(node: Document, resource: str) -> Fraction:
    """How much of a resource a node can give at all."""
    return quantity(as_text(as_map(dig(node.body, "status.allocatable")).get(resource))) or Fraction(0)


@once
def pool(bundle: Bundle, workload: Workload) -> tuple[Document, ...]:
    """Live nodes that offer every GPU resource that the Pod asks for and have the labels that it requires."""
    asked = gpu_limits(workload)
    return tuple(
        node
        for node in live_nodes(bundle)
        if asked and all(allocatable(node, name) > 0 for name in asked) and not label_misses(workload, node)
    )


def closed_pool(bundle: Bundle, workload: Workload) -> list[str]:
    """Taints that keep the Pod from every node of its pool, each once; empty where a node is open, or there is none."""
    refused = [untolerated(workload, node) for node in pool(bundle, workload)]
    if not refused or not all(refused):
        return []
    return list(dict.fromkeys(taint for taints in refused for taint in taints))


def refusal(workload: Workload, node: Document, needs: Mapping[str, Fraction]) -> Refusal:
    """What keeps a Pod with these needs from a node."""
    return Refusal(
        node,
        tuple(label_misses(workload, node)),
        tuple(untolerated(workload, node)),
        tuple(
            f"{name}: needs {shown(amount, name)}, has {shown(allocatable(node, name), name)}"
            for name, amount in needs.items()
            if amount > allocatable(node, name)
        ),
    )


def untolerated(workload: Workload, node: Document) -> list[str]:
    """The node's taints that keep the Pod away, as `key=value:effect`; a cordon is one."""
    taints = [taint for taint in as_maps(node.spec.get("taints")) if taint.get("effect") in ("NoSchedule", "NoExecute")]
    cordon = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    if node.spec.get("unschedulable") is True and all(taint.get("key") != cordon["key"] for taint in taints):
        taints.append(cordon)
    return [_taint_text(taint) for taint in taints if not any(_tolerates(each, taint) for each in workload.tolerations)]


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration.get("effect") != taint.get("effect"):
        return False
    if toleration.get("key") and toleration.get("key") != taint.get("key"):
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and as_text(toleration.get("value")) == as_text(taint.get("value"))


def _taint_text(taint: Mapping[str, Any]) -> str:
    value = as_text(taint.get("value"))
    return f"{as_text(taint.get('key'))}{f'={value}' if value else ''}:{as_text(taint.get('effect'))}"


def label_misses(workload: Workload, node: Document) -> list[str]:
    """Labels that the Pod requires and the node lacks; of affinity, those of the term that comes nearest."""
    labels = node.labels
    missing = [
        f"label {key} is {labels.get(key, 'absent')}, not {value}"
        for key, value in workload.node_selector.items()
        if labels.get(key) != value
    ]
    terms = as_maps(dig(workload.spec, AFFINITY))
    if terms:
        nearest = sorted([_term_misses(term, node) for term in terms], key=len)
        missing += nearest[0]
    pinned = as_text(workload.spec.get("nodeName"))
    if pinned and pinned != node.name:
        missing.append(f"name is not {pinned}")
    return missing


def _term_misses(term: Mapping[str, Any], node: Document) -> list[str]:
    expressions = as_maps(term.get("matchExpressions"))
    fields = as_maps(term.get("matchFields"))
    if not expressions and not fields:
        return ["an empty affinity term fits no node"]
    found = [text for each in expressions if (text := _expression_miss(each, node.labels))]
    return found + [text for each in fields if (text := _expression_miss(each, {"metadata.name": node.name}))]


def _expression_miss(expression: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    key, operator = as_text(expression.get("key")), as_text(expression.get("operator"))
    values, value = as_texts(expression.get("values")), labels.get(key)
    number, bound = quantity(value or ""), quantity(values[0]) if values else None
    match operator:
        case "In" | "NotIn" | "Exists" | "DoesNotExist":
            met = holds(expression, labels)
        case "Gt":
            met = number is not None and bound is not None and number > bound
        case "Lt":
            met = number is not None and bound is not None and number < bound
        case _:
            return ""  # the API rejects it
    wanted = f"{operator} {', '.join(values)}".rstrip()
    return "" if met else f"label {key} is {value if value is not None else 'absent'}, not {wanted}"
