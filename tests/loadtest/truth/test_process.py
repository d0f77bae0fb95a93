"""The server as a process: its first line, its figures, its log, and its end with its parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from pathlib import Path

import pytest

from loadtest.truth.process import truth_process
from loadtest.truth.program import Program
from serving.errors import CannotObserve

SERVER = (sys.executable, "-m", "loadtest.truth")


def ask(url: str) -> bytes:
    body = json.dumps({"messages": [], "stream_options": {"include_usage": True}}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/chat/completions", body), timeout=90) as answer:
        return bytes(answer.read())


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_the_process_serves_by_its_options_logs_and_ends_at_sigterm(tmp_path: Path):
    log = tmp_path / "truth.jsonl"
    core = min(os.sched_getaffinity(0))
    options = ("--ttft-ms", "120", "--itl-ms", "25", "--tokens", "7", "--core", str(core), "--log", log)
    with subprocess.Popen([*SERVER, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert os.sched_getaffinity(process.pid) == {core}
        assert ask(url).count(b'"content":" ') == 7
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    [line] = [json.loads(text) for text in log.read_text().splitlines()]
    assert line["end"] == "done"
    after_ms = [(sent - line["arrived_ns"]) / 1e6 for sent in line["sent_ns"]]
    assert all(at >= 120 + 25 * number for number, at in enumerate(after_ms)), "sooner than it was told to"
    assert after_ms[-1] < 3_000


def test_the_process_dies_with_its_parent():
    parent = textwrap.dedent("""
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-m", "loadtest.truth"], stdout=subprocess.PIPE)
        child.stdout.readline()
        print(child.pid, flush=True)
        time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert not gone(pid)
        process.kill()
    until = time.monotonic() + 10
    while not gone(pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert gone(pid)


def test_a_bad_program_is_one_line():
    done = subprocess.run([*SERVER, "--program", '{"tokns": 1}'], capture_output=True, text=True, timeout=90)
    assert done.returncode == 2
    assert "a program has no tokns" in done.stderr


def test_a_process_is_started_steered_and_ended():
    with truth_process(Program(ttft_ms=5, tokens=3)) as truth:
        ask(truth.url)
        assert truth.summary()["tokens"] == 3
        [line] = truth.requests()
        assert line["chunk_tokens"] == [1, 1, 1]
        truth.reset(Program(tokens=9))
        ask(truth.url)
        assert truth.summary()["tokens"] == 9
        began = time.monotonic()
        truth.freeze(0.4)
        ask(truth.url)
        assert time.monotonic() - began >= 0.4
    assert gone(truth.pid)
    with pytest.raises(CannotObserve, match="does not answer"):
        truth.summary()
