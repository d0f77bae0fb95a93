"""A whole run with telemetry: what servers say while they are loaded decides with the rest."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from loadtest.telemetry import SAMPLES_FILE, open_telemetry
from serving.facts.crosscheck import cross_check
from serving.judge.telemetry import judged_spans
from tests.fakes.metrics_server import MetricsServer, metrics_server, vllm_text
from tests.fakes.sse_server import Program, sse_server
from tests.loadtest.harness import Done, Harness, profile_file, run

LOAD = {"arrivals": "constant", "rate_rps": 5, "duration_s": 6}
GOOD = Program(ttft_ms=60, itl_ms=5, tokens=3)
GOODPUT = {"metric": "goodput", "at_least_share": 0.5}
FULL = {"telemetry": "kv_cache_usage", "statistic": "max", "at_most": 0.95}
CALM = {"telemetry": "preemptions", "statistic": "increase", "at_most": 0}


def loaded(directory: Path, url: str, engine: MetricsServer, *gates: dict[str, Any]) -> Done:
    """One short run against the server at `url`, whose metrics another one gives."""
    options = {"engines": [engine.url], "every_s": 0.3, "gpu": "off"}
    profile = profile_file(directory, LOAD, [GOODPUT, *gates], confidence="none", telemetry=options)
    return run(directory, "--profile", profile, "--base-url", url)


def found(done: Done, subject: str) -> dict[str, str]:
    finding: dict[str, str] = next(one for one in done.report["findings"] if one["subject"] == subject)
    return finding


def test_a_calm_server_passes_and_its_figures_are_of_the_requests_that_the_client_sent(tmp_path: Path):
    """The metrics are those that vLLM would give for what the client asked: so many answers, each after 60 ms."""

    def text() -> str:
        count = sum(bool(served.sent_ns) for served in server.served)
        return vllm_text(
            {
                "vllm:kv_cache_usage_perc": 0.5,
                "vllm:time_to_first_token_seconds_count": count,
                "vllm:time_to_first_token_seconds_sum": 0.06 * count,
            }
        )

    with sse_server(GOOD) as server, metrics_server(text) as engine:
        done = loaded(tmp_path, server.url, engine, FULL, CALM)
    assert done.code == 0, done.err
    assert found(done, "kv_cache_usage max")["verdict"] == "pass"
    assert found(done, "preemptions increase")["verdict"] == "pass"
    assert done.report["telemetry"]["sources"][0]["url"] == engine.url
    traffic, telemetry = done.ledger, open_telemetry(done.directory)
    assert [source.name for source in telemetry.sources] == ["engine-0", "harness"]
    sampled_s = telemetry.series["engine-0", "kv_cache_usage"].at_s
    assert -3 < sampled_s[0] < 3, "one clock for both"
    assert sampled_s[-1] >= max(request.scheduled_s for request in traffic.requests)
    checked = cross_check(traffic.requests, telemetry, judged_spans(traffic))
    assert checked.why == ""
    assert checked.server_ms == pytest.approx(60)
    assert checked.network_ms is not None
    assert -5 <= checked.network_ms < 250


def test_a_server_that_was_too_full_fails_the_run(tmp_path: Path):
    with sse_server(GOOD) as server, metrics_server(vllm_text({"vllm:kv_cache_usage_perc": 0.99})) as engine:
        done = loaded(tmp_path, server.url, engine, FULL)
    assert done.code == 1, done.err
    assert found(done, "kv_cache_usage max")["verdict"] == "fail"


def test_a_server_whose_metrics_end_midway_makes_a_gated_run_invalid(tmp_path: Path):
    asked: list[None] = []

    def text() -> str:
        asked.append(None)
        if len(asked) > 6:
            engine.status = 500
        return vllm_text()

    with sse_server(GOOD) as server, metrics_server(text) as engine:
        done = loaded(tmp_path, server.url, engine, FULL)
    assert done.code == 3, done.err
    assert "mostly: HTTP 500" in found(done, "kv_cache_usage max")["why"]


def test_ctrl_c_leaves_no_sampler_and_what_was_sampled(tmp_path: Path):
    load = {"arrivals": "constant", "rate_rps": 5, "duration_s": 60}
    with metrics_server(vllm_text()) as engine, sse_server(GOOD) as server:
        options = {"engines": [engine.url], "every_s": 0.2, "gpu": "off"}
        profile = profile_file(tmp_path, load, [GOODPUT], confidence="none", telemetry=options)
        harness = Harness(tmp_path, "--profile", profile, "--base-url", server.url)
        samples = tmp_path / "report" / SAMPLES_FILE
        give_up = time.monotonic() + 60
        while not samples.exists() or samples.read_text().count("values") < 3:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        done = harness.interrupt(signal.SIGINT)
        assert done.code == 130, done.err
        asked = len(engine.asked)
        time.sleep(1)
        assert len(engine.asked) == asked
    assert open_telemetry(done.directory).truncated == 0
