"""How streams and processes end: bare vLLM's default beside the agent's bounds, and deaths that nobody asked for."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from tests.engine.process import LOAD_S, Stream, agent, alive, bare_vllm, streams, wait_for


def test_bare_vllm_is_silent_while_loading_healthy_while_frozen_and_finishes_no_stream_at_sigterm(
    embedded_model: Path, tmp_path: Path
):
    """The contrast, with vLLM's defaults: the same situations as the agent's, and nothing tells a client or a probe."""

    def health() -> int:
        return httpx.get(f"{served.url}/health", trust_env=False).status_code

    with bare_vllm(embedded_model, tmp_path / "vllm.log") as served:
        wait_for(lambda: served.engine_processes("VLLM::Engine"), LOAD_S)
        with pytest.raises(httpx.ConnectError):
            health()
        wait_for(lambda: health() == 200, LOAD_S)
        (core,) = served.engine_processes("VLLM::Engine")
        os.kill(core, signal.SIGSTOP)
        time.sleep(3)
        assert health() == 200
        os.kill(core, signal.SIGCONT)
        running = streams(served.url, 4, 400)
        os.kill(served.process.pid, signal.SIGTERM)
        time.sleep(15)  # longer than the agent's bound in the test below takes in all
        # Each is cut off or still waiting, which of the two depends on who wins the race in vLLM: none is whole.
        assert all(stream.completion.problem() is not None for stream in running)


def test_streams_that_outlast_the_drain_bound_are_ended_and_not_left_hanging(embedded_model: Path, tmp_path: Path):
    with agent(embedded_model, tmp_path / "agent.log", "--lame-duck", "1", "--drain-timeout", "3") as served:
        served.wait_state("ready")
        tree = served.tree()
        running = streams(served.url, 4, 1900)
        told = time.monotonic()
        os.kill(served.process.pid, signal.SIGTERM)
        for stream in running:
            stream.join(30)
        ended = [stream.ended_at - told for stream in running if stream.ended_at is not None]
        assert len(ended) == 4
        assert max(ended) < 1 + 3 + 2 + 10  # lame duck, bound, margin, and room for a busy machine
        assert all(stream.completion.problem() is not None for stream in running), "a cut stream must not look whole"
        assert served.process.wait(40) == 0
        wait_for(lambda: not alive(tree), 15)


def test_a_killed_engine_core_is_not_ready_at_once_and_the_agent_exits_1(embedded_model: Path, tmp_path: Path):
    """With every request logged, so that the last lines have something to leave out."""
    log = tmp_path / "agent.log"
    chatty = ("--enable-log-requests",)
    with agent(embedded_model, log, "--linger", "4", vllm=chatty, VLLM_LOGGING_LEVEL="DEBUG") as served:
        served.wait_state("ready")
        tree = served.tree()
        Stream(served.url, 400, prompt="canary 7f3a9c").began.wait(90)
        (core,) = served.engine_processes("VLLM::Engine")
        os.kill(core, signal.SIGKILL)
        wait_for(lambda: served.status("/readyz") == 503, 4, every_s=0.01)
        now = served.modelz()
        assert now["state"] == "failed"
        assert f"VLLM::EngineCore (pid {core}) died" in now["reason"]
        assert served.status("/livez") == 503
        assert "canary 7f3a9c" in served.output(), "else the next line proves nothing"
        assert "canary" not in json.dumps(now)
        assert served.process.wait(40) == 1
        assert "ready -> failed" in served.output()
        wait_for(lambda: not alive(tree), 15)


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGTERM, id="SIGTERM"), pytest.param(signal.SIGINT, id="Ctrl-C")],
)
def test_told_to_stop_while_loading_it_ends_soon(embedded_model: Path, tmp_path: Path, number: int):
    with agent(embedded_model, tmp_path / "agent.log") as served:
        wait_for(served.engine_processes, 60)
        tree = served.tree()
        told = time.monotonic()
        os.kill(served.process.pid, number)
        assert served.process.wait(30) == 0
        assert time.monotonic() - told < 15
        wait_for(lambda: not alive(tree), 15)


def test_a_killed_agent_takes_its_engine_along(embedded_model: Path, tmp_path: Path):
    with agent(embedded_model, tmp_path / "agent.log") as served:
        wait_for(served.engine_processes, 60)
        tree = served.tree()
        os.kill(served.process.pid, signal.SIGKILL)
        wait_for(lambda: not alive(tree), 20)
