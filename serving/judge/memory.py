"""Decides whether memory, the host's and the GPUs', is as expected. Pure.

Where no GPU is, the GPU layer is NOT_APPLICABLE; where one may be that nobody could read, it is UNKNOWN; and where one
was asked for, its absence is a FAIL, so that a silent downgrade to the CPU is not overlooked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from serving import codes
from serving.expectations import Readiness
from serving.facts.gpu import none_here
from serving.facts.model import GpuMemory, Modelz, State
from serving.facts.seen import Fact, Seen, Unseen
from serving.judge.blind import START_AGENT, could_not_look, could_not_tell
from serving.judge.phrases import MIB, mib
from serving.verdict import Finding, Verdict

# A CUDA context alone takes more than this; less on every GPU means that the engine runs somewhere else.
CUDA_CONTEXT_BYTES: Final = 64 * MIB
ROUNDING: Final = 0.001
FREE_GPU_MEMORY: Final = "end the neighbour on this GPU, or lower --gpu-memory-utilization"


def judge_host_memory(modelz: Fact[Modelz], expectations: Readiness) -> Finding:
    """WG105. Judged only against a target: resident memory under the machine's limit is true of every live process."""
    base = Finding(codes.HOST_MEMORY, Verdict.PASS, "resident memory", "", "", "", source=modelz.source)
    target = expectations.memory_mib
    resident = modelz.value.engine.resident_bytes if isinstance(modelz, Seen) else None
    seen = "not seen" if resident is None else mib(resident)
    if target is None:
        return replace(
            base,
            verdict=Verdict.NOT_APPLICABLE,
            observed=seen,
            expected="no target given",
            why="give --memory-mib to judge it",
        )
    base = replace(base, expected=f"≤ {target:,.0f} MiB", observed=seen)
    if isinstance(modelz, Unseen):
        return could_not_look(base, modelz, START_AGENT)
    if resident is None:
        return could_not_tell(base, "the agent has no figure for the engine's process tree", "read the agent's log")
    if resident > target * MIB:
        return replace(
            base,
            verdict=Verdict.FAIL,
            why=f"{resident / MIB - target:,.0f} MiB over target",
            remedy="lower the KV cache (VLLM_CPU_KVCACHE_SPACE, --max-model-len, --max-num-seqs), or raise the target",
        )
    return replace(base, why=f"{target - resident / MIB:,.0f} MiB below target")


def judge_gpu_memory(modelz: Fact[Modelz], expectations: Readiness) -> Finding:
    """WG106. Not applicable where no GPU is and none was asked for; UNKNOWN where nobody could read it."""
    wanted = expectations.gpu_free_mib
    expected = "held by the engine" if wanted is None else f"≥ {wanted:,.0f} MiB free each"
    base = Finding(codes.GPU_MEMORY, Verdict.PASS, "GPU memory", "", expected, "", source=modelz.source)
    if isinstance(modelz, Unseen):
        return could_not_look(base, modelz, START_AGENT)
    model = modelz.value
    if wanted is None and model.engine.device == "cpu":
        seen = _describe(model.gpus[0]) if model.gpus else model.gpus_unseen or "no GPU seen"
        why = f"vLLM computes on the CPU; {seen}"
        return replace(base, verdict=Verdict.NOT_APPLICABLE, observed="not used", expected="no GPU", why=why)
    if model.gpus is None and not none_here(model.gpus_unseen):
        why = model.gpus_unseen or "the agent has not read the GPUs yet"
        return could_not_tell(base, why, "let the agent read NVML (warmgate[gpu], driver)")
    if not model.gpus:
        return _no_gpu(base, model.gpus_unseen or "the driver is here, and shows no GPU", wanted)
    observed = f"{mib(min(gpu.free_bytes for gpu in model.gpus))} free, {len(model.gpus)} GPU"
    base = replace(base, observed=observed, why="; ".join(_describe(gpu) for gpu in model.gpus))
    for gpu in model.gpus:
        if impossible := _contradiction(gpu):
            why = f"GPU {gpu.index} contradicts itself: {impossible}"
            return could_not_tell(base, why, "compare with nvidia-smi on the node")
        if wanted is not None and gpu.free_bytes < wanted * MIB:
            why = f"GPU {gpu.index} has {mib(gpu.free_bytes)} free; {base.why}"
            return replace(base, verdict=Verdict.FAIL, why=why, remedy=FREE_GPU_MEMORY)
    if model.state is State.OVER_BUDGET:
        return replace(base, verdict=Verdict.FAIL, why=f"{model.reason}; {base.why}", remedy=FREE_GPU_MEMORY)
    if all(gpu.used_bytes < CUDA_CONTEXT_BYTES for gpu in model.gpus):
        return replace(
            base,
            verdict=Verdict.FAIL,
            why=f"no GPU holds even a CUDA context: the engine runs elsewhere; {base.why}",
            remedy="give the engine its GPU: a CUDA build of vLLM, and `nvidia.com/gpu` in the container's limits",
        )
    return base


def _no_gpu(base: Finding, why: str, wanted: float | None) -> Finding:
    base = replace(base, observed="no GPU", why=why)
    if wanted is None:
        return replace(base, verdict=Verdict.NOT_APPLICABLE, expected="no GPU here")
    remedy = "run it where a GPU is visible (`nvidia.com/gpu` in the limits), or leave --gpu-free-mib out"
    return replace(base, verdict=Verdict.FAIL, why=f"{why}, and --gpu-free-mib asks for one", remedy=remedy)


def _contradiction(gpu: GpuMemory) -> str | None:
    parts = gpu.used_bytes + gpu.free_bytes + (gpu.reserved_bytes or 0)
    if gpu.total_bytes <= 0 or min(gpu.used_bytes, gpu.free_bytes) < 0:
        return f"total {mib(gpu.total_bytes)}, used {mib(gpu.used_bytes)}, free {mib(gpu.free_bytes)}"
    if parts > gpu.total_bytes * (1 + ROUNDING):
        return f"used, free and reserved make {mib(parts)} of {mib(gpu.total_bytes)}"
    return None


def _describe(gpu: GpuMemory) -> str:
    return f"GPU {gpu.index} {gpu.name}: {mib(gpu.used_bytes)} used of {mib(gpu.total_bytes)}"
