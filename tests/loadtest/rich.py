"""A run with everything in it: phases, an A/B pair, replicas, every way to fail, telemetry, the harness's own lag."""

from __future__ import annotations

import random
from typing import Any

from serving.facts.histogram import Histogram
from serving.facts.series import Series
from serving.facts.telemetry import Source, Telemetry
from serving.facts.traffic import SCHEMA, LoadPlan, Outcome, Phase, RequestSeen, RunEnd, RunPlan, Traffic
from tests.loadtest.runs import failed, request

PHASES = (
    Phase("warm-up", 0.0, 4.0, 10.0, counts=False),
    Phase("steady", 4.0, 20.0, 10.0),
    Phase("spike", 20.0, 26.0, 30.0),
    Phase("recovery", 26.0, 36.0, 10.0),
    Phase("cool-down", 36.0, 40.0, 10.0, counts=False),
)
ELAPSED_S = 43.0


def rich(seed: int = 3) -> Traffic:
    """About 500 requests; the server is slow and fails around second 24."""
    rng = random.Random(seed)
    requests: list[RequestSeen] = []
    for number, phase in enumerate(PHASES):
        at = phase.start_s
        while phase.end_s is not None and at < phase.end_s:
            requests.append(_one(len(requests), number, at, rng))
            at += rng.expovariate(phase.rate_per_s or 1.0)
    lag = Histogram()
    lag.add_many([rng.lognormvariate(-2, 1) for _ in range(5_000)])
    plan = RunPlan(
        SCHEMA,
        "2026-01-02T03:04:05+00:00",
        "canary",
        "http://127.0.0.1:8000",
        "tiny",
        LoadPlan("poisson", 7, len(requests), None, 40.0, phases=PHASES),
        {"warmgate": "0", "python": "3.11"},
    )
    chunks = sum(seen.chunks for seen in requests)
    loop_lag = {"p50": 0.1, "p99": 1.2, "max": 4.0}
    end = RunEnd(len(requests), ELAPSED_S, None, loop_lag, 2.5, lag.document(), 0.75, chunks, 12, core_share=0.06)
    return Traffic(plan, tuple(requests), end)


def _one(index: int, phase: int, at: float, rng: random.Random) -> RequestSeen:
    hot = 1 + 6 * max(0.0, 1 - abs(at - 24) / 6)
    arm = ("baseline", "candidate")[index % 2]
    seen: dict[str, Any] = {"scheduled_s": at, "phase": phase, "arm": arm}
    if hot > 4 and index % 5 == 0:
        outcome = list(Outcome)[1 + index // 5 % 6]
        sent = None if outcome is Outcome.NOT_SENT else at
        return failed(index, outcome, f"because {outcome}", sent_s=sent, end_s=sent and sent + 2, **seen)
    first = at + 0.1 * hot * rng.lognormvariate(0, 0.3)
    chunks = [first]
    for _ in range(rng.randrange(10, 40)):
        chunks.append(chunks[-1] + 0.02 * rng.lognormvariate(0, 0.3))
    return request(
        index,
        tokens=len(chunks),
        chunk_s=tuple(chunks),
        sent_s=at + 0.0005,
        content_s=first,
        cached_tokens=3,
        replica=f"pod-{index % 3}",
        sane=None if index % 20 else index % 40 == 0,
        **seen,
    )


def telemetry() -> Telemetry:
    """Two engines, one of which did not answer for a while, a GPU, and the harness."""
    at = tuple(second + 0.3 for second in range(int(ELAPSED_S)))
    hot = [6 * max(0.0, 1 - abs(second - 24) / 6) for second in at]
    series = {}
    for pod in ("pod-0", "pod-1"):
        series[pod, "running"] = Series(at, tuple(2 + 2 * heat for heat in hot))
        series[pod, "waiting"] = Series(at, tuple(max(0.0, 3 * heat - 6) for heat in hot))
        series[pod, "kv_cache_usage"] = Series(at, tuple(min(1.0, 0.1 + heat / 8) for heat in hot))
        series[pod, "preemptions"] = Series(at, tuple(float(sum(hot[: n + 1]) // 10) for n in range(len(hot))))
    series["gpu:GPU-1", "gpu_used_mib"] = Series(at, tuple(71_000.0 for _ in at))
    series["gpu:GPU-1", "gpu_free_mib"] = Series(at, tuple(10_000.0 for _ in at))
    series["harness", "harness_lag_ms"] = Series(at, tuple(0.2 for _ in at))
    series["harness", "harness_cpu"] = Series(at, tuple(0.05 for _ in at))
    sources = tuple(Source(pod, "engine", f"http://127.0.0.1/{pod}/metrics") for pod in ("pod-0", "pod-1"))
    return Telemetry(
        sources=(*sources, Source("gpu", "gpu", "NVML"), Source("harness", "harness")),
        series=series,
        missed={"pod-1": ((22.0, "connection refused"), (23.0, "connection refused"))},
    )
