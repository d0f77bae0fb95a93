"""Rules of GPU placement: limit, selector and toleration must tell one story."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from serving.codes.lint import GPU_TOLERATED
from serving.facts.manifests import Bundle
from serving.facts.workloads import workloads
from serving.judge.lint.gpus import asks_for_gpu, gpu_limits, gpu_tolerations
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity


def _tolerated(bundle: Bundle) -> Iterator[Look]:
    for workload in workloads(bundle):
        if not asks_for_gpu(workload):
            continue
        if gpu_tolerations(workload):
            yield Held(workload.document)
        else:
            yield Fault(
                workload.document,
                f"{workload.path}.tolerations",
                f"{_asked(gpu_limits(workload))}, no GPU toleration",
                "a toleration of the pool's taint",
                "add {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}, or the taint your pool has",
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
)
