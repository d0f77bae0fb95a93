"""Locust as the shell: the same engine and report, one event a stream, and an exit code that fails first."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import loadtest
from loadtest.options import OPTIONS
from tests.fakes.sse_server import Program, sse_server
from tests.loadtest.harness import Done, Harness, profile_file
from tests.loadtest.test_command import closed_port, until

LOCUSTFILE = str(Path(loadtest.__file__).parent / "locustfile.py")
STEADY = {"arrivals": "constant", "rate_rps": 20, "duration_s": 1}
LONG = {"arrivals": "constant", "rate_rps": 5, "duration_s": 60}


def locust(directory: Path, profile: Path, url: str, *args: str, **env: str) -> Harness:
    command = ("-m", "locust", "-f", LOCUSTFILE)
    if "--processes" in args:  # its master listens on a port of its own
        port = str(closed_port())
        args = (*args, "--master-bind-port", port, "--master-port", port)
    return Harness(directory, "--profile", profile, "--host", url, *args, command=command, **env)


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
        pytest.param(
            lambda number: Program(status=503) if number in (3, 6, 9) else Program(),
            [{"metric": "goodput", "at_least_share": 0.9, "confidence": 0.95}],
            3,
            id="too-few-samples",
        ),
    ],
)
def test_headless_exit_codes(tmp_path: Path, program: Any, slos: list[dict[str, Any]] | None, code: int):
    with sse_server(program) as server:
        done = headless(tmp_path, profile_file(tmp_path, {**STEADY, "duration_s": 2}, slos), server.url)
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


@pytest.mark.parametrize("processes", [[], ["--processes", "2"]], ids=["alone", "processes"])
@pytest.mark.parametrize(
    ("number", "stop_timeout"),
    [
        pytest.param(signal.SIGINT, [], id="ctrl-c"),
        pytest.param(signal.SIGTERM, [], id="sigterm"),
        pytest.param(signal.SIGINT, ["--stop-timeout", "1"], id="stop-timeout"),
    ],
)
def test_a_run_that_locust_ends_early_is_invalid_and_loses_no_stream(
    tmp_path: Path, processes: list[str], number: int, stop_timeout: list[str]
):
    args = ("--headless", *processes, *stop_timeout)
    with sse_server(Program(itl_ms=300, tokens=1000)) as server:
        harness = locust(tmp_path, profile_file(tmp_path, LONG), server.url, *args)
        until(lambda: len(server.served) >= 3)
        workers = children(harness.process.pid)
        if number == signal.SIGINT:  # a terminal sends it to all of them
            for worker in workers:
                os.kill(worker, number)
        done = harness.interrupt(number)
    assert done.code == 3, done.err
    assert done.report["verdict"] == "invalid"
    assert done.report["outcomes"]["censored"] == len(done.ledger.requests) >= 3
    assert len(done.ledger.requests) == len({request.request_id for request in server.served})
    until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def children(parent: int) -> list[int]:
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in found if b"locustfile.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_users_and_run_time_have_no_meaning_and_that_is_said(tmp_path: Path):
    with sse_server() as server:
        args = ("--users", "7", "--spawn-rate", "7", "--run-time", "1")
        done = headless(tmp_path, profile_file(tmp_path, {**STEADY, "duration_s": 3}), server.url, *args)
    assert done.code == 0, done.err
    assert len(done.ledger.requests) == 60
    assert "--users, --spawn-rate, --run-time: no meaning here: the profile says how much and how long" in done.err


def test_the_options_are_those_of_the_command(tmp_path: Path):
    script = "import json, loadtest.locustfile; from locust.argument_parser import *; parser = get_parser(); print("
    script += "json.dumps([sorted(parser._option_string_actions), sorted(ui_extra_args_dict())]))"
    asked = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    names, web = json.loads(asked)
    assert {f"--{option.name}" for option in OPTIONS} < set(names)
    assert set(web) == {option.name.replace("-", "_") for option in OPTIONS if option.web}
    with sse_server() as server:
        args = ("--streams", "2", "--requests", "9", "--output-tokens", "5", "--no-gates", "--seed", "4")
        done = headless(tmp_path, profile_file(tmp_path, STEADY), server.url, *args)
        assert {served.body["max_tokens"] for served in server.served} == {5}
    assert done.code == 0, done.err
    assert done.ledger.plan.load.concurrency == 2
    assert done.ledger.plan.load.seed == 4
    assert len(done.ledger.requests) == 9


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--rate", "fast"), "--rate 'fast': not a number"),
        (("--streams", "x"), "--streams 'x': 'x' is not a valid integer"),
        (("--api-key-env", "NO_SUCH"), "NO_SUCH: there is no such environment variable"),
    ],
)
def test_a_wrong_option_is_exit_code_2(tmp_path: Path, args: tuple[str, ...], said: str):
    done = headless(tmp_path, profile_file(tmp_path, STEADY), f"http://127.0.0.1:{closed_port()}", *args)
    assert done.code == 2
    assert said in done.err


def test_processes_share_the_schedule_and_the_master_judges(tmp_path: Path):
    with sse_server() as server:
        profile = profile_file(tmp_path, STEADY)
        args = ("--processes", "2", "--json", "--api-key-env", "MY_KEY")
        harness = locust(tmp_path, profile, server.url, "--headless", "--only-summary", *args, MY_KEY="sk-topsecret")
        done = harness.wait()
        assert {served.headers["authorization"] for served in server.served} == {"Bearer sk-topsecret"}
    assert done.code == 0, done.err
    assert sorted(seen.index for seen in done.ledger.requests) == list(range(20))
    assert sorted(round(seen.scheduled_s * 20) for seen in done.ledger.requests) == list(range(20))
    end = done.ledger.end
    assert (end.workers, end.chunks) == (2, sum(seen.chunks for seen in done.ledger.requests))
    assert end.clock_uncertainty_ms is not None
    assert 0 < end.clock_uncertainty_ms < 1000
    assert "clocks of the workers" in done.out
    stats = json.loads(done.out[done.out.rindex("\n[") :])
    assert [(row["method"], row["num_requests"], row["num_failures"]) for row in stats] == [("stream", 20, 0)]


def cluster(directory: Path, profile: Path, url: str, workers: int, *args: str) -> tuple[Harness, list[Harness]]:
    """A master and its workers, each started as on a machine of its own."""
    port = str(closed_port())
    ask = ("--headless", "--only-summary", "--master-bind-host", "127.0.0.1", "--master-bind-port", port)
    master = locust(directory, profile, url, "--master", *ask, "--expect-workers", str(workers), *args)
    hands = []
    for number in range(workers):
        own = directory / f"worker-{number}"
        own.mkdir()
        command = ("-m", "locust", "-f", LOCUSTFILE)
        hands.append(Harness(own, "--worker", "--master-host", "127.0.0.1", "--master-port", port, command=command))
    return master, hands


@pytest.mark.parametrize(
    ("number", "why"),
    [(signal.SIGKILL, "worker . (went missing|was silent)"), (signal.SIGINT, "worker . (was stopped|quit)")],
)
def test_a_worker_that_goes_in_the_middle_makes_the_run_invalid(tmp_path: Path, number: int, why: str):
    profile = profile_file(tmp_path, LONG)
    with sse_server(Program(ttft_ms=5, tokens=3)) as server:
        master, workers = cluster(tmp_path, profile, server.url, 2)
        until(lambda: len(server.served) >= 6)
        workers[0].process.send_signal(number)
        done = master.wait()
        for worker in workers:
            worker.wait()
    assert done.code == 3, done.err
    assert done.report["verdict"] == "invalid"
    assert re.fullmatch(why, done.ledger.end.interrupted or "")
    assert len(done.ledger.requests) >= 2


def test_workers_of_other_machines_serve_their_master_and_end_with_0(tmp_path: Path):
    (tmp_path / "key").write_text("sk-topsecret\n")
    with sse_server() as server:
        args = ("--api-key-file", str(tmp_path / "key"))
        master, workers = cluster(tmp_path, profile_file(tmp_path, STEADY), server.url, 2, *args)
        done = master.wait()
        codes = [worker.wait().code for worker in workers]
        assert {served.headers["authorization"] for served in server.served} == {"Bearer sk-topsecret"}
    assert done.code == 0, done.err
    assert sorted(seen.index for seen in done.ledger.requests) == list(range(20))
    assert codes == [0, 0]


def test_fewer_workers_than_expected_never_pass(tmp_path: Path):
    with sse_server() as server:
        args = ("--workers", "3")
        master, workers = cluster(tmp_path, profile_file(tmp_path, STEADY), server.url, 1, *args)
        done = master.wait()
        workers[0].wait()
    assert done.code == 3
    assert "1 of 3 workers are connected: start the others" in done.err
    assert len(server.served) == 0


def ui(port: int, path: str, form: str | None = None) -> bytes:
    data = None if form is None else form.encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=5) as answer:
        found: bytes = answer.read()
        return found


def ask_ui(port: int, path: str, form: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ui(port, path, form))
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
        stats = ask_ui(port, "/stats/requests")
        streams = [row for row in stats["stats"] if row["method"] == "stream"]
        page = ui(port, "/").decode()
        report = ui(port, "/warmgate/report").decode()
        done = harness.interrupt()
    assert [(row["num_requests"], row["num_failures"]) for row in streams] == [(20, 0)]
    assert len(server.served) == 20, "the profile says how much, not the number of users"
    assert done.code == 0, done.err
    assert done.report["verdict"] == "pass"
    assert report == (done.directory / "report.html").read_text()
    assert '"key": "streams"' in page
    (tab,) = [table["data"] for table in stats["extended_stats"] if table["key"] == "streams"]
    shown = {row["figure"]: row["value"] for row in tab}
    assert shown["Run"] == "pass"
    assert "/warmgate/report" in shown["Report"]
    assert shown["Requests started"] == "20 of 20"
    assert shown["Requests that ended ok"] == "20"
    assert shown["Goodput, of the latest"] == "100.00%"
    assert [part.split()[1] for part in shown["TTFT p50 / p95 / p99, of the latest"].split(" / ")] == ["ms"] * 3
    assert "not by Locust's percentiles" in shown["Gates"]


def test_the_web_form_changes_the_run_and_a_second_run_is_its_own(tmp_path: Path):
    port = closed_port()

    def swarm(requests: int, runs: int) -> int:
        """Start a run from the form; returns how many requests the server has seen when its report is there."""
        until(lambda: ask_ui(port, "/stats/requests")["worker_count"] == 2)
        assert ask_ui(port, "/swarm", f"rate=20&requests={requests}&duration=&streams=")["success"] is True
        until(lambda: len(list((tmp_path / "reports").glob("2*/report.html"))) == runs)
        until(lambda: ask_ui(port, "/stats/requests")["state"] == "stopped")
        return len(server.served)

    with sse_server() as server:
        profile = profile_file(tmp_path, STEADY)
        args = ("--web-port", str(port), "--web-host", "127.0.0.1", "--processes", "2")
        command = ("-m", "locust", "-f", LOCUSTFILE, "--profile", str(profile), "--host", server.url, *args)
        process = subprocess.Popen([sys.executable, *command], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        try:
            until(lambda: _listens(port))
            assert [swarm(6, 1), swarm(8, 2)] == [6, 14]
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=90)
    assert process.returncode == 0


def _listens(port: int) -> bool:
    try:
        ask_ui(port, "/stats/requests")
    except OSError:
        time.sleep(0.1)
        return False
    return True


@pytest.mark.parametrize("crash", ["judge", "event"])
def test_a_gate_that_crashes_fails_closed(tmp_path: Path, crash: str):
    boom = {
        "judge": "def boom(*_, **__): raise KeyError('a mistake')\nsession.concluded = boom\n",
        "event": "def boom(*_): raise MemoryError\nsession.Run.perform = boom\n",
    }
    wrapper = tmp_path / "wrapper.py"
    taken = "import loadtest.locustfile as ours\nimport loadtest.session as session\nCarrier = ours.Carrier\n"
    wrapper.write_text(f"{taken}Shape = ours.ProfileShape\n{boom[crash]}")
    with sse_server() as server:
        args = ("--profile", profile_file(tmp_path, STEADY), "--host", server.url, "--headless")
        done = Harness(tmp_path, *args, command=("-m", "locust", "-f", str(wrapper))).wait()
    assert done.code == 3
    assert "Traceback" in done.err


def test_a_locustfile_that_takes_the_user_alone_ends_too(tmp_path: Path):
    wrapper = tmp_path / "wrapper.py"
    wrapper.write_text("from loadtest.locustfile import Carrier\n")
    with sse_server() as server:
        args = ("--profile", profile_file(tmp_path, STEADY), "--host", server.url, "--headless")
        done = Harness(tmp_path, *args, command=("-m", "locust", "-f", str(wrapper))).wait()
    assert done.code == 0, done.err
    assert len(done.ledger.requests) == 20
