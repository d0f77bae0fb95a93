"""Starts real processes for the engine tests, and leaves none behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from serving.agent.procfs import descendants, read_process
from serving.facts.completion import Completion, EventReader, read_chunk

NAME = "smol"
# Small enough for 2 cores: eager mode, a KV cache of 1 GiB, no network, no usage statistics.
ENGINE = ["--max-model-len", "2048", "--max-num-seqs", "16", "--enforce-eager"]
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
LOAD_S = 240.0  # the longest a test waits for a model to load on a busy machine


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def wait_for(what: Callable[[], Any], timeout_s: float, every_s: float = 0.05) -> Any:
    """The first true value of `what`; fails after the timeout."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if value := what():
                return value
        time.sleep(every_s)
    raise AssertionError(f"did not happen within {timeout_s} s")


@dataclass
class Served:
    """A server process under test: `agent` is None for a bare vLLM."""

    process: subprocess.Popen[bytes]
    port: int
    admin_port: int
    log: Path
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=10, trust_env=False))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def modelz(self) -> dict[str, Any]:
        document: dict[str, Any] = self.client.get(f"{self.admin}/modelz").json()
        return document

    def status(self, path: str = "/readyz") -> int:
        return self.client.get(f"{self.admin}{path}").status_code

    def wait_state(self, *states: str, timeout_s: float = LOAD_S) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            now = self.modelz()
            assert now["state"] in states or now["state"] != "failed", f"failed: {now['reason']}"
            return now if now["state"] in states else None

        found: dict[str, Any] = wait_for(reached, timeout_s)
        return found

    def engine_processes(self, name: str = "VLLM::") -> list[int]:
        return [one.pid for one in descendants(self.process.pid) if one.name.startswith(name)]

    def tree(self) -> list[int]:
        return [one.pid for one in descendants(self.process.pid)]

    def output(self) -> str:
        return self.log.read_text(errors="replace")


def alive(pids: list[int]) -> list[int]:
    """Which of these are still running (zombies are not)."""
    found = {pid: read_process(pid) for pid in pids}
    return [pid for pid, process in found.items() if process is not None and process.state != "Z"]


@contextlib.contextmanager
def running(command: list[str], log: Path, port: int, admin_port: int, env: Mapping[str, str]) -> Iterator[Served]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **ENVIRONMENT, **env},
            start_new_session=True,
        )
    served = Served(process, port, admin_port, log)
    seen: set[int] = set()
    try:
        yield served
    finally:
        seen.update(served.tree())
        for pid in [*seen, process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(30)
        served.client.close()


@contextlib.contextmanager
def agent(
    model: Path | str, log: Path, *options: str, vllm: tuple[str, ...] = (), port: int | None = None, **env: str
) -> Iterator[Served]:
    """`warmgate serve` as a user starts it."""
    port, admin_port = port or free_port(), free_port()
    served = ["--model", str(model), "--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(port)]
    own = ["serve", "--admin-host", "127.0.0.1", "--admin-port", str(admin_port), *options]
    command = [sys.executable, "-m", "serving.cli.main", *own, "--", *served, *ENGINE, *vllm]
    with running(command, log, port, admin_port, env) as process:
        yield process


@contextlib.contextmanager
def bare_vllm(model: Path, log: Path, *vllm: str) -> Iterator[Served]:
    """vLLM alone, with its defaults."""
    port = free_port()
    served = ["--model", str(model), "--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "vllm.entrypoints.launchers.api_server.entry", *served, *ENGINE, *vllm]
    with running(command, log, port, 0, {}) as process:
        yield process


class Stream(threading.Thread):
    """One streamed chat completion in the background: what came, and when it ended."""

    def __init__(
        self, url: str, max_tokens: int, prompt: str = "Tell me a long story.", timeout_s: float = 120
    ) -> None:
        super().__init__(daemon=True)
        self.completion = Completion()
        self.began = threading.Event()
        self.ended_at: float | None = None
        self.status: int | None = None
        self.broke = ""
        self._request = {
            "model": NAME,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
            "ignore_eos": True,
        }
        self._url, self._timeout_s = url, timeout_s
        self.start()

    def run(self) -> None:
        events = EventReader()
        try:
            with (
                httpx.Client(timeout=self._timeout_s, trust_env=False) as client,
                client.stream("POST", f"{self._url}/v1/chat/completions", json=self._request) as answer,
            ):
                self.status = answer.status_code
                for piece in answer.iter_raw():
                    for data in events.feed(piece):
                        self.completion.add(read_chunk(data))
                    if self.completion.token_chunks >= 3:
                        self.began.set()
        except httpx.HTTPError as error:
            self.broke = repr(error)
        self.ended_at = time.monotonic()


def streams(url: str, count: int, max_tokens: int) -> list[Stream]:
    """Streams that are all generating by the time this returns."""
    started = [Stream(url, max_tokens, f"Tell me story number {number}.") for number in range(count)]
    for stream in started:
        assert stream.began.wait(60), f"no token yet: {stream.status} {stream.broke}"
    return started
