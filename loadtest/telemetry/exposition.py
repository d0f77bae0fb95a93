"""Reads Prometheus text: which series of vLLM and of a dcgm-exporter become which figures. Pure; asks nobody.

vLLM's names are those of its 0.32 (vllm/v1/metrics/loggers.py). Counts are summed over its engine cores, and of shares
the fullest core's is taken. A figure that is not a finite number was not seen.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from serving.errors import CannotObserve

VLLM: Final = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:kv_cache_usage_perc": "kv_cache_usage",
    "vllm:num_preemptions_total": "preemptions",
    "vllm:admission_rejections_total": "admission_rejections",
    "vllm:prompt_tokens_total": "prompt_tokens",
    "vllm:generation_tokens_total": "generation_tokens",
    "vllm:prefix_cache_queries_total": "prefix_queries",
    "vllm:prefix_cache_hits_total": "prefix_hits",
    "vllm:time_to_first_token_seconds_sum": "server_ttft_s",
    "vllm:time_to_first_token_seconds_count": "server_ttft_count",
    "vllm:request_queue_time_seconds_sum": "queue_time_s",
    "vllm:request_queue_time_seconds_count": "queue_time_count",
}
FULLEST: Final = frozenset({"kv_cache_usage"})
# A GPU's figure and what makes our unit of it: dcgm-exporter gives MiB, per cent and watts.
DCGM: Final = {
    "DCGM_FI_DEV_FB_USED": ("gpu_used_mib", 1.0),
    "DCGM_FI_DEV_FB_FREE": ("gpu_free_mib", 1.0),
    "DCGM_FI_DEV_GPU_UTIL": ("gpu_util", 0.01),
    "DCGM_FI_DEV_POWER_USAGE": ("gpu_power_w", 1.0),
    "DCGM_FI_DEV_XID_ERRORS": ("gpu_xid", 1.0),
}
DCGM_BLANK: Final = 2.0**31 - 16  # DCGM's ways of saying "no value" are all above: no figure here ever is


def vllm_values(text: str) -> dict[str, float]:
    """The figures of a vLLM server; empty when none of its series is there. Raises CannotObserve for other text."""
    found: dict[str, list[float]] = defaultdict(list)
    for sample in _samples(text):
        if sample.name in VLLM:
            found[VLLM[sample.name]].append(sample.value)
    combined = {name: max(values) if name in FULLEST else math.fsum(values) for name, values in found.items()}
    return {name: value for name, value in combined.items() if all(map(math.isfinite, found[name]))}


def dcgm_values(text: str, labels: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """The figures of each GPU or MIG slice whose series have these labels. Raises CannotObserve for other text.

    A GPU that is shared may come once for each Pod. Where those disagree (some exporters give each Pod's own share)
    the GPU's figure is not known, and left out.
    """
    found: dict[tuple[str, str], set[float]] = defaultdict(set)
    for sample in _samples(text):
        if sample.name in DCGM and all(sample.labels.get(key) == value for key, value in labels.items()):
            found[_device(sample.labels), sample.name].add(sample.value)
    devices: dict[str, dict[str, float]] = defaultdict(dict)
    for (device, name), values in found.items():
        metric, factor = DCGM[name]
        value = next(iter(values))
        if len(values) == 1 and 0 <= value < DCGM_BLANK:
            devices[device][metric] = value * factor
    return dict(devices)


def _device(labels: Mapping[str, str]) -> str:
    name = labels.get("UUID") or labels.get("gpu") or "?"
    return f"{name}/{labels['GPU_I_ID']}" if labels.get("GPU_I_ID") else name


def _samples(text: str) -> Iterator[Sample]:
    try:
        for family in text_string_to_metric_families(text):
            yield from family.samples
    except (ValueError, IndexError, KeyError) as error:
        raise CannotObserve("the answer is not Prometheus text: is this the metrics port?") from error
