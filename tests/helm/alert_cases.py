"""What was scraped of an endpoint, once a minute, and which alert must or must not say something about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

STABLE, CANARY = "qwen-r1-predictor", "qwen-r2-predictor"
GIB = 2**30


def series(metric: str, **labels: object) -> str:
    pairs = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{metric}{{{pairs}}}"


def of(metric: str, pod: str = "a", deployment: str = STABLE, **more: object) -> str:
    """A series as the PodMonitor's relabelling makes it."""
    return series(metric, namespace="llm", model_endpoint="qwen", deployment=deployment, pod=pod, **more)


def state(name: str, pod: str = "a") -> str:
    return of("warmgate_state", pod, state=name)


def seconds(name: str, pod: str = "a") -> str:
    return of("warmgate_state_seconds_total", pod, state=name)


def ended(reason: str) -> str:
    return of("vllm:request_success_total", model_name="qwen", engine=0, finished_reason=reason)


def dcgm(metric: str, pod: str = "a") -> str:
    of_ours = {"exported_namespace": "llm", "exported_pod": pod, "gpu": 3, "UUID": "GPU-1"}
    return series(metric, namespace="gpu-operator", pod="exporter", **of_ours)


def ttft(within_a_second: int, all_of_them: int) -> dict[str, str]:
    """So many requests a minute, and how many of them had their first token within a second."""
    counts = {"1.0": within_a_second, "2.5": all_of_them, "+Inf": all_of_them}
    buckets = {of("vllm:time_to_first_token_seconds_bucket", le=le): f"0+{count}x20" for le, count in counts.items()}
    return buckets | {of("vllm:time_to_first_token_seconds_count"): f"0+{all_of_them}x20"}


class Case(NamedTuple):
    """What was scraped, and what is said of it at that moment: nothing when it says so."""

    alert: str
    name: str
    scraped: Mapping[str, str]
    at: str
    says: str | None = None
    labels: Mapping[str, str] = {}


