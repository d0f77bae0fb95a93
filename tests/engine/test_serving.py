"""One engine's life, told in order: loading behind Envoy, ready, stalled, ready again, drained. Real vLLM, real Envoy.

The tests of this module share one engine and run in their order: each starts from the state the one before left.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import jsonschema
import pytest

from serving.facts.model import json_schema
from serving.facts.quantiles import quantile
from serving.rollout import envoy
from serving.rollout.envoy_process import start_envoy, wait_until_listening
from tests.engine.process import NAME, Served, Stream, agent, alive, free_port, streams, wait_for

BOUNDS = [
    "--lame-duck",
    "8",
    "--drain-timeout",
    "90",
    "--stall-after",
    "6",
    "--probe-every",
    "2",
    "--poll-every",
    "0.5",
]


@dataclass
class Watched:
    """A server whose readiness is asked 20 times a second, from its first answer on."""

    served: Served
    gateway: str
    born: float
    answers: list[tuple[float, int, float, str]] = field(default_factory=list)  # at, status, seconds, state
    stop: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        with httpx.Client(timeout=5, trust_env=False) as client:
            while not self.stop.is_set():
                asked = time.monotonic()
                try:
                    answer = client.get(f"{self.served.admin}/readyz")
                    took = time.monotonic() - asked
                    self.answers.append((asked - self.born, answer.status_code, took, answer.json()["state"]))
                except httpx.ConnectError:
                    pass
                self.stop.wait(0.05)


@pytest.fixture(scope="module")
def watched(embedded_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    work = tmp_path_factory.mktemp("serving")
    with agent(embedded_model, work / "agent.log", *BOUNDS) as served:
        born = time.monotonic()
        replica = envoy.Replica("r1", "127.0.0.1", served.port, served.admin_port)
        gateway = envoy.Gateway(work / "envoy", listen_port=free_port(), admin_port=free_port())
        envoy.write(gateway, [envoy.Version("stable", (replica,), 100)])
        process = start_envoy(gateway.directory, work / "envoy.log")
        one = Watched(served, f"http://127.0.0.1:{gateway.listen_port}", born)
        thread = threading.Thread(target=one.watch, daemon=True)
        thread.start()
        try:
            wait_until_listening(process, gateway, work / "envoy.log")
            yield one
        finally:
            one.stop.set()
            thread.join(10)
            process.kill()
            process.wait(10)


def ask(url: str, question: str, timeout_s: float = 60) -> httpx.Response:
    body = {"model": NAME, "messages": [{"role": "user", "content": question}], "max_tokens": 24, "temperature": 0}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=timeout_s, trust_env=False)


def test_while_loading_it_says_503_with_the_phase_and_the_gateway_never_hangs(watched: Watched):
    served = watched.served
    wait_for(lambda: watched.answers, 20)
    states = []
    while (now := served.modelz())["state"] not in ("warming", "ready"):
        states.append(now["state"])
        assert served.status("/readyz") == served.status("/ready") == served.status("/startupz") == 503
        assert served.status("/livez") == 200
        asked = time.monotonic()
        assert ask(watched.gateway, "anyone there?", timeout_s=10).status_code == 503
        assert time.monotonic() - asked < 5
        time.sleep(0.5)
    assert "starting" in states
    assert watched.answers[0][0] < 15  # seconds from the start of the process to its first answer


def test_ready_comes_only_after_a_generation_has_succeeded(watched: Watched):
    now = watched.served.wait_state("ready")
    wait_for(lambda: watched.answers[-1][1] == 200, 30)
    before = [answer for answer in watched.answers if answer[3] != "ready"]
    assert {status for _, status, _, _ in before} == {503}
    assert {state for _, _, _, state in before} >= {"starting", "warming"}
    assert quantile([took for _, _, took, _ in before], 0.95) < 0.5
    assert [t["target"] for t in now["transitions"]] == ["loading", "compiling", "warming", "ready"]
    assert now["warmup"]["requests"] == len(now["warmup"]["ttft_ms"]) >= 3
    assert now["identity"] == {"path": now["identity"]["path"], "expected_name": NAME, "served_names": [NAME]}
    assert now["kv_cache"]["tokens"] > 1000
    assert now["engine"]["version"] == "0.32.0"
    assert now["engine"]["device"] == "cpu"
    assert now["engine"]["resident_bytes"] > 500e6
    metrics = httpx.get(f"{watched.served.url}/metrics", trust_env=False).text
    generated = next(line for line in metrics.splitlines() if line.startswith("vllm:generation_tokens_total{"))
    assert float(generated.split()[-1]) >= 16 * now["warmup"]["requests"]


def test_modelz_is_what_its_committed_schema_says(watched: Watched):
    jsonschema.validate(watched.served.modelz(), json.loads(json_schema()))


def test_the_converted_model_knows_the_capital_of_france_through_the_gateway(watched: Watched):
    wait_for(lambda: ask(watched.gateway, "warm?").status_code == 200, 30)
    answer = ask(watched.gateway, "What is the capital of France?")
    assert answer.status_code == 200
    assert "Paris" in answer.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("path", ["/metrics", "/tokenize", "/invocations", "/v1/../metrics", "/health"])
def test_only_v1_is_reachable_from_outside(watched: Watched, path: str):
    assert httpx.post(f"{watched.gateway}{path}", json={}, trust_env=False).status_code in (400, 404)


@pytest.mark.parametrize("busy", [pytest.param(True, id="with a request running"), pytest.param(False, id="idle")])
def test_a_frozen_engine_core_is_stalled_and_ready_again_when_it_moves(watched: Watched, busy: bool):
    served = watched.served
    served.wait_state("ready", timeout_s=30)
    (core,) = served.engine_processes("VLLM::Engine")
    running = streams(served.url, 1, 60) if busy else []
    os.kill(core, signal.SIGSTOP)
    try:
        frozen = time.monotonic()
        now = served.wait_state("stalled", timeout_s=30)
        assert time.monotonic() - frozen < 6 + 2 + 15  # stall-after, probe-every, and room for a busy machine
        assert served.status("/readyz") == 503
        assert served.status("/livez") == 200
        assert ("holds 1 request" in now["reason"]) is busy
        wait_for(lambda: ask(watched.gateway, "stalled?", timeout_s=2).status_code == 503, 10)
    finally:
        os.kill(core, signal.SIGCONT)
    served.wait_state("ready", timeout_s=30)
    for stream in running:
        stream.join(60)
        assert stream.completion.problem() is None


def test_sigterm_lets_four_streams_end_well_and_exits_0(watched: Watched):
    served = watched.served
    served.wait_state("ready", timeout_s=30)
    tree = served.tree()
    running = streams(served.url, 4, 400)
    told = time.monotonic()
    os.kill(served.process.pid, signal.SIGTERM)
    wait_for(lambda: served.status("/readyz") == 503, 5)
    assert served.modelz()["state"] == "draining"
    late = Stream(served.url, 8)  # within the lame duck the engine still serves who has not let go yet
    late.join(60)
    assert late.completion.problem() is None, (
        f"{late.status} {late.broke}, {time.monotonic() - told:.1f} s after SIGTERM"
    )
    for stream in running:
        stream.join(120)
    assert [stream.completion.problem() for stream in running] == [None] * 4
    assert [stream.completion.finish_reason for stream in running] == ["length"] * 4
    assert served.process.wait(60) == 0
    assert time.monotonic() - told < 8 + 90 + 20
    wait_for(lambda: not alive(tree), 15)
