"""Other tools' figures, worked out by hand from one stream as those tools would."""

from __future__ import annotations

import math

import pytest

from serving.facts.aliases import ALIASES, alias_quantile, alias_samples
from serving.facts.columns import columns
from tests.loadtest.runs import failed, request

# Due at 10 s, sent at 10.5 s, chunks at 11, 11.2, 11.3 and 12 s, 8 tokens in all, [DONE] at 12.1 s.
SEEN = request(
    scheduled_s=10.0,
    sent_s=10.5,
    chunk_s=(11.0, 11.2, 11.3, 12.0),
    completion_tokens=8,
    end_s=12.1,
)
BY_HAND = {
    ("vllm bench serve", "ttft"): [500.0],
    ("vllm bench serve", "tpot"): [1000 / 7],
    ("vllm bench serve", "itl"): [200.0, 100.0, 700.0],
    ("vllm bench serve", "e2el"): [1500.0],
    ("GuideLLM", "time_to_first_token_ms"): [500.0],
    ("GuideLLM", "inter_token_latency_ms"): [1000 / 7],
    ("GuideLLM", "time_per_output_token_ms"): [1500 / 8],
    ("GuideLLM", "request_latency"): [1600.0],
    ("AIPerf", "time_to_first_token"): [500.0],
    ("AIPerf", "inter_token_latency"): [1000 / 7],
    ("AIPerf", "inter_chunk_latency"): [200.0, 100.0, 700.0],
    ("AIPerf", "request_latency"): [1500.0],
    ("inference-perf", "time_to_first_token"): [500.0],
    ("inference-perf", "time_per_output_token"): [1000 / 7],
    ("inference-perf", "normalized_time_per_output_token"): [1600 / 8],
    ("inference-perf", "request_latency"): [1600.0],
}


@pytest.mark.parametrize("alias", ALIASES, ids=lambda alias: f"{alias.tool} {alias.name}")
def test_each_figure_is_the_tools_own(alias):
    expected = BY_HAND[alias.tool, alias.name]
    assert alias_samples(alias, columns([SEEN])).tolist() == pytest.approx(expected, abs=2e-3)


def test_every_figure_was_worked_out():
    assert {(alias.tool, alias.name) for alias in ALIASES} == set(BY_HAND)


def test_they_leave_out_failures_and_what_is_undefined_as_those_tools_do():
    one_token = request(1, tokens=1)
    for alias in ALIASES:
        with_failures = alias_samples(alias, columns([SEEN, failed(2)]))
        assert with_failures.tolist() == alias_samples(alias, columns([SEEN])).tolist()
        assert all(math.isfinite(value) for value in alias_samples(alias, columns([SEEN, one_token])))
        assert alias_samples(alias, columns([failed(3)])).size == 0


def test_their_quantiles_lie_between_two_samples():
    samples = alias_samples(ALIASES[2], columns([SEEN]))
    assert alias_quantile(samples, 0.5) == pytest.approx(200.0, abs=1e-3)
    assert alias_quantile(samples, 0.75) == pytest.approx(450.0, abs=1e-3)
    assert alias_quantile(samples[:0], 0.5) is None
