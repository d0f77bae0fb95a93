"""The sampler as the load process uses it: a process that samples, keeps going, loses nothing, and always ends."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from loadtest.telemetry import SAMPLES_FILE, Sampler, open_telemetry
from loadtest.telemetry.options import Ask
from serving.expectations import TelemetryGate
from serving.facts.model import KvCache, State
from serving.facts.telemetry import Telemetry
from serving.judge.telemetry import judge_telemetry
from serving.verdict import Verdict
from tests.fakes.agent_server import Script, agent_server
from tests.fakes.metrics_server import dcgm_text, metrics_server, vllm_text
from tests.fakes.modelz import GIB, MIB, gpu, modelz
from tests.fakes.nvml.library import H100, FakeNvml
from tests.loadtest.telemetry.watching import (
    FAST_S,
    engine,
    eventually,
    free_port,
    row_count,
    sampled,
    samples,
    sampling,
    whys,
)


def test_an_engine_is_sampled_at_every_tick_of_the_runs_clock(tmp_path: Path):
    def text() -> str:
        return vllm_text({"vllm:generation_tokens_total": len(server.asked), "vllm:num_requests_running": 3})

    with metrics_server(text) as server, Sampler([engine(server.url)], tmp_path / SAMPLES_FILE) as sampler:
        first = sampler.prepare()
        assert list(first.notes) == [f"telemetry: engine-0 {server.url}"]
        assert list(first.telemetry.series["engine-0", "running"].values) == [3]
        assert not (tmp_path / SAMPLES_FILE).exists()
        origin_ns = time.perf_counter_ns() + 2_000_000_000
        sampler.start(origin_ns)
        eventually(lambda: len(samples(tmp_path, "engine-0", "running")) >= 15)
        told_s = (time.perf_counter_ns() - origin_ns) / 1e9
        assert sampler.stop() is None
        ended_s = (time.perf_counter_ns() - origin_ns) / 1e9
    seen = open_telemetry(tmp_path)
    counter = seen.series["engine-0", "generation_tokens"]
    assert whys(seen, "engine-0") == set()
    assert counter.at_s[0] < 0 < told_s < counter.at_s[-1] < ended_s
    assert all(later > earlier for earlier, later in pairwise(counter.values))
    late_ms = [at % FAST_S * 1e3 for at in counter.at_s[1:-1]]
    assert sorted(late_ms)[len(late_ms) // 2] < 100


def test_a_busy_server_is_asked_only_for_what_is_needed(tmp_path: Path):
    with metrics_server(vllm_text()) as server:
        sampled(tmp_path, engine(server.url))
        assert {path.partition("?")[0] for path in server.asked} == {"/metrics/"}
        assert all("name[]=vllm:num_requests_running&" in path for path in server.asked)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param({"filters": False}, id="a-server-that-ignores-the-filter"),
        pytest.param({"knows": ("/metrics",)}, id="a-server-that-knows-only-the-plain-path"),
    ],
)
def test_servers_that_know_no_filter_are_read_all_the_same(tmp_path: Path, script: dict[str, Any]):
    with metrics_server(vllm_text({"vllm:num_requests_waiting": 5}), **script) as server:
        seen = sampled(tmp_path, engine(server.url))
        assert set(seen.series["engine-0", "waiting"].values) == {5}
        assert sum("name[]" not in path for path in server.asked) in (0, len(server.asked) - 1)


def test_a_dead_a_hanging_and_a_garbled_source_are_missed_and_hold_up_nobody(tmp_path: Path):
    dead = f"http://127.0.0.1:{free_port()}"
    with (
        metrics_server(vllm_text()) as good,
        metrics_server(vllm_text(), hang=True) as hanging,
        metrics_server("<html>502</html>") as garbled,
        metrics_server("up 1\n") as foreign,
        metrics_server(vllm_text(), status=503) as failing,
    ):
        urls = (good.url, dead, hanging.url, garbled.url, foreign.url, failing.url)
        asks = [engine(url, f"engine-{number}") for number, url in enumerate(urls)]
        with Sampler(asks, tmp_path / SAMPLES_FILE) as sampler:
            first = sampler.prepare()
            sampler.start(time.perf_counter_ns())
            eventually(lambda: bool(row_count(tmp_path, "engine-2")))
            assert sampler.stop() is None
    seen = open_telemetry(tmp_path)
    assert len(seen.series["engine-0", "running"].values) >= 5
    address = dead.removeprefix("http://")
    assert whys(seen, "engine-0") == set()
    assert whys(seen, "engine-1") == {f"connection refused: nothing listens on {address}"}
    assert "no answer within 2 s" in whys(seen, "engine-2")
    assert whys(seen, "engine-3") == {"the answer is not Prometheus text: is this the metrics port?"}
    assert whys(seen, "engine-4") == {"no series of vLLM there: is this the engine's own port?"}
    assert whys(seen, "engine-5") == {"HTTP 503"}
    assert first.notes[1].startswith(f"telemetry: engine-1 {dead}: connection refused")
    assert first.notes[2].endswith("no answer within 1.5 s")


def test_a_look_that_took_too_long_costs_its_own_ticks_each_with_the_reason(tmp_path: Path):
    slow = [0.0]

    def text() -> str:
        time.sleep(slow[0])
        return vllm_text()

    with metrics_server(text) as server, sampling(tmp_path, engine(server.url)):
        eventually(lambda: len(samples(tmp_path, "engine-0", "running")) >= 2)
        slow[0] = 1.0
        eventually(lambda: bool(re.search("took [1-9]", (tmp_path / SAMPLES_FILE).read_text())))
        slow[0] = 0.0
    lost = [(at, why) for at, why in open_telemetry(tmp_path).missed["engine-0"] if "took" in why]
    assert sum(bool(re.match("the look before took [1-9]", why)) for _, why in lost) >= 3
    assert all(round(at / FAST_S, 6) % 1 == 0 for at, _ in lost)


def test_a_server_that_dies_and_comes_back_is_missed_meanwhile_and_its_restart_is_told(tmp_path: Path):
    port = free_port()
    gate = TelemetryGate(telemetry="preemptions", statistic="increase", at_most=0)
    with sampling(tmp_path, engine(f"http://127.0.0.1:{port}")):
        with metrics_server(vllm_text({"vllm:generation_tokens_total": 500}), port=port):
            eventually(lambda: len(samples(tmp_path, "engine-0", "preemptions")) >= 3)
        eventually(lambda: "missed" in (tmp_path / SAMPLES_FILE).read_text().splitlines()[-1])
        with metrics_server(vllm_text({"vllm:generation_tokens_total": 20}), port=port):
            eventually(lambda: 20 in samples(tmp_path, "engine-0", "generation_tokens"))
    seen = open_telemetry(tmp_path)
    assert seen.missed["engine-0"]
    last_s = seen.series["engine-0", "preemptions"].at_s[-1]
    (finding,) = judge_telemetry(seen, [gate], [(0.0, last_s)])
    assert finding.verdict is Verdict.UNKNOWN
    assert "it restarted" in finding.why


def test_an_agent_tells_its_state_and_its_figures(tmp_path: Path):
    ready = modelz(kv_cache=KvCache(46592, 22.75), gpus=(gpu(),), gpus_unseen=None)
    with agent_server(Script(modelz=ready)) as agent, sampling(tmp_path, Ask("agent-0", "modelz", agent.url, FAST_S)):
        eventually(lambda: len(samples(tmp_path, "agent-0", "agent_ready")) >= 2)
        agent.script.modelz = replace(ready, state=State.DRAINING, reason="SIGTERM", ready=False, gpus=None)
        eventually(lambda: 0 in samples(tmp_path, "agent-0", "agent_ready"))
    seen = open_telemetry(tmp_path)
    assert [state for _, state in seen.states["agent-0"]] == ["ready: warm-up done", "draining: SIGTERM"]
    assert seen.series["agent-0", "agent_resident_mib"].values[0] == 1300
    assert seen.series["agent-0", "agent_kv_tokens"].values[0] == 46592
    assert seen.series["agent-0", "agent_idle_s"].values[0] == 0.4
    assert seen.series["agent-0:GPU-0", "gpu_free_mib"].values[0] == 9 * GIB / MIB
    assert seen.series["agent-0:GPU-0", "gpu_used_mib"].values[0] == 70 * GIB / MIB


def test_gpus_of_an_exporter_are_sampled(tmp_path: Path):
    text = dcgm_text({"UUID": "GPU-0", "FB_FREE": 9000, "pod": "a"}, {"UUID": "GPU-1", "FB_FREE": 10, "pod": "b"})
    with metrics_server(text, knows=("/metrics",)) as server:
        ask = Ask("dcgm-0", "dcgm", server.url, FAST_S, {"pod": "a"})
        none = Ask("dcgm-1", "dcgm", server.url, FAST_S, {"pod": "c"})
        seen = sampled(tmp_path, ask, none)
    assert {name for name, _ in seen.series} == {"dcgm-0:GPU-0"}
    assert whys(seen, "dcgm-1") == {"no GPU there with pod=c: is this a dcgm-exporter?"}


def test_gpus_of_this_machine_are_sampled(tmp_path: Path, fake_nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch):
    fake_nvml.show(H100)
    for name, value in fake_nvml.environ.items():
        monkeypatch.setenv(name, value)
    seen = sampled(tmp_path, Ask("gpu", "nvml", "NVML", FAST_S, tentative=True))
    assert set(seen.series["gpu:GPU-0", "gpu_free_mib"].values) == {19 * 1024}


def test_what_is_only_tried_is_dropped_when_it_is_not_there(tmp_path: Path):
    with metrics_server("Not Found", status=404) as gateway:
        asks = [engine(gateway.url, tentative=True), Ask("gpu", "nvml", "NVML", FAST_S, tentative=True)]
        with Sampler(asks, tmp_path / SAMPLES_FILE) as sampler:
            first = sampler.start(time.perf_counter_ns())
            assert first.telemetry == Telemetry()
            assert first.notes == ()
    assert open_telemetry(tmp_path) == Telemetry()


def test_without_sources_there_is_no_process(tmp_path: Path):
    with Sampler([], tmp_path / SAMPLES_FILE) as sampler:
        sampler.start(time.perf_counter_ns())
        assert sampler.pid is None
        assert sampler.stop() is None
