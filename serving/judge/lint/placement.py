"""Rules of GPU placement: limit, selector and toleration must tell one story."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from serving.codes.lint import GPU_ASKED_FOR, GPU_SELECTED, GPU_TOLERATED
from serving.facts.kube.gpus import (
    claims_gpu,
    gpu_limits,
    gpu_selectors,
    gpu_tolerations,
    is_gpu_toleration,
    placed,
    queued,
    selected_labels,
)
from serving.facts.kube.manifests import Bundle
from serving.facts.kube.nodes import closed_pool, pool
from serving.facts.kube.pods import Workload
from serving.facts.kube.shape import as_text
from serving.facts.kube.workloads import workloads
from serving.judge.lint.devices import asks_for_device
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity

GKE: Final = "cloud.google.com/"  # labels of GKE, which adds the toleration for the resource by itself
NOT_A_POOL: Final = frozenset(
    {
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
    }
)


def _tolerated(bundle: Bundle) -> Iterator[Look]:
    for workload in (placed(bundle, each) for each in workloads(bundle)):
        limits = gpu_limits(workload)
        if queued(workload) or not (limits or claims_gpu(bundle, workload)):
            continue
        taints = closed_pool(bundle, workload)
        if taints:
            yield Fault(
                workload.document,
                f"{workload.path}.tolerations",
                f"{_asked(limits)}; every node that offers it is tainted: {', '.join(taints)}",
                "a toleration of the pool's taint",
                f"add a toleration of {taints[0]}",
                workload.label,
            )
        elif pool(bundle, workload) or _opens(workload):
            yield Held(workload.document)
        else:
            yield Fault(
                workload.document,
                f"{workload.path}.tolerations",
                f"{_asked(limits)}, no GPU toleration",
                "a toleration of the pool's taint",
                "add {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}, or the taint your pool has",
                workload.label,
            )


def _opens(workload: Workload) -> bool:
    """Does it tolerate a GPU taint, or a taint of the very key that it selects its nodes by?"""
    chosen = selected_labels(workload)
    paired = any(as_text(each.get("key")) in chosen for each in workload.tolerations)
    return bool(gpu_tolerations(workload)) or paired or any(each.startswith(GKE) for each in chosen)


def _selected(bundle: Bundle) -> Iterator[Look]:
    for workload in (placed(bundle, each) for each in workloads(bundle)):
        limits = gpu_limits(workload)
        if not limits or queued(workload) or workload.kind == "DaemonSet":
            continue
        if selected_labels(workload) - NOT_A_POOL or workload.spec.get("nodeName"):
            yield Held(workload.document)
        else:
            yield Fault(
                workload.document,
                f"{workload.path}.nodeSelector",
                f"{_asked(limits)}, no selector of a node pool",
                "a nodeSelector or required node affinity on a label of the pool",
                'add nodeSelector {nvidia.com/gpu.present: "true"}, or nvidia.com/gpu.product with the GPU you mean',
                workload.label,
            )


def _asked_for(bundle: Bundle) -> Iterator[Look]:
    for workload in (placed(bundle, each) for each in workloads(bundle)):
        if workload.kind == "DaemonSet" or workload.missing_runtime:
            continue
        keys = [f"selector {key}" for key in sorted(gpu_selectors(workload))]
        keys += [
            f"toleration {as_text(each.get('key')) or as_text(each.get('value'))}"
            for each in workload.tolerations
            if is_gpu_toleration(each)
        ]
        if not keys:
            continue
        if asks_for_device(workload):
            yield Held(workload.document)
        else:
            yield Fault(
                workload.document,
                workload.path,
                f"{', '.join(keys)}, but no container has a GPU limit",
                "a GPU limit or claim, or neither selector nor toleration",
                'set resources.limits["nvidia.com/gpu"]: "1" on the container that computes, or take '
                f"{'them' if len(keys) > 1 else 'it'} away",
                workload.label,
            )


def _asked(limits: dict[str, str]) -> str:
    return ", ".join(f"{name}: {amount}" for name, amount in limits.items()) or "a device claim"


RULES: Final = (
    Rule(
        GPU_TOLERATED,
        Severity.ERROR,
        "GPU pools are tainted so that nothing else lands there; without a toleration the Pod stays Pending, and the "
        "scheduler's message hides the GPUs behind the taint.",
        _tolerated,
    ),
    Rule(
        GPU_SELECTED,
        Severity.WARNING,
        "The limit alone takes any node that advertises the resource: another GPU model than the one that memory and "
        "load time were measured on, or another team's pool.",
        _selected,
    ),
    Rule(
        GPU_ASKED_FOR,
        Severity.ERROR,
        "Selector and toleration send the Pod to a GPU node; without a limit it gets no GPU there: it starts on CPU or "
        "dies, while the GPU beside it stays idle and the Pod takes CPU and memory from those who asked.",
        _asked_for,
    ),
)
