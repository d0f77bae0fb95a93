"""`warmgate demo` as a user runs it: to the end and kept up, and interrupted at five different phases."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.engine.process import free_port, wait_for

MISSING = [name for name in ("vllm", "gevent", "gguf") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.engine,
    pytest.mark.envoy,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (make setup installs them)"),
]
MARK = "WARMGATE_TEST_RUN"


@dataclass
class Demo:
    process: subprocess.Popen[bytes]
    run: str
    port: int
    work: Path

    def out(self) -> str:
        return (self.work / "out").read_text(errors="replace")

    def err(self) -> str:
        return (self.work / "err").read_text(errors="replace")

    def wait_text(self, *texts: str, timeout_s: float = 300) -> None:
        def told() -> bool:
            assert self.process.poll() is None, self.out() + self.err()
            return any(text in self.out() + self.err() for text in texts)

        wait_for(told, timeout_s)

    def left(self) -> list[str]:
        """Every process that inherited this run's mark, whoever its parent is now."""
        mark = f"{MARK}={self.run}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if mark in (entry / "environ").read_bytes():
                    found.append(f"{entry.name} {(entry / 'cmdline').read_bytes()[:80]!r}")
            except OSError:
                continue
        return found


@contextmanager
def demo(work: Path, *options: str, **env: str) -> Iterator[Demo]:
    run, port = uuid.uuid4().hex, free_port()
    command = [sys.executable, "-m", "serving.cli.main", "demo", "--port", str(port), *options]
    with (work / "out").open("wb") as out, (work / "err").open("wb") as err:
        process = subprocess.Popen(
            command, cwd=work, stdout=out, stderr=err, env={**os.environ, MARK: run, **env}, start_new_session=True
        )
    one = Demo(process, run, port, work)
    try:
        yield one
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
        for left in one.left():
            os.kill(int(left.split()[0]), signal.SIGKILL)


def test_the_demo_proves_reports_stays_up_and_stops(embedded_model: Path, tmp_path: Path):
    with demo(tmp_path, "--keep") as one:
        one.wait_text("stop it with Ctrl-C", timeout_s=400)
        assert "verdict: pass" in one.out()
        latest = tmp_path / "reports" / "latest"
        assert latest.is_symlink()
        for name in ("report.html", "report.json", "ledger.jsonl"):
            assert (latest / name).stat().st_size > 500
        report = json.loads((latest / "report.json").read_text())
        assert report["verdict"] == "pass"
        body = {"model": "smollm2", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
        answer = httpx.post(
            f"http://127.0.0.1:{one.port}/v1/chat/completions", json={**body, "temperature": 0}, timeout=60
        )
        assert "Paris" in answer.text
        assert one.left()
        one.process.send_signal(signal.SIGINT)
        assert one.process.wait(40) == 0
        wait_for(lambda: not one.left(), 15)


PHASES = [
    pytest.param(("converting", "weights"), True, id="while the model is converted"),
    pytest.param(("starting: ",), False, id="while the engine starts"),
    pytest.param(("loading: ", "compiling: "), False, id="while the model loads"),
    pytest.param(("measuring latency",), False, id="while it verifies"),
    pytest.param(("started",), False, id="while it load-tests"),
]


@pytest.mark.parametrize(("told", "empty_cache"), PHASES)
def test_interrupted_it_leaves_no_process_and_no_half_made_model(
    told: tuple[str, ...], empty_cache: bool, embedded_model: Path, tmp_path: Path
):
    cache = tmp_path / "cache"
    env = {"XDG_CACHE_HOME": str(cache)} if empty_cache else {}
    with demo(tmp_path, **env) as one:
        one.wait_text(*told)
        one.process.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert one.process.wait(60) == 130
        assert time.monotonic() - began < 40
        wait_for(lambda: not one.left(), 15)
        assert "Traceback" not in one.err()
    if empty_cache:
        assert not list(cache.rglob("config.json"))
        assert not list(cache.rglob("*.safetensors"))
