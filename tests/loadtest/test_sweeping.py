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


@pytest.mark.parametrize(
    ("ttft_ms", "verdict", "said"),
    [
        pytest.param([100, 2100, 4100, 6100], "fail", "4/s fail of 4 requests a second 1 ended well", id="a-queue"),
        pytest.param([2500] * 4, "pass", "4/s pass of 4 requests a second ", id="slow-and-steady"),
    ],
)
def test_a_probe_fails_when_the_server_fell_behind_although_it_met_every_gate(
    tmp_path: Path, ttft_ms: list[float], verdict: str, said: str
):
    """Four requests in a second: an answer that takes longer than the probe is slow; one slower than the last, late."""
    sweep = {
        "start_rps": 4,
        "max_rps": 4,
        "probe_s": 1,
        "longest_probe_s": 1,
        "max_probes": 2,
        "saturated_below_share": 0.3,
    }
    profile = profile_file(tmp_path, {"arrivals": "constant", "sweep": sweep}, ANSWERED, harness=HARNESS, drain_s=20)
    with sse_server(lambda number: Program(ttft_ms=ttft_ms[number % 4], itl_ms=0, tokens=2)) as server:
        done = Harness(tmp_path, "--profile", profile, "--base-url", server.url).wait()
    assert f"probe 1: {said}" in done.err
    assert done.report["sweep"]["probes"][0]["verdict"] == verdict


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
