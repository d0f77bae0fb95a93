"""The workers of a multi-node InferenceService: their template, and how many of them KServe will start.

Follows the controller's `multiNodeProcess`: with Ray the nodes follow from the GPUs of one worker, else from the
pipeline's depth. The GPUs of a container that names none are filled in, as KServe does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from serving.facts.kube.shape import as_count, as_map, as_maps, as_texts, as_whole, dig, text_map

WORKER: Final = "worker-container"
GPU: Final = "nvidia.com/gpu"
GPU_TYPES: Final = (GPU, "amd.com/gpu", "intel.com/gpu", "habana.ai/gaudi")

Merge = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]


def worker_template(
    merge: Merge,
    base: Mapping[str, Any],
    runtime: Mapping[str, Any],
    written: Mapping[str, Any],
    head: Mapping[str, Any],
    backend: str,
) -> tuple[dict[str, Any], int]:
    """A worker's PodSpec and the number of workers: the runtime's `workerSpec` under the predictor's."""
    depth, width = (_size(written, runtime, f"{kind}ParallelSize") for kind in ("pipeline", "tensor"))
    ours = {key: value for key, value in written.items() if not key.endswith("ParallelSize")}
    theirs = next((each for each in as_maps(base.get("containers")) if each.get("name") == WORKER), {"name": WORKER})
    own = next(iter(as_maps(ours.get("containers"))), {})
    container = merge(theirs, own)
    arguments = [*as_texts(theirs.get("args")), *as_texts(own.get("args"))]
    container |= {"args": arguments} if arguments else {}
    first: Mapping[str, Any] = next(iter(as_maps(head.get("containers"))), {})
    nodes, gpus = (depth, width) if backend == "mp" else _ray(depth * width, _gpus(container), _gpus(first))
    if gpus and not _gpus(container) and runtime:
        container = merge(container, {"resources": {"requests": {GPU: str(gpus)}, "limits": {GPU: str(gpus)}}})
    pod = merge({key: value for key, value in base.items() if key != "containers"}, ours)
    return {**pod, "containers": [container]}, max(nodes - 1, 0)


def _size(written: Mapping[str, Any], runtime: Mapping[str, Any], member: str) -> int:
    return as_whole(written.get(member)) or as_whole(runtime.get(member)) or 1


def _gpus(container: Mapping[str, Any]) -> int:
    asked = text_map(dig(container, "resources.limits")) | text_map(dig(as_map(container), "resources.requests"))
    return next((number for kind in GPU_TYPES if (number := as_count(asked.get(kind, ""))) is not None), 0)


def _ray(total: int, worker: int, head: int) -> tuple[int, int]:
    """Nodes, the head among them, and GPUs of a worker."""
    if worker:
        alone = head > 0 and head >= total
        return (1, 0) if alone or worker >= total else (-(-total // worker), worker)
    if head:
        return 1 + max(total - head, 0), 1
    return total, 1
