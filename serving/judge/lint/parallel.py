"""Rules of engines on several GPUs: the parallel sizes add up to the GPUs, and /dev/shm holds what they exchange."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from serving.codes.lint import GPUS_USED, SHM_LARGE
from serving.facts.kube.container import Container
from serving.facts.kube.gpus import container_count, container_gpus
from serving.facts.kube.manifests import Bundle
from serving.facts.kube.pods import Workload
from serving.facts.kube.quantity import quantity
from serving.facts.kube.shape import as_count, as_map, as_maps, as_text, as_whole, dig
from serving.facts.kube.workloads import of_document, workloads
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity

OPTIONS: Final = (
    "tensor-parallel-size",
    "pipeline-parallel-size",
    "prefill-context-parallel-size",
    "data-parallel-size",
    "data-parallel-size-local",
    "nnodes",
)
LEAST_SHM: Final = 2**30  # bytes; KServe's smallest preset for several GPUs


@dataclass(frozen=True)
class Sizes:
    """Parallel sizes of one engine as its words give them; `local` is data parallelism within this Pod."""

    tensor: int
    pipeline: int
    prefill: int
    data: int
    local: int
    nodes: int

    @property
    def text(self) -> str:
        """The product as a person would write it."""
        named = {"tensor": self.tensor, "pipeline": self.pipeline, "prefill": self.prefill, "data": self.data}
        return " x ".join(f"{name} {size}" for name, size in named.items() if size > 1 or name == "tensor")


def sizes(container: Container) -> Sizes | None:
    """The sizes, or None where a configuration file or a variable of unknown value has them."""
    if "omni" in container.options:  # vLLM-Omni: each stage of the model has sizes and GPUs of its own
        return None
    if container.option("config") or container.option("data-parallel-backend") == "ray":
        return None
    given = {name: _size(container, name) for name in OPTIONS}
    if None in given.values():
        return None
    alone = any(container.option(name) is not None for name in ("data-parallel-rank", "data-parallel-external-lb"))
    data = given["data-parallel-size"] or 1
    return Sizes(
        given["tensor-parallel-size"] or 1,
        given["pipeline-parallel-size"] or 1,
        given["prefill-context-parallel-size"] or 1,
        data,
        given["data-parallel-size-local"] or (1 if alone else data),
        given["nnodes"] or 1,
    )


def _size(container: Container, name: str) -> int | None:
    """A size; 0 where it is not given, None where its value cannot be known."""
    value = container.option(name)
    if value is None:
        return 0
    return as_count(value)


def _used(bundle: Bundle) -> Iterator[Look]:
    for workload in workloads(bundle):
        if workload.missing_runtime or _is_worker(workload) or workload.kind == "LLMInferenceService":
            continue
        for container in workload.containers:
            found = sizes(container) if container.runs_vllm else None
            if found is None or not _exclusive(container):
                continue
            look = _agreement(bundle, workload, container, found)
            if look is not None:
                yield look


def _is_worker(workload: Workload) -> bool:
    led = workload.kind == "LeaderWorkerSet" and "leaderTemplate" in as_map(
        workload.document.spec.get("leaderWorkerTemplate")
    )
    return workload.role == "worker" or (led and ".workerTemplate" in workload.path)


def _exclusive(container: Container) -> bool:
    """Does it have whole GPUs or slices of its own? Two turns on shared GPUs may be two turns on the same one."""
    names = container_gpus(container)
    return bool(names) and not any(name.endswith(".shared") for name in names)


def _agreement(bundle: Bundle, workload: Workload, container: Container, found: Sizes) -> Look | None:
    here, elsewhere = container_count(container), _workers(bundle, workload)
    if elsewhere is None:
        return None
    world = found.tensor * found.pipeline * found.prefill
    wanted = world * (found.data if elsewhere else found.local)
    if found.nodes > 1 and not elsewhere:
        wanted = -(-wanted // found.nodes)
    total = here + elsewhere
    if wanted == total:
        return Held(workload.document)
    gpus = f"{total} GPU{'s' if total > 1 else ''}"
    where = f"{gpus} over head and workers" if elsewhere else gpus
    return Fault(
        workload.document,
        f"{container.path}.args",
        f"{found.text} = {wanted}, {where}",
        "sizes whose product is the number of GPUs",
        f"set --tensor-parallel-size={here}"
        + (" and --pipeline-parallel-size to the number of nodes" if elsewhere else f", or the GPU limit to {wanted}"),
        workload.label,
    )


def _workers(bundle: Bundle, workload: Workload) -> int | None:
    """GPUs of the Pods that help this one, 0 where it is alone; None where that cannot be told."""
    if workload.kind == "LeaderWorkerSet":
        return _leader_worker_set(bundle, workload)
    if workload.kind.startswith("Ray"):
        return None
    mates = [each for each in of_document(bundle, workload.document) if each.role == "worker"]
    if workload.role != "main" or not mates:
        return 0
    if any(each.missing_runtime for each in mates):
        return None
    return sum((each.replicas or 0) * sum(map(container_count, each.containers)) for each in mates)


def _leader_worker_set(bundle: Bundle, workload: Workload) -> int | None:
    size = as_whole(dig(workload.document.body, "spec.leaderWorkerTemplate.size")) or 1
    template = next((each for each in of_document(bundle, workload.document) if ".workerTemplate" in each.path), None)
    return None if template is None else (size - 1) * sum(map(container_count, template.containers))


def _roomy(bundle: Bundle) -> Iterator[Look]:
    for workload in workloads(bundle):
        if workload.missing_runtime or workload.kind == "LLMInferenceService":
            continue
        for container in workload.containers:
            several = container_count(container) > 1 and _exclusive(container)
            if several and (container.runs_vllm or workload.role == "worker"):
                yield _shm(workload, container)


def _shm(workload: Workload, container: Container) -> Look:
    gpus = f"{container_count(container)} GPUs"
    mount = next(
        (
            each
            for each in as_maps(container.body.get("volumeMounts"))
            if as_text(each.get("mountPath")).rstrip("/") == "/dev/shm"
        ),
        None,
    )
    if workload.spec.get("hostIPC") is True:
        return Held(workload.document)
    name = as_text(as_map(mount).get("name"))
    volume = next((each for each in as_maps(workload.spec.get("volumes")) if each.get("name") == name), None)
    empty = as_map(volume).get("emptyDir")
    limit = quantity(as_text(as_map(empty).get("sizeLimit")))
    if mount is None:
        observed = f"{gpus}, /dev/shm of 64 MiB"
    elif volume is not None and "emptyDir" in volume and as_map(empty).get("medium") != "Memory":
        observed = f"{gpus}, /dev/shm on disk"
    elif limit is not None and limit < LEAST_SHM:
        observed = f"{gpus}, /dev/shm of {as_text(as_map(empty).get('sizeLimit'))}"
    else:
        return Held(workload.document)
    return Fault(
        workload.document,
        f"{container.path}.volumeMounts",
        observed,
        "a memory volume of 1Gi or more at /dev/shm",
        "add volume {name: shm, emptyDir: {medium: Memory, sizeLimit: 2Gi}} and mount it at /dev/shm",
        workload.label,
    )


RULES: Final = (
    Rule(
        GPUS_USED,
        Severity.ERROR,
        "vLLM takes as many GPUs as its parallel sizes multiply to: with fewer GPUs in the Pod it does not start, with "
        "more the rest is paid for and idle.",
        _used,
    ),
    Rule(
        SHM_LARGE,
        Severity.ERROR,
        "vLLM's workers and NCCL exchange data through /dev/shm, which a container runtime makes 64 MiB small: the "
        "engine hangs or dies while it starts, or at the first large batch.",
        _roomy,
    ),
)
