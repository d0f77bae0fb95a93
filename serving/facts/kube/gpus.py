"""What of a Pod concerns GPUs: the resources it asks for, and the selectors and tolerations that lead to GPU nodes.

Knows the names that device plugins, clouds and feature discovery use. Decides nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from serving.facts.kube.container import Container
from serving.facts.kube.manifests import Bundle
from serving.facts.kube.pods import Workload
from serving.facts.kube.quantity import quantity
from serving.facts.kube.shape import as_map, as_maps, as_text, as_texts, dig, text_map

GPU_RESOURCE: Final = re.compile(
    r"(nvidia\.com/(gpu(\.shared)?|mig-[^/]+)|amd\.com/gpu|gpu\.intel\.com/(i915|xe)|habana\.ai/gaudi)"
)
GPU_LABEL: Final = re.compile(r"(^|[./_-])(gpu|gpus|accelerator|nvidia|cuda|mig)([./_-]|$)", re.IGNORECASE)
OTHER_DEVICE: Final = re.compile(r"(^|[./_-])(tpu|neuron|npu)([./_-]|$)", re.IGNORECASE)
NO_GPU: Final = frozenset({"false", "no", "none", "0", "cpu"})  # `nvidia.com/gpu.present: "false"` leads away from GPUs
AFFINITY: Final = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"


def container_gpus(container: Container) -> dict[str, str]:
    """GPU resources that a container asks for, limits before requests, as written; an amount of zero is none."""
    asked = {**container.requests, **container.limits}
    return {name: amount for name, amount in asked.items() if GPU_RESOURCE.fullmatch(name) and quantity(amount) != 0}


def gpu_limits(workload: Workload) -> dict[str, str]:
    """GPU resources that the Pod's containers ask for, as written; of the last container's where several ask."""
    found: dict[str, str] = {}
    for container in workload.all_containers:
        found |= container_gpus(container)
    return found


def container_count(container: Container) -> int:
    """GPUs (or slices) of one container; an amount that is no number counts as none, a part of one as one."""
    amounts = [quantity(amount) for amount in container_gpus(container).values()]
    return sum(math.ceil(amount) for amount in amounts if amount is not None and amount > 0)


def has_claim(workload: Workload) -> bool:
    """Does it get devices by claim (DRA)?"""
    return bool(as_maps(workload.spec.get("resourceClaims")))


def claims_gpu(bundle: Bundle, workload: Workload) -> bool:
    """Is one of its claims for a GPU? A claim that nobody wrote down is for one if the Pod runs vLLM."""
    for claim in as_maps(workload.spec.get("resourceClaims")):
        template = bundle.find(
            "ResourceClaimTemplate", as_text(claim.get("resourceClaimTemplateName")), workload.namespace
        )
        named = bundle.find("ResourceClaim", as_text(claim.get("resourceClaimName")), workload.namespace)
        spec = template.spec.get("spec") if template else named.spec if named else None
        if spec is None and workload.runs_vllm:
            return True
        if any(GPU_LABEL.search(each) for each in _device_classes(as_map(spec))):
            return True
    return False


def _device_classes(claim: Mapping[str, Any]) -> Iterator[str]:
    for request in as_maps(dig(claim, "devices.requests")):
        for one in (request, as_map(request.get("exactly")), *as_maps(request.get("firstAvailable"))):
            yield as_text(one.get("deviceClassName"))


def asks_for_gpu(workload: Workload) -> bool:
    """Does it ask for a GPU, by limit or by claim?"""
    return bool(gpu_limits(workload)) or has_claim(workload)


def is_gpu_toleration(toleration: Mapping[str, Any]) -> bool:
    """Does it speak of GPUs, by key (`nvidia.com/gpu`) or by value (`sku=gpu`)?"""
    return bool(GPU_LABEL.search(as_text(toleration.get("key"))) or GPU_LABEL.search(as_text(toleration.get("value"))))


def is_wildcard(toleration: Mapping[str, Any]) -> bool:
    """Does it tolerate every taint?"""
    return not toleration.get("key") and toleration.get("operator") == "Exists"


def gpu_tolerations(workload: Workload) -> list[Mapping[str, Any]]:
    """Tolerations that open GPU nodes: of a key or value that speaks of GPUs, or of every taint."""
    return [each for each in workload.tolerations if is_gpu_toleration(each) or is_wildcard(each)]


def selected_values(workload: Workload) -> dict[str, list[str]]:
    """Node labels that the Pod requires, with the values it takes; none where any value will do.

    From nodeSelector, and from required node affinity as far as it does not exclude.
    """
    found = {key: [value] for key, value in workload.node_selector.items()}
    for term in as_maps(dig(workload.spec, AFFINITY)):
        for expression in as_maps(term.get("matchExpressions")):
            if expression.get("operator") in ("In", "Exists", "Gt", "Lt"):
                values = as_texts(expression.get("values")) if expression.get("operator") == "In" else []
                found.setdefault(as_text(expression.get("key")), []).extend(values)
    return found


def selected_labels(workload: Workload) -> set[str]:
    """Node labels that the Pod requires, by nodeSelector or by required node affinity that does not exclude."""
    return set(selected_values(workload))


def gpu_selectors(workload: Workload) -> set[str]:
    """Required node labels that speak of GPUs, by key or by value, and do not turn away from them."""
    return {
        key
        for key, values in selected_values(workload).items()
        if not OTHER_DEVICE.search(key)
        and (
            (GPU_LABEL.search(key) and not (values and NO_GPU.issuperset(each.lower() for each in values)))
            or any(GPU_LABEL.search(each) for each in values)
        )
    }


def placed(bundle: Bundle, workload: Workload) -> Workload:
    """The workload with what its RuntimeClass adds to selector and tolerations, where the class is known."""
    name = as_text(workload.spec.get("runtimeClassName"))
    runtime = bundle.find("RuntimeClass", name) if name else None
    scheduling = as_map(runtime.body.get("scheduling")) if runtime else None
    if not scheduling:
        return workload
    added = {
        "nodeSelector": workload.node_selector | text_map(scheduling.get("nodeSelector")),
        "tolerations": [*workload.tolerations, *as_maps(scheduling.get("tolerations"))],
    }
    return replace(workload, spec={**workload.spec, **added})


def queued(workload: Workload) -> bool:
    """Does Kueue admit it? Then a ResourceFlavor adds selector and tolerations."""
    key = "kueue.x-k8s.io/queue-name"
    return key in workload.labels or key in workload.document.labels
