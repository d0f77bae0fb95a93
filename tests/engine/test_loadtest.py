"""The harness against real vLLM: lengths, token counts, stamps, telemetry and sanity are as the engine says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from serving.facts.traffic import Outcome
from tests.engine.process import Served, agent
from tests.loadtest.harness import Done, Harness

PROMPT_TOKENS, ANSWER_TOKENS, REQUESTS = 200, 24, 30
PROFILE = {
    "load": {"arrivals": "constant", "rate_rps": 1.5, "duration_s": 20, "seed": 5},
    "prompts": {
        "tokens": PROMPT_TOKENS,
        "golden": {"share": 0.2, "questions": [{"ask": "What is the capital of France?", "expect": "Paris"}]},
    },
    "max_tokens": ANSWER_TOKENS,
    "ignore_eos": True,
    "confidence": "none",
    "harness": {"schedule_lag_p99_ms": 1000, "cpu_share": 1.0, "rate_error_share": 0.1},
    "slos": [
        {"metric": "ttft", "statistic": "p90", "at_most_ms": 20_000},
        {"metric": "itl", "statistic": "p90", "at_most_ms": 5_000},
        {"metric": "sanity", "at_least_share": 0.99},
        {"metric": "error_rate", "at_most_share": 0.0},
        {"telemetry": "kv_cache_usage", "statistic": "max", "at_most": 1.0},
        {"telemetry": "preemptions", "statistic": "increase", "at_most": 0},
    ],
}


@pytest.fixture(scope="module")
def served(embedded_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with agent(embedded_model, tmp_path_factory.mktemp("engine") / "agent.log") as process:
        process.wait_state("ready")
        yield process


@pytest.fixture(scope="module")
def done(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Done:
    directory = tmp_path_factory.mktemp("run")
    profile = directory / "profile.yaml"
    profile.write_text(yaml.safe_dump({**PROFILE, "telemetry": {"engines": [served.url], "agents": [served.admin]}}))
    harness = Harness(directory, "--profile", profile, "--base-url", served.url, "--model", "smol")
    return harness.wait(120)


def test_a_good_run_on_real_vllm_passes_every_gate_telemetry_and_sanity_included(done: Done):
    assert done.code == 0, done.out + done.err
    assert {finding["verdict"] for finding in done.report["findings"]} == {"pass"}
    assert done.report["outcomes"]["ok"] == REQUESTS


def test_prompts_have_the_length_that_was_asked_by_the_servers_own_count(done: Done):
    synthetic = [seen for seen in done.ledger.requests if seen.sane is None]
    assert len(synthetic) > REQUESTS / 2
    assert {seen.prompt_tokens for seen in synthetic} <= set(range(PROMPT_TOKENS - 1, PROMPT_TOKENS + 2))
    assert done.report["environment"]["prompts"]["approximated"] is False


def test_every_chunks_tokens_are_known_and_add_up_to_what_vllm_says_it_generated(done: Done):
    for seen in done.ledger.requests:
        counts = seen.tokens_per_chunk
        assert counts is not None
        assert sum(counts) == seen.completion_tokens == ANSWER_TOKENS
    assert done.report["tokens"]["output"] == REQUESTS * ANSWER_TOKENS


def test_every_read_carries_the_kernels_stamp(done: Done):
    assert done.ledger.end.kernel_stamps == 1.0
    assert all(seen.first_lag_ms is not None and seen.first_lag_ms >= 0 for seen in done.ledger.requests)


def test_golden_answers_are_checked_and_their_text_is_nowhere(done: Done):
    golden = [seen.sane for seen in done.ledger.requests if seen.sane is not None]
    assert golden
    assert all(golden)
    for path in done.directory.iterdir():
        assert "capital of France" not in path.read_text(), path


def test_telemetry_saw_the_engine_and_the_agent_and_the_servers_ttft_is_within_ours(done: Done):
    sources = {source["kind"]: source for source in done.report["telemetry"]["sources"]}
    assert {"engine", "agent", "harness"} <= set(sources)
    check = done.report["measurement"]["server_check"]
    assert check["why"] == ""
    assert 0 < check["network_ms"] < check["client_ttft_ms"]


def test_a_closed_loop_needs_nothing_but_the_command_line(served: Served, tmp_path: Path):
    arguments = ("--streams", "2", "--requests", "4", "--prompt-tokens", "64", "--output-tokens", "4", "--no-gates")
    done = Harness(tmp_path, *arguments, "--base-url", served.url).wait(60)
    assert done.code == 0, done.err
    assert [(seen.outcome, seen.prompt_tokens, seen.completion_tokens) for seen in done.ledger.requests] == [
        (Outcome.OK, 64, 4)
    ] * 4
