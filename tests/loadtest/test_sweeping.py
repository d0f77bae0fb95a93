"""What a sweep says of its probes while it goes on, and what it answers when it is stopped."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.fakes.sse_server import Program, sse_server
from tests.loadtest.harness import Harness, profile_file

HARNESS = {"schedule_lag_p99_ms": 20_000, "cpu_share": 1.0, "rate_error_share": 0.9}
ANSWERED = [{"metric": "error_rate", "at_most_share": 0.0}]

pytestmark = pytest.mark.timeout(90)


def test_a_probe_that_fell_behind_has_failed_and_says_why_although_it_met_every_gate(tmp_path: Path):
    sweep = {"start_rps": 4, "max_rps": 8, "probe_s": 1, "longest_probe_s": 1, "max_probes": 2}
    load = {"arrivals": "constant", "sweep": sweep}
    profile = profile_file(tmp_path, load, ANSWERED, harness=HARNESS, drain_s=20)
    with sse_server(Program(ttft_ms=2_500, itl_ms=0, tokens=2)) as server:
        done = Harness(tmp_path, "--profile", profile, "--base-url", server.url).wait()
    assert "probe 1: 4/s fail of 4 requests a second 0 ended well" in done.err
    assert [probe["verdict"] for probe in done.report["sweep"]["probes"]] == ["fail", "fail"]
    assert done.report["sweep"]["capacity_per_s"] is None


def test_a_sweep_that_is_stopped_keeps_what_it_saw_and_is_invalid(tmp_path: Path):
    sweep = {"start_rps": 20, "max_rps": 80, "probe_s": 2, "longest_probe_s": 60, "saturated_below_share": 0.05}
    load = {"arrivals": "constant", "sweep": sweep}
    profile = profile_file(tmp_path, load, ANSWERED, harness=HARNESS)
    with sse_server(Program(ttft_ms=5, itl_ms=0, tokens=2)) as server:
        harness = Harness(tmp_path, "--profile", profile, "--base-url", server.url)
        assert harness.process.stderr is not None
        while "probe 1: 20/s pass" not in harness.process.stderr.readline():
            assert harness.process.poll() is None, "it ended before it was stopped"
        done = harness.interrupt(signal.SIGINT)
    assert done.code == 130
    found = done.report["sweep"]
    assert done.report["verdict"] == "invalid"
    assert (found["capacity_per_s"], found["settled"]) == (20, False)
    assert "the run was stopped" in found["why"]
