"""The sampler's process: how it ends, and that it never outlives the load process or holds it up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import pytest

from loadtest.telemetry import SAMPLES_FILE, Sampler, open_telemetry
from tests.fakes.metrics_server import metrics_server, vllm_text
from tests.loadtest.telemetry.watching import (
    alive,
    engine,
    eventually,
    samples,
    sampling,
    state,
)


def test_a_killed_sampler_leaves_a_readable_file_and_stop_says_so(tmp_path: Path):
    with metrics_server(vllm_text()) as server, sampling(tmp_path, engine(server.url)) as sampler:
        eventually(lambda: len(samples(tmp_path, "engine-0", "running")) >= 3)
        assert sampler.pid is not None
        os.kill(sampler.pid, signal.SIGKILL)
        assert sampler.stop() == "telemetry: the sampler ended with exit code -9"
        assert sampler.stop() is None
    assert len(samples(tmp_path, "engine-0", "running")) >= 3


def test_a_file_that_cannot_be_written_is_told_at_the_end(tmp_path: Path):
    with metrics_server(vllm_text()) as server:
        sampler = Sampler([engine(server.url)], tmp_path / "none" / SAMPLES_FILE)
        sampler.start(time.perf_counter_ns())
        eventually(lambda: not alive(sampler.pid or 0))
        said = sampler.stop()
    assert said is not None
    assert said.endswith("No such file or directory: give another --out")


def test_it_ends_by_itself_at_its_bound(tmp_path: Path):
    with metrics_server(vllm_text()) as server:
        sampler = Sampler([engine(server.url)], tmp_path / SAMPLES_FILE, bound_s=3)
        sampler.start(time.perf_counter_ns())
        pid = sampler.pid or 0
        eventually(lambda: not alive(pid))
        assert sampler.stop() is None
    assert samples(tmp_path, "engine-0", "running")


def test_a_sampler_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("loadtest.telemetry.sampler.STOP_S", 0.5)
    with metrics_server(vllm_text()) as server:
        sampler = Sampler([engine(server.url)], tmp_path / SAMPLES_FILE)
        sampler.start(time.perf_counter_ns())
        pid = sampler.pid or 0
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: state(pid) == "T")
        assert "did not end when it was told to" in (sampler.stop() or "")
    assert not alive(pid)


PARENT = """
import os, resource, sys, time
from pathlib import Path
patched, url, path, limit = sys.argv[1] == "gevent", sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
if patched:
    from gevent import monkey
    monkey.patch_all()
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from loadtest.telemetry import Sampler
from loadtest.telemetry.options import Ask
ticks = []
if patched:
    import gevent
    def tick():
        while True:
            ticks.append(None)
            gevent.sleep(0.01)
    gevent.spawn(tick)
with Sampler([Ask("engine-0", "vllm", url, 0.2)], path) as sampler:
    sampler.start(time.perf_counter_ns())
    started = len(ticks)
    print(sampler.pid, flush=True)
    if sys.argv[6] == "fork" and os.fork() == 0:
        time.sleep(60)  # a worker that holds a copy of every pipe of ours
        os._exit(0)
    time.sleep(float(sys.argv[5]))
    before = len(ticks)
    print(sampler.stop(), flush=True)
print(started, len(ticks) - before, flush=True)
"""


@contextmanager
def parent(
    url: str, directory: Path, *, patched: bool = False, limit: int = 0, runs_s: float = 30, forks: bool = False
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A process that samples as the harness does, and the sampler's pid."""
    arguments = ["gevent" if patched else "plain", url, str(directory / SAMPLES_FILE), str(limit), str(runs_s)]
    arguments.append("fork" if forks else "")
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.stderr.read() if process.stderr else ""
            yield int(line), process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("patched", [pytest.param(False, id="plain"), pytest.param(True, id="gevent")])
@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGKILL, id="killed"), pytest.param(signal.SIGINT, id="ctrl-c")]
)
def test_no_sampler_outlives_its_parent(tmp_path: Path, patched: bool, number: signal.Signals):
    with metrics_server(vllm_text()) as server, parent(server.url, tmp_path, patched=patched) as (pid, process):
        eventually(lambda: len(samples(tmp_path, "engine-0", "running")) >= 2)
        assert alive(pid)
        os.killpg(process.pid, number)
        eventually(lambda: not alive(pid))
    assert len(samples(tmp_path, "engine-0", "running")) >= 2


def test_no_sampler_outlives_its_parent_though_a_fork_of_it_lives_on(tmp_path: Path):
    with metrics_server(vllm_text()) as server, parent(server.url, tmp_path, forks=True) as (pid, process):
        eventually(lambda: len(samples(tmp_path, "engine-0", "running")) >= 2)
        process.kill()
        eventually(lambda: not alive(pid))


@pytest.mark.parametrize("told", [0, 1, 2], ids=["nothing", "whom-to-ask", "and-when-the-run-began"])
def test_it_ends_when_nobody_is_there_to_tell_it_more(tmp_path: Path, told: int):
    with metrics_server(vllm_text()) as server:
        config = {"asks": [asdict(engine(server.url))], "path": str(tmp_path / "t"), "ca_cert": None, "bound_s": 60}
        lines = [json.dumps(config), str(time.perf_counter_ns())][:told]
        command = [sys.executable, "-P", "-m", "loadtest.telemetry"]
        said = "".join(f"{line}\n" for line in lines)
        done = subprocess.run(command, input=said, capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "t").exists() == (told == 2)


def test_ctrl_c_in_a_terminal_never_reaches_the_sampler(tmp_path: Path):
    with metrics_server(vllm_text()) as server, Sampler([engine(server.url)], tmp_path / SAMPLES_FILE) as sampler:
        sampler.prepare()
        assert sampler.pid is not None
        assert os.getpgid(sampler.pid) not in (os.getpgid(0), os.getpgrp())


def test_under_gevent_nobody_waits_for_the_sampler(tmp_path: Path):
    """Every look takes half a second, one before the run and one at its end: others run on meanwhile."""

    def text() -> str:
        time.sleep(0.5)
        return vllm_text()

    with metrics_server(text) as server, parent(server.url, tmp_path, patched=True, runs_s=1) as (_, process):
        out, err = process.communicate(timeout=90)
    said, while_starting, while_stopping = out.split()
    assert (said, err) == ("None", "")
    assert min(int(while_starting), int(while_stopping)) >= 3


def test_a_full_disk_ends_the_sampling_and_is_told(tmp_path: Path):
    with (
        metrics_server(vllm_text()) as server,
        parent(server.url, tmp_path, limit=1000, runs_s=3) as (_, process),
    ):
        out, _ = process.communicate(timeout=90)
    assert "File too large: make room, or give another --out" in out
    seen = open_telemetry(tmp_path)
    assert seen.truncated == 1
    assert (tmp_path / SAMPLES_FILE).stat().st_size == 1000
    assert seen.series["engine-0", "running"].values


def test_the_load_process_loads_no_http_client_and_no_parser():
    code = (
        "import sys, loadtest.telemetry; print({'httpx', 'asyncio', 'prometheus_client', 'pynvml'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=90)
    assert done.stdout == "set()\n"
