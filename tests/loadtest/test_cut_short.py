"""The harness cut short: by a person, by a disk that is full, by its own mistake. Never a pass, and never nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fakes.sse_server import Program, sse_server
from tests.loadtest.harness import Harness, profile_file
from tests.loadtest.test_command import LONG, until


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_an_interrupted_run_leaves_a_report_that_is_invalid_and_no_process(tmp_path: Path, number: int, name: str):
    profile = profile_file(tmp_path, LONG)
    with sse_server(Program(itl_ms=300, tokens=1000)) as server:
        harness = Harness(tmp_path, "--profile", profile, "--base-url", server.url)
        until(lambda: len(server.served) >= 3)
        began = time.monotonic()
        done = harness.interrupt(number)
    assert time.monotonic() - began < 30
    assert done.code == 128 + number
    assert done.report["verdict"] == "invalid"
    assert done.report["environment"]["interrupted"] == name
    assert done.report["outcomes"]["censored"] == len(done.ledger.requests) >= 3
    assert "Cut short" in (done.directory / "report.html").read_text()
    assert "Traceback" not in done.err


def test_an_endpoint_that_goes_with_its_last_answer_has_not_passed(tmp_path: Path):
    profile = profile_file(tmp_path, {"closed_loop": {"concurrency": 2, "requests": 6}})
    with sse_server() as server:

        def the_last_one_closes(number: int) -> Program:
            if number == 5:
                server.close()
            return Program()

        server.program = the_last_one_closes
        done = Harness(tmp_path, "--profile", profile, "--base-url", server.url).wait()
    assert done.report["outcomes"]["ok"] == 6, done.err
    assert (done.code, done.report["verdict"]) == (3, "invalid")
    (gone,) = [found for found in done.report["findings"] if found["code"] == "WG213"]
    assert "connection refused" in gone["why"]


def test_an_interrupt_before_the_first_request_is_one_line_and_leaves_nothing(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        harness = Harness(tmp_path, "--base-url", f"http://127.0.0.1:{listener.getsockname()[1]}")
        with listener.accept()[0] as connection:
            connection.recv(1)
            done = harness.interrupt()
    assert done.code == 130
    assert done.err.split() == ["interrupted"]
    assert not done.directory.exists()


def test_an_interrupt_does_not_wait_for_a_server_that_counts_prompts_slowly(tmp_path: Path):
    profile = profile_file(tmp_path, LONG, prompts={"tokens": 64})
    with sse_server(Program(headers_ms=60_000)) as server:
        harness = Harness(tmp_path, "--profile", profile, "--base-url", server.url)
        until(lambda: len(server.served) == 1)
        began = time.monotonic()
        done = harness.interrupt()
    assert time.monotonic() - began < 30
    assert done.code == 130, done.err
    assert done.report["verdict"] == "invalid"
    assert len(done.ledger.requests) == 0
    assert done.ledger.end.elapsed_s >= 0
    assert "Traceback" not in done.err


def test_an_interrupt_while_the_harness_is_still_loading_is_one_word():
    script = (
        "import builtins, sys; from loadtest.__main__ import main; real = builtins.__import__\n"
        "def pressed(name, *rest):\n"
        "    if name == 'loadtest.cli': raise KeyboardInterrupt\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = pressed; sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_result_that_cannot_be_printed_is_no_pass_and_its_report_is_kept(tmp_path: Path, output: str):
    with sse_server() as server, Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "loadtest", "--profile", "smoke", "--base-url", server.url),
                *("--out", "report", "--output", output),
            ],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=90,
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "warmgate: cannot print the result: No space left on device: it is in report"
    assert json.loads((tmp_path / "report" / "report.json").read_text())["verdict"] == "pass"


def test_a_terminal_that_knows_no_marks_still_shows_the_result(tmp_path: Path):
    with sse_server() as server:
        done = subprocess.run(
            [*(sys.executable, "-m", "loadtest", "--profile", "smoke"), "--base-url", server.url, "--out", "report"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert "? pass     WG201" in done.stdout


def test_a_crash_of_the_harness_is_no_verdict_on_the_server(tmp_path: Path):
    crashing = "import sys; from gevent import monkey; monkey.patch_all(); import loadtest.cli as cli\n"
    crashing += "def boom(*_): raise KeyError('a mistake')\ncli.concluded = boom; sys.exit(cli.main())"
    with sse_server() as server:
        done = Harness(tmp_path, "--profile", "smoke", "--base-url", server.url, command=("-c", crashing)).wait()
    assert done.code == 3
    assert "KeyError: 'a mistake'" in done.err