CASES = [
    Case(
        "WarmgateMetricsAbsent",
        "never-scraped",
        {'warmgate_ready{namespace="other"}': "1x10"},
        "6m",
        "No agent of qwen is scraped",
        {"namespace": "llm", "model_endpoint": "qwen", "severity": "critical"},
    ),
    Case("WarmgateMetricsAbsent", "vanished", {of("warmgate_ready"): "1x5 stale"}, "12m", "No agent of qwen"),
    Case("WarmgateMetricsAbsent", "all-loading", {of("warmgate_ready"): "0x20"}, "20m"),
    Case(
        "WarmgateNoWarmReplica",
        "all-went",
        {of("warmgate_ready"): "1x5 0x10", of("warmgate_ready", "b"): "1x4 0x10"},
        "8m",
        "No replica of qwen is warm",
        {"severity": "critical"},
    ),
    Case("WarmgateNoWarmReplica", "first-start", {of("warmgate_ready"): "0x20"}, "20m"),
    Case(
        "WarmgateNoWarmReplica",
        "one-is-left",
        {of("warmgate_ready"): "1x5 0x10", of("warmgate_ready", "b"): "1x20"},
        "10m",
    ),
    Case(
        "WarmgateWarmCapacityLow",
        "one-of-two",
        {of("warmgate_ready"): "1x20", of("warmgate_ready", "b"): "1x5 0x20"},
        "12m",
        "qwen has fewer warm replicas than the 2 it should",
    ),
    Case(
        "WarmgateWarmCapacityLow",
        "not-for-long",
        {of("warmgate_ready"): "1x20", of("warmgate_ready", "b"): "1x5 0x3 1x9"},
        "12m",
    ),
    Case(
        "WarmgateWarmCapacityLow",
        "a-surge",
        {of("warmgate_ready", pod): "1x20" for pod in "ab"} | {of("warmgate_ready", "c"): "0x20"},
        "12m",
    ),
    Case(
        "WarmgateWarmCapacityLow",
        "the-canary-counts",
        {of("warmgate_ready"): "1x20", of("warmgate_ready", "b", CANARY): "1x20"},
        "12m",
    ),
    Case(
        "WarmgateNotReady",
        "over-its-budget",
        {of("warmgate_ready"): "0x20"},
        "8m",
        "a runs and is not ready",
        {"pod": "a", "deployment": STABLE},
    ),
    Case("WarmgateNotReady", "within-its-budget", {of("warmgate_ready"): "0x20"}, "7m"),
    Case(
        "WarmgateNotReady",
        "starts-over-and-over",
        {of("warmgate_ready"): "0x2 stale _x3 0x2 stale _x3 0x2"},
        "9m",
        "a runs and",
    ),
    Case("WarmgateNotReady", "in-time", {of("warmgate_ready"): "0x6 1x20"}, "20m"),
    Case(
        "WarmgateStalled",
        "does-not-move",
        {state("stalled"): "0x3 1x9", state("ready"): "1x3 0x9"},
        "6m",
        "The engine of a does not move",
    ),
    Case("WarmgateStalled", "moves-again", {state("stalled"): "0x3 1 0x9"}, "5m"),
    Case("WarmgateOverBudget", "gpu-full", {state("over_budget"): "0x3 1x9"}, "6m", "A GPU of a has less free memory"),
    Case("WarmgateOverBudget", "other-state", {state("over_budget"): "0x9", state("sleeping"): "1x9"}, "6m"),
    Case(
        "WarmgateLoadSlow",
        "still-loading",
        {seconds("starting"): "20x10", seconds("loading"): "0+60x10"},
        "6m",
        "a takes longer to load than the declared 300 s",
    ),
    Case("WarmgateLoadSlow", "as-declared", {seconds("starting"): "20x20", seconds("loading"): "0+60x4 240x20"}, "15m"),
    Case(
        "WarmgateLoadSlow",
        "ready-after-all",
        {seconds("loading"): "400x9", seconds("ready"): "0+60x9"},
        "9m",
        "a takes",
    ),
    Case("WarmgateLoadSlow", "long-ago", {seconds("loading"): "400x9", seconds("ready"): "7200+60x9"}, "9m"),
    Case("WarmgateEngineMetricsAbsent", "ready", {of("warmgate_ready"): "1x9"}, "6m", "a is ready, and vLLM"),
    Case("WarmgateEngineMetricsAbsent", "loading", {of("warmgate_ready"): "0x9"}, "6m"),
    Case(
        "WarmgateEngineMetricsAbsent",
        "seen",
        {of("warmgate_ready"): "1x9", of("vllm:num_requests_running", engine=0): "0x9"},
        "6m",
    ),
    Case(
        "WarmgateQueueGrowing",
        "on-average",
        {
            of("vllm:num_requests_waiting_by_reason", reason="capacity"): "20x9",
            of("vllm:num_requests_waiting_by_reason", "b", reason="capacity"): "0x9",
        },
        "6m",
        f"Requests queue up at {STABLE}",
    ),
    Case(
        "WarmgateQueueGrowing",
        "deferred",
        {
            of("vllm:num_requests_waiting_by_reason", reason="capacity"): "3x9",
            of("vllm:num_requests_waiting_by_reason", reason="deferred"): "20x9",
        },
        "6m",
    ),
    Case(
        "WarmgateQueueGrowing",
        "canary-alone",
        {
            of("vllm:num_requests_waiting_by_reason", reason="capacity"): "0x9",
            of("vllm:num_requests_waiting_by_reason", "b", CANARY, reason="capacity"): "9x9",
        },
        "6m",
        f"Requests queue up at {CANARY}",
        {"deployment": CANARY},
    ),
    Case(
        "WarmgateKvCacheFull",
        "preempts",
        {of("vllm:kv_cache_usage_perc"): "0.97x20", of("vllm:num_preemptions_total"): "0+5x20"},
        "12m",
        "The KV cache of a is full",
    ),
    Case(
        "WarmgateKvCacheFull",
        "full-and-well",
        {of("vllm:kv_cache_usage_perc"): "0.97x20", of("vllm:num_preemptions_total"): "7x20"},
        "12m",
    ),
    Case(
        "WarmgateKvCacheFull",
        "half-empty",
        {of("vllm:kv_cache_usage_perc"): "0.5x20", of("vllm:num_preemptions_total"): "0+5x20"},
        "12m",
    ),
    Case("WarmgateTtftHigh", "one-in-ten", ttft(90, 100), "15m", f"p95 of TTFT at {STABLE} is over 1 s"),
    Case("WarmgateTtftHigh", "one-in-a-hundred", ttft(99, 100), "15m"),
    Case("WarmgateTtftHigh", "too-few-to-tell", ttft(0, 3), "15m"),
    Case(
        "WarmgateRequestErrors",
        "two-percent",
        {ended("stop"): "0+98x20", ended("error"): "0+2x20"},
        "12m",
        f"2% of the requests at {STABLE} end with an error",
    ),
    Case("WarmgateRequestErrors", "half-a-percent", {ended("stop"): "0+199x20", ended("error"): "0+1x20"}, "12m"),
    Case(
        "WarmgateRequestErrors",
        "clients-went",
        {ended("stop"): "0+50x20", ended("abort"): "0+50x20", ended("error"): "0x20"},
        "12m",
    ),
    Case(
        "WarmgateRequestAborts",
        "one-in-five",
        {ended("length"): "0+80x20", ended("abort"): "0+20x20"},
        "16m",
        f"20% of the requests at {STABLE} are aborted",
    ),
    Case("WarmgateRequestAborts", "one-in-twenty", {ended("length"): "0+95x20", ended("abort"): "0+5x20"}, "16m"),
    Case(
        "WarmgateRequestsRejected",
        "some",
        {of("vllm:admission_rejections_total", reason="queued_reqs"): "0+1x20"},
        "12m",
        f"{STABLE} turns requests away",
    ),
    Case(
        "WarmgateRequestsRejected", "none", {of("vllm:admission_rejections_total", reason="queued_reqs"): "3x20"}, "12m"
    ),
    Case(
        "WarmgateKvBlocksDiffer",
        "cold-cache",
        {
            of("vllm:cache_config_info", num_gpu_blocks=1000): "1x40",
            of("vllm:cache_config_info", "b", num_gpu_blocks=950): "1x40",
        },
        "35m",
        f"Replicas of {STABLE} have KV caches of 2 sizes",
    ),
    Case(
        "WarmgateKvBlocksDiffer",
        "two-versions",
        {
            of("vllm:cache_config_info", num_gpu_blocks=1000): "1x40",
            of("vllm:cache_config_info", "b", CANARY, num_gpu_blocks=950): "1x40",
        },
        "35m",
    ),
    Case(
        "WarmgateGpuMemoryDrift",
        "leaks",
        {
            of("warmgate_gpu_memory_used_bytes", uuid="GPU-1"): f"{70 * GIB}+{2 * 2**20}x450",
            seconds("ready"): "600+60x450",
        },
        "420m",
        "GPU memory of a grows while it serves",
    ),
    Case(
        "WarmgateGpuMemoryDrift",
        "constant",
        {of("warmgate_gpu_memory_used_bytes", uuid="GPU-1"): f"{70 * GIB}x450", seconds("ready"): "600+60x450"},
        "420m",
    ),
    Case(
        "WarmgateGpuMemoryDrift",
        "loaded-since",
        {
            of("warmgate_gpu_memory_used_bytes", uuid="GPU-1"): f"0x100 {70 * GIB}x350",
            seconds("ready"): "_x100 0+60x350",
        },
        "440m",
    ),
    Case(
        "WarmgateGpuXid",
        "fell-off-the-bus",
        {dcgm("DCGM_FI_DEV_XID_ERRORS"): "0x10 79x30", of("warmgate_live"): "1x40"},
        "15m",
        "GPU 3 (GPU-1) of a reported XID 79",
        {"namespace": "llm", "pod": "a"},
    ),
    Case(
        "WarmgateGpuXid",
        "before-our-time",
        {dcgm("DCGM_FI_DEV_XID_ERRORS"): "79x40", of("warmgate_live"): "1x40"},
        "15m",
    ),
    Case(
        "WarmgateGpuXid",
        "of-another-pod",
        {dcgm("DCGM_FI_DEV_XID_ERRORS", "b"): "0x10 79x30", of("warmgate_live"): "1x40"},
        "15m",
    ),
    Case(
        "WarmgateGpuMemoryDriftSeenByDcgm",
        "leaks",
        {dcgm("DCGM_FI_DEV_FB_USED"): "70000+2x450", seconds("ready"): "600+60x450"},
        "420m",
        "GPU memory of a grows",
        {"pod": "a"},
    ),
    Case(
        "WarmgateGpuMemoryDriftSeenByDcgm",
        "constant",
        {dcgm("DCGM_FI_DEV_FB_USED"): "70000x450", seconds("ready"): "600+60x450"},
        "420m",
    ),
]
