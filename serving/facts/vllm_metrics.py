"""The metrics of vLLM 0.32 as a scrape sees them: names with their suffixes, and the labels that each one carries.

A test compares the list with a recorded scrape. What is exported only with certain features is known by its prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PREFIX: Final = "vllm:"
BASE: Final = frozenset({"model_name", "engine"})
GAUGES: Final[Mapping[str, frozenset[str]]] = {
    "num_requests_running": BASE,
    "num_requests_waiting": BASE,
    "num_requests_waiting_by_reason": BASE | {"reason"},
    "num_requests_kv_fetch_by_stage": BASE | {"stage"},
    "engine_sleep_state": BASE | {"sleep_state"},
    "kv_cache_usage_perc": BASE,
    "lora_requests_info": frozenset({"max_lora", "waiting_lora_adapters", "running_lora_adapters"}),
}
COUNTERS: Final[Mapping[str, frozenset[str]]] = {
    "prefix_cache_queries": BASE,
    "prefix_cache_hits": BASE,
    "external_prefix_cache_queries": BASE,
    "external_prefix_cache_hits": BASE,
    "mm_cache_queries": BASE,
    "mm_cache_hits": BASE,
    "num_preemptions": BASE,
    "prompt_tokens": BASE,
    "prompt_tokens_by_source": BASE | {"source"},
    "prompt_tokens_cached": BASE,
    "prompt_tokens_cached_by_source": BASE | {"source"},
    "generation_tokens": BASE,
    "request_success": BASE | {"finished_reason"},
    "corrupted_requests": BASE,
    "watermark_requests": BASE | {"status"},
    "admission_rejections": frozenset({"model_name", "reason"}),
    "estimated_flops_per_gpu": BASE,
    "estimated_read_bytes_per_gpu": BASE,
    "estimated_write_bytes_per_gpu": BASE,
}
HISTOGRAMS: Final = (
    "request_prompt_tokens",
    "request_generation_tokens",
    "iteration_tokens_total",
    "request_max_num_generation_tokens",
    "request_params_n",
    "request_params_max_tokens",
    "time_to_first_token_seconds",
    "inter_token_latency_seconds",
    "request_time_per_output_token_seconds",
    "e2e_request_latency_seconds",
    "request_queue_time_seconds",
    "request_inference_time_seconds",
    "request_prefill_time_seconds",
    "request_decode_time_seconds",
    "request_num_preemptions",
    "request_prefill_kv_computed_tokens",
    "kv_block_lifetime_seconds",
    "kv_block_idle_before_evict_seconds",
    "kv_block_reuse_gap_seconds",
)
FEATURES: Final = tuple(  # exported with a feature or a connector only, labels differ
    f"{PREFIX}{name}_"
    for name in (
        "cache_config",
        "diffusion",
        "hf3fs",
        "hisparse",
        "kv_offload",
        "kvcr",
        "mooncake_store",
        "nixl",
        "simple_kv_offload",
        "spec_decode",
        "tool_call_parser",
        "websocket",
    )
)
RENAMED: Final = {  # of older releases, as public examples still have them
    "vllm:gpu_cache_usage_perc": "vllm:kv_cache_usage_perc",
    "vllm:time_per_output_token_seconds": "vllm:inter_token_latency_seconds",
    "vllm:gpu_prefix_cache_hits_total": "vllm:prefix_cache_hits_total",
    "vllm:gpu_prefix_cache_queries_total": "vllm:prefix_cache_queries_total",
    "vllm:request_max_tokens": "vllm:request_params_max_tokens",
}
ROUTER: Final = frozenset({"vllm:num_incoming_requests_total"})  # of a router before the engines, not of vLLM
SCRAPED: Final = frozenset(  # what scrapes of Kubernetes usually add
    {"namespace", "pod", "job", "instance", "container", "service", "endpoint", "app", "node"}
    | {"cluster", "region", "zone", "environment", "env", "prometheus", "prometheus_replica", "tenant"}
    | {"exported_job", "exported_instance", "exported_namespace", "exported_pod", "exported_container"}
    | {"kubernetes_namespace", "kubernetes_pod_name", "pod_name"}
)


def _known() -> dict[str, frozenset[str]]:
    found = {f"{PREFIX}{name}": labels for name, labels in GAUGES.items()}
    for name, labels in COUNTERS.items():
        found |= {f"{PREFIX}{name}_{suffix}": labels for suffix in ("total", "created")}
    for name in HISTOGRAMS:
        found |= {f"{PREFIX}{name}_{suffix}": BASE for suffix in ("sum", "count", "created")}
        found[f"{PREFIX}{name}_bucket"] = BASE | {"le"}
    return found


METRICS: Final[Mapping[str, frozenset[str]]] = _known()


def of_vllm(name: str) -> bool:
    """Does the name claim to be a metric of a vLLM server?"""
    return name.startswith(PREFIX) and name not in ROUTER


def labels_of(name: str) -> frozenset[str] | None:
    """The labels that vLLM gives a metric; None where it has no such metric, or its labels are not known."""
    return METRICS.get(name)


def exists(name: str) -> bool:
    """Is there such a metric, at least with some feature?"""
    return name in METRICS or name.startswith(FEATURES)
