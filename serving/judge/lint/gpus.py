"""What of a Pod concerns GPUs: the resources it asks for, and the selectors and tolerations that lead to GPU nodes.

Knows the names that device plugins, clouds and feature discovery use. Decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from serving.facts.pods import Workload
from serving.facts.shape import as_map, as_maps, as_text, as_texts, dig

VENDOR_DOMAINS: Final = ("nvidia.com", "amd.com", "gpu.intel.com", "habana.ai")
GPU_RESOURCE: Final = re.compile(
    r"(nvidia\.com/(gpu(\.shared)?|mig-[^/]+)|amd\.com/gpu|gpu\.intel\.com/(i915|xe)|habana\.ai/gaudi)"
)
GPU_LABEL: Final = re.compile(r"(^|[./_-])(gpu|gpus|accelerator|nvidia|cuda|mig)([./_-]|$)", re.IGNORECASE)


def gpu_limits(workload: Workload) -> dict[str, str]:
    """GPU resources that the Pod's containers ask for, limits before requests, as written; of the last container's."""
    found: dict[str, str] = {}
    for container in workload.all_containers:
        for name, amount in {**container.requests, **container.limits}.items():
            if GPU_RESOURCE.fullmatch(name):
                found[name] = amount
    return found


def gpu_count(workload: Workload) -> int:
    """Whole GPUs (or slices) of one Pod: those of containers that run together, or of an init container if more."""
    together, alone = 0, 0
    for container in workload.all_containers:
        asked = {**container.requests, **container.limits}
        number = sum(int(amount) for name, amount in asked.items() if GPU_RESOURCE.fullmatch(name) and amount.isdigit())
        together, alone = (together, max(alone, number)) if container.init else (together + number, alone)
    return max(together, alone)


def has_claim(workload: Workload) -> bool:
    """Does it get devices by claim (DRA)?"""
    return bool(as_maps(workload.spec.get("resourceClaims")))


def asks_for_gpu(workload: Workload) -> bool:
    """Does it ask for a GPU, by limit or by claim?"""
    return bool(gpu_limits(workload)) or has_claim(workload)


def gpu_tolerations(workload: Workload) -> list[Mapping[str, Any]]:
    """Tolerations that open GPU nodes: of a key that speaks of GPUs, or of every taint."""
    return [
        each
        for each in workload.tolerations
        if GPU_LABEL.search(as_text(each.get("key"))) or (not each.get("key") and each.get("operator") == "Exists")
    ]


def selected_labels(workload: Workload) -> set[str]:
    """Node labels that the Pod requires, by nodeSelector or by required node affinity that does not exclude."""
    found = set(workload.node_selector)
    terms = dig(workload.spec, "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms")
    for term in as_maps(terms):
        for expression in as_maps(term.get("matchExpressions")):
            if expression.get("operator") in ("In", "Exists", "Gt", "Lt"):
                found.add(as_text(expression.get("key")))
    return found


def gpu_selectors(workload: Workload) -> set[str]:
    """Required node labels that speak of GPUs, by key or by value."""
    values = workload.node_selector
    return {key for key in selected_labels(workload) if GPU_LABEL.search(key) or GPU_LABEL.search(values.get(key, ""))}


def claim_names(workload: Workload) -> list[str]:
    """Names of the Pod's resource claims."""
    return as_texts([each.get("name") for each in as_maps(as_map(workload.spec).get("resourceClaims"))])
