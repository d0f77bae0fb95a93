"""Locust as the shell: the same engine and report, one event a stream, and an exit code that fails first."""

from __future__ import annotations

import json
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import loadtest
from tests.fakes.sse_server import Program, sse_server
from tests.loadtest.harness import Done, Harness, profile_file
from tests.loadtest.test_command import closed_port, until

LOCUSTFILE = str(Path(loadtest.__file__).parent / "locustfile.py")
STEADY = {"arrivals": "constant", "rate_rps": 20, "duration_s": 1}
LONG = {"arrivals": "constant", "rate_rps": 5, "duration_s": 60}


def locust(directory: Path, profile: Path, url: str, *args: str) -> Harness:
    return Harness(directory, "--profile", profile, "--host", url, *args, command=("-m", "locust", "-f", LOCUSTFILE))


def headless(directory: Path, profile: Path, url: str, *args: str) -> Done:
    return locust(directory, profile, url, "--headless", "--only-summary", *args).wait()


def test_headless_runs_the_profiles_schedule_and_exits_by_our_gates(tmp_path: Path):
    with sse_server() as server:
        done = headless(tmp_path, profile_file(tmp_path, STEADY), server.url, "--json")
    assert done.code == 0, done.err
    assert done.report["verdict"] == "pass"
    assert [round(seen.scheduled_s * 20) for seen in done.ledger.window] == list(range(20))
    assert (done.directory / "report.html").exists()
    stats = json.loads(done.out[done.out.rindex("\n[") :])
    assert [(row["method"], row["num_requests"], row["num_failures"]) for row in stats] == [("stream", 20, 0)]


@pytest.mark.parametrize(
    ("program", "slos", "code"),
    [
        pytest.param(
            Program(ttft_ms=80), [{"metric": "ttft", "statistic": "p50", "at_most_ms": 30}], 1, id="slo-missed"
        ),
        pytest.param(Program(fault="truncate"), None, 1, id="200-but-truncated"),
        pytest.param(Program(), [{"metric": "ttft", "statistic": "p99", "at_most_ms": 3000}], 3, id="too-few-samples"),
    ],
)
def test_headless_exit_codes(tmp_path: Path, program: Program, slos: list[dict[str, Any]] | None, code: int):
    with sse_server(program) as server:
        done = headless(tmp_path, profile_file(tmp_path, STEADY, slos), server.url)
    assert done.code == code, done.err


def test_failures_that_a_profile_allows_do_not_fail_the_run(tmp_path: Path):
    profile = profile_file(tmp_path, STEADY, [{"metric": "goodput", "at_least_share": 0.5}])
    with sse_server(lambda number: Program(status=503) if number == 3 else Program()) as server:
        done = headless(tmp_path, profile, server.url)
    assert done.report["outcomes"]["http_error"] == 1
    assert done.code == 0, "Locust's own rule, any failure is 1, must not decide"


def test_a_server_that_is_not_there_is_exit_code_3(tmp_path: Path):
    done = headless(tmp_path, profile_file(tmp_path, STEADY), f"http://127.0.0.1:{closed_port()}")
    assert done.code == 3
    assert "connection refused: is the server up" in done.err


def test_a_wrong_profile_is_exit_code_2(tmp_path: Path):
    with sse_server() as server:
        done = headless(tmp_path, profile_file(tmp_path, STEADY, warmup=1), server.url)
    assert done.code == 2
    assert "warmup: unknown key" in done.err


@pytest.mark.parametrize(
    "ended_by",
    [pytest.param([], id="ctrl-c"), pytest.param(["--run-time", "2"], id="run-time")],
)
def test_a_run_that_locust_ends_early_is_invalid_and_loses_no_stream(tmp_path: Path, ended_by: list[str]):
    with sse_server(Program(itl_ms=300, tokens=1000)) as server:
        harness = locust(tmp_path, profile_file(tmp_path, LONG), server.url, "--headless", *ended_by)
        until(lambda: len(server.served) >= 3)
        done = harness.wait() if ended_by else harness.interrupt(signal.SIGINT)
    assert done.code == 3, done.err
    assert done.report["verdict"] == "invalid"
    assert done.report["outcomes"]["censored"] == len(done.ledger.requests) >= 3


def test_several_processes_are_refused(tmp_path: Path):
    with sse_server() as server:
        done = headless(tmp_path, profile_file(tmp_path, STEADY), server.url, "--master")
    assert done.code == 2
    assert "--master, --worker and --processes are not supported" in done.err


def ask_ui(port: int, path: str, form: str | None = None) -> dict[str, Any]:
    data = None if form is None else form.encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=5) as answer:
        found: dict[str, Any] = json.loads(answer.read())
        return found


def test_the_web_ui_starts_a_run_shows_its_streams_and_ends_with_its_verdict(tmp_path: Path):
    port = closed_port()
    with sse_server() as server:
        harness = locust(
            tmp_path, profile_file(tmp_path, STEADY), server.url, "--web-port", str(port), "--web-host", "127.0.0.1"
        )
        until(lambda: _listens(port))
        assert ask_ui(port, "/swarm", "user_count=10&spawn_rate=10")["success"] is True
        until(lambda: ask_ui(port, "/stats/requests")["state"] == "stopped")
        streams = [row for row in ask_ui(port, "/stats/requests")["stats"] if row["method"] == "stream"]
        done = harness.interrupt()
    assert [(row["num_requests"], row["num_failures"]) for row in streams] == [(20, 0)]
    assert len(server.served) == 20, "the profile says how much, not the number of users"
    assert done.code == 0, done.err
    assert done.report["verdict"] == "pass"


def _listens(port: int) -> bool:
    try:
        ask_ui(port, "/stats/requests")
    except OSError:
        time.sleep(0.1)
        return False
    return True


@pytest.mark.parametrize("crash", ["judge", "event"])
def test_a_gate_that_crashes_fails_closed(tmp_path: Path, crash: str):
    ours = "import loadtest.locustfile as ours\n"
    boom = {
        "judge": f"{ours}def boom(*_): raise KeyError('a mistake')\nours.conclude = boom\n",
        "event": f"{ours}def boom(*_): raise MemoryError\nours.Run.perform = boom\n",
    }
    wrapper = tmp_path / "wrapper.py"
    wrapper.write_text(boom[crash] + "Carrier = ours.Carrier\n")
    with sse_server() as server:
        args = ("--profile", profile_file(tmp_path, STEADY), "--host", server.url, "--headless")
        done = Harness(tmp_path, *args, command=("-m", "locust", "-f", str(wrapper))).wait()
    assert done.code == 3
