"""Reading vLLM's counters, and the warm-up over an engine whose TTFT is scripted."""

from __future__ import annotations

import asyncio
from itertools import chain, repeat

import pytest

from serving.agent.engine_api import Generation, Sample, read_metrics
from serving.agent.settings import Settings
from serving.agent.warmup import prompt_of, spread_of, warm_up
from serving.errors import CannotObserve
from serving.facts.model import Warmup

# What vLLM 0.32.0 answers, shortened; two engine cores, as with data parallelism.
EXPOSITION = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="smol"} 2.0
vllm:num_requests_running{engine="1",model_name="smol"} 1.0
vllm:num_requests_waiting{engine="0",model_name="smol"} 4.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="smol",reason="capacity"} 4.0
vllm:engine_sleep_state{engine="0",model_name="smol",sleep_state="awake"} 1.0
vllm:engine_sleep_state{engine="0",model_name="smol",sleep_state="weights_offloaded"} 0.0
vllm:engine_sleep_state{engine="0",model_name="smol",sleep_state="discard_all"} 0.0
vllm:kv_cache_usage_perc{engine="0",model_name="smol"} 0.25
vllm:prompt_tokens_total{engine="0",model_name="smol"} 100.0
vllm:prompt_tokens_created{engine="0",model_name="smol"} 1.79e+09
vllm:generation_tokens_total{engine="0",model_name="smol"} 1.5e+03
vllm:iteration_tokens_total_bucket{engine="0",le="+Inf",model_name="smol"} 70.0
vllm:iteration_tokens_total_count{engine="0",model_name="smol"} 70.0
process_resident_memory_bytes 1.0e+09
"""


def test_counters_are_summed_over_engine_cores_and_nothing_else_is_read():
    assert read_metrics(EXPOSITION) == Sample(3, 4, (70.0, 1500.0, 100.0, 0.25), asleep=False)


@pytest.mark.parametrize("state", ["weights_offloaded", "discard_all"])
def test_either_depth_of_sleep_is_sleep(state: str):
    asleep = EXPOSITION.replace('sleep_state="awake"} 1.0', 'sleep_state="awake"} 0.0')
    assert read_metrics(asleep.replace(f'sleep_state="{state}"}} 0.0', f'sleep_state="{state}"}} 1.0')).asleep


class Scripted:
    """An engine that answers each generation with the next TTFT, or fails."""

    def __init__(self, *ttft_ms: float | Exception) -> None:
        self._answers = chain(ttft_ms, repeat(ttft_ms[-1]))
        self.prompts: list[str] = []

    async def generate(self, prompt: str, max_tokens: int, timeout_s: float) -> Generation:
        self.prompts.append(prompt)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return Generation(answer, max_tokens)


def warmed(engine: Scripted, **options: float) -> Warmup:
    settings = Settings.model_validate({"warmup_requests": 8, "warmup_window": 3, "warmup_spread": 0.2, **options})
    return asyncio.run(warm_up(engine, settings, lambda figures: None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ttft_ms", "requests", "settled"),
    [
        pytest.param([100, 100], 3, True, id="settled from the first on: as many as the window"),
        pytest.param([900, 300, 110, 100, 105], 5, True, id="cold first ones fall out of the window"),
        pytest.param([100, 200, 300, 100, 200, 300, 100, 200], 8, False, id="never settled: the bound"),
        pytest.param([100, 110, 121], 3, True, id="a spread just within: 21 of 110"),
        pytest.param([100, 110, 123, 300, 1, 300, 1, 300], 8, False, id="a spread just beyond: 23 of 110"),
    ],
)
def test_it_generates_until_ttft_settles_or_the_bound_is_reached(ttft_ms: list[float], requests: int, settled: bool):
    done = warmed(Scripted(*ttft_ms))
    assert (done.requests, done.settled) == (requests, settled)
    assert list(done.ttft_ms[: len(ttft_ms)]) == ttft_ms[:requests]


def test_an_engine_that_cannot_generate_is_not_warm():
    with pytest.raises(CannotObserve, match="HTTP 400"):
        warmed(Scripted(100, CannotObserve("HTTP 400")))


def test_no_two_prompts_share_their_first_word_so_none_is_served_from_the_prefix_cache():
    engine = Scripted(100, 200, 300, 100, 200, 300, 100, 200)
    warmed(engine)
    firsts = [prompt.split()[0] for prompt in engine.prompts]
    assert len(set(firsts)) == len(firsts) == 8
    assert {len(prompt_of(seed, 64).split()) for seed in range(20)} == {63}


def test_spread_needs_a_full_window():
    assert spread_of([1.0, 1.0], 3) is None
    assert spread_of([5.0, 1.0, 1.5, 1.25], 3) == 0.4
