"""The list against what a server of vLLM 0.32 said at /metrics: type, name and labels of every family, as recorded."""

from __future__ import annotations

import pytest

from serving.facts.vllm_metrics import METRICS, RENAMED, exists, labels_of, of_vllm

SCRAPE = """
counter vllm:estimated_flops_per_gpu_total engine,model_name
counter vllm:estimated_read_bytes_per_gpu_total engine,model_name
counter vllm:estimated_write_bytes_per_gpu_total engine,model_name
gauge vllm:num_requests_running engine,model_name
gauge vllm:num_requests_waiting engine,model_name
gauge vllm:num_requests_waiting_by_reason engine,model_name,reason
gauge vllm:engine_sleep_state engine,model_name,sleep_state
gauge vllm:kv_cache_usage_perc engine,model_name
counter vllm:prefix_cache_queries_total engine,model_name
counter vllm:prefix_cache_hits_total engine,model_name
counter vllm:external_prefix_cache_queries_total engine,model_name
counter vllm:external_prefix_cache_hits_total engine,model_name
counter vllm:mm_cache_queries_total engine,model_name
counter vllm:mm_cache_hits_total engine,model_name
counter vllm:num_preemptions_total engine,model_name
counter vllm:prompt_tokens_total engine,model_name
counter vllm:prompt_tokens_by_source_total engine,model_name,source
counter vllm:prompt_tokens_cached_total engine,model_name
counter vllm:prompt_tokens_cached_by_source_total engine,model_name,source
counter vllm:generation_tokens_total engine,model_name
counter vllm:request_success_total engine,finished_reason,model_name
counter vllm:admission_rejections_total model_name,reason
histogram vllm:request_prompt_tokens engine,model_name
histogram vllm:request_generation_tokens engine,model_name
histogram vllm:iteration_tokens_total engine,model_name
histogram vllm:request_max_num_generation_tokens engine,model_name
histogram vllm:request_params_n engine,model_name
histogram vllm:request_params_max_tokens engine,model_name
histogram vllm:time_to_first_token_seconds engine,model_name
histogram vllm:inter_token_latency_seconds engine,model_name
histogram vllm:request_time_per_output_token_seconds engine,model_name
histogram vllm:e2e_request_latency_seconds engine,model_name
histogram vllm:request_queue_time_seconds engine,model_name
histogram vllm:request_inference_time_seconds engine,model_name
histogram vllm:request_prefill_time_seconds engine,model_name
histogram vllm:request_decode_time_seconds engine,model_name
histogram vllm:request_num_preemptions engine,model_name
histogram vllm:request_prefill_kv_computed_tokens engine,model_name
"""
FAMILIES = [line.split() for line in SCRAPE.strip().splitlines()]


@pytest.mark.parametrize(("kind", "name", "labels"), FAMILIES, ids=[name for _, name, _ in FAMILIES])
def test_every_series_of_a_scrape_is_known_with_its_labels(kind: str, name: str, labels: str):
    expected = frozenset(labels.split(","))
    if kind != "histogram":
        assert labels_of(name) == expected
        return
    assert labels_of(f"{name}_sum") == labels_of(f"{name}_count") == expected
    assert labels_of(f"{name}_bucket") == expected | {"le"}


def test_nothing_else_is_known_but_what_a_feature_adds():
    scraped = {name.removesuffix("_total") for _, name, _ in FAMILIES}
    rest = {name for name in METRICS if not any(name.startswith(each) for each in scraped)}
    assert {name.removeprefix("vllm:").rpartition("_")[0] for name in rest} == {
        "num_requests_kv_fetch_by",
        "lora_requests",
        "corrupted_requests",
        "watermark_requests",
        "kv_block_lifetime_seconds",
        "kv_block_idle_before_evict_seconds",
        "kv_block_reuse_gap_seconds",
    }


@pytest.mark.parametrize("name", ["vllm:prompt_tokens", "vllm:time_to_first_token_seconds", *RENAMED])
def test_a_counter_needs_its_suffix_and_old_names_are_gone(name: str):
    assert not exists(name)


@pytest.mark.parametrize("name", ["vllm:spec_decode_num_drafts_total", "vllm:nixl_xfer_time_seconds_sum"])
def test_a_feature_is_known_by_its_prefix(name: str):
    assert exists(name)
    assert labels_of(name) is None


def test_a_router_may_share_the_prefix():
    assert not of_vllm("vllm:num_incoming_requests_total")
    assert of_vllm("vllm:num_requests_waiting")


@pytest.mark.parametrize("better", sorted(RENAMED.values()))
def test_what_replaced_an_old_name_is_there(better: str):
    assert exists(better) or exists(f"{better}_bucket")
