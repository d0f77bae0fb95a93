"""The harness as a person runs it: exit codes, reports, and what is left after trouble."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from serving.facts.samples import of_request
from serving.facts.traffic import Outcome
from tests.fakes.sse_server import Program, sse_server
from tests.loadtest.harness import Harness, profile_file, run

STEADY = {"arrivals": "constant", "rate_rps": 20, "duration_s": 2}
LONG = {"arrivals": "constant", "rate_rps": 5, "duration_s": 60}


def until(condition: Callable[[], bool], within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_good_server_passes_and_the_figures_are_its_own(tmp_path: Path):
    slos = [
        {"metric": "ttft", "statistic": "p95", "at_most_ms": 1000},
        {"metric": "itl", "statistic": "p50", "at_most_ms": 100},
        {"metric": "error_rate", "at_most_share": 0.0},
    ]
    profile = profile_file(tmp_path, STEADY, slos)
    with sse_server(Program(ttft_ms=60, itl_ms=20, tokens=12)) as server:
        done = run(tmp_path, "--profile", profile, "--base-url", server.url)
        truth = {served.request_id: served for served in server.served}
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1].startswith("PASS (exit code 0)")
    traffic, origin = done.ledger, []
    assert [seen.outcome for seen in traffic.requests] == [Outcome.OK] * 40
    for seen in traffic.requests:
        served = truth[f"warmgate-{traffic.plan.load.seed}-{seen.index}"]
        assert seen.sent_s is not None
        assert seen.tokens_per_chunk == (1,) * 12
        origin.append(served.sent_ns[0] / 1e9 - seen.chunk_s[0])
        server_ttft = (served.sent_ns[0] - served.arrived_ns) / 1e9
        assert seen.chunk_s[0] - seen.sent_s == pytest.approx(server_ttft, abs=0.25)
    # The run's start on the server's clock, as each first token tells it: all agree but for the stamping error.
    assert max(origin) - median(origin) < 0.5
    assert done.report["metrics"]["itl_ms"]["p50"] == pytest.approx(20, abs=8)
    assert 60 <= done.report["metrics"]["ttft_ms"]["p50"] < 200
    assert done.report["load"]["achieved_per_s"] == pytest.approx(20, rel=0.2)


def test_a_missed_slo_is_exit_code_1(tmp_path: Path):
    profile = profile_file(tmp_path, STEADY, [{"metric": "ttft", "statistic": "p50", "at_most_ms": 30}])
    with sse_server(Program(ttft_ms=80)) as server:
        done = run(tmp_path, "--profile", profile, "--base-url", server.url)
    assert done.code == 1
    assert done.report["verdict"] == "fail"
    assert "FAIL (exit code 1)" in done.out


@pytest.mark.parametrize(
    ("program", "outcome"),
    [
        pytest.param(Program(status=500), "http_error", id="500"),
        pytest.param(Program(fault="no_finish"), "truncated", id="200-without-finish-reason"),
        pytest.param(Program(fault="no_done"), "truncated", id="200-without-done"),
        pytest.param(Program(fault="error_event"), "stream_error", id="200-then-error"),
    ],
)
def test_a_server_that_is_up_and_serves_badly_fails(tmp_path: Path, program: Program, outcome: str):
    with sse_server(program) as server:
        done = run(tmp_path, "--profile", profile_file(tmp_path, STEADY), "--base-url", server.url)
    assert done.code == 1
    assert done.report["outcomes"][outcome] == 40


def test_zero_requests_are_invalid(tmp_path: Path):
    profile = profile_file(tmp_path, {"arrivals": "poisson", "rate_rps": 0.001, "duration_s": 0.2, "seed": 1})
    with sse_server() as server:
        done = run(tmp_path, "--profile", profile, "--base-url", server.url)
    assert done.code == 3
    assert done.report["verdict"] == "invalid"
    assert "no request was scheduled" in done.out


def test_a_server_that_is_not_there_is_exit_code_3_in_one_line_and_leaves_nothing(tmp_path: Path):
    done = run(tmp_path, "--base-url", f"http://127.0.0.1:{closed_port()}")
    assert done.code == 3
    assert done.err.count("\n") == 1
    assert "connection refused: is the server up, and --base-url right?" in done.err
    assert not done.directory.exists()


def test_a_server_that_dies_in_the_middle_fails_and_says_why(tmp_path: Path):
    profile = profile_file(tmp_path, {"arrivals": "constant", "rate_rps": 20, "duration_s": 3})
    with sse_server() as server:
        harness = Harness(tmp_path, "--profile", profile, "--base-url", server.url)
        until(lambda: len(server.served) >= 10)
        server.close()
        done = harness.wait()
    assert done.code == 1
    assert done.report["outcomes"]["ok"] >= 10
    assert done.report["reasons"]["no answer: connection refused"] > 10


def test_a_frozen_server_is_seen_by_everyone_who_should_have_been_served(tmp_path: Path):
    """Coordinated omission: frozen 3 s at 20 requests a second, about 60 requests wait, evenly from 3 s down to 0."""
    profile = profile_file(
        tmp_path,
        {"arrivals": "constant", "rate_rps": 20, "duration_s": 6},
        [{"metric": "ttft", "statistic": "p95", "at_most_ms": 1000}],
    )
    with sse_server(Program(ttft_ms=5, tokens=3)) as server:
        harness = Harness(tmp_path, "--profile", profile, "--base-url", server.url)
        until(lambda: len(server.served) >= 30)
        server.freeze(3.0)
        done = harness.wait()
    assert done.code == 1
    ttfts = sorted(of_request("ttft", seen) or 0.0 for seen in done.ledger.requests)
    waited = [ttft for ttft in ttfts if ttft > 100]
    assert 50 <= len(waited) <= 80
    assert 2800 < max(waited) < 4500
    assert 1200 < median(waited) < 2300


def test_a_cap_on_open_streams_is_not_sent_and_counts_and_the_schedule_stays(tmp_path: Path):
    profile = profile_file(tmp_path, STEADY, max_in_flight=4)
    with sse_server(Program(ttft_ms=900, tokens=2)) as server:
        done = run(tmp_path, "--profile", profile, "--base-url", server.url)
    assert done.code == 1
    outcomes = done.report["outcomes"]
    assert outcomes["ok"] + outcomes["not_sent"] == 40
    assert outcomes["not_sent"] > 20
    assert [seen.scheduled_s for seen in done.ledger.window] == pytest.approx([index / 20 for index in range(40)])


def test_streams_that_never_end_are_censored_within_the_drain_bound(tmp_path: Path):
    profile = profile_file(tmp_path, {"arrivals": "constant", "rate_rps": 5, "duration_s": 1}, drain_s=0.5)
    with sse_server(Program(fault="stall")) as server:
        done = run(tmp_path, "--profile", profile, "--base-url", server.url)
    assert done.code == 1
    assert done.report["outcomes"]["censored"] == 5
    assert done.report["environment"]["elapsed_s"] < 20


def test_the_smoke_profile_runs_a_closed_loop(tmp_path: Path):
    with sse_server() as server:
        done = run(tmp_path, "--profile", "smoke", "--base-url", server.url)
    assert done.code == 0, done.out + done.err
    assert len(server.served) == 10
    assert done.report["load"]["streams"] == 2
    assert done.report["load"]["peak_in_flight"] <= 2
    assert done.report["load"]["offered_per_s"] is None


def test_more_streams_than_files_are_allowed_at_first_are_no_trouble(tmp_path: Path):
    few = "import resource; most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
    few += "resource.setrlimit(resource.RLIMIT_NOFILE, (60, most)); from loadtest.__main__ import main; main()"
    profile = profile_file(tmp_path, {"closed_loop": {"concurrency": 80, "requests": 80}})
    with sse_server(Program(ttft_ms=1_000)) as server:
        done = Harness(tmp_path, "--profile", profile, "--base-url", server.url, command=("-c", few)).wait()
    assert done.report["outcomes"]["ok"] == 80, done.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        pytest.param(["--profile", "nightly"], "known are canary, demo, sanity, smoke", id="unknown-profile"),
        pytest.param(["--base-url", "127.0.0.1:8000"], "give http://host:port", id="no-scheme"),
        pytest.param(["--base-url", "http://u:p@127.0.0.1:1"], "leave the credentials out", id="credentials"),
        pytest.param(["--base-url", "u:topsecret@127.0.0.1:1"], "leave the credentials out", id="credentials-alone"),
        pytest.param(["--base-url", "http://127.0.0.1:99999"], "its port, a number", id="port"),
        pytest.param(["--base-url", "http://[::1:8000"], "its host or its port", id="half-an-address"),
        pytest.param(["--base-url", "http://127.0.0.1:1/\u4f8b"], "a path's as %XX", id="letters-of-a-path"),
        pytest.param(["--base-url", "http://127.0.0.1:1/a b"], "a path's as %XX", id="blank"),
        pytest.param(["--candidate", "127.0.0.1:8000"], "the base URL '127.0.0.1:8000'", id="candidate"),
        pytest.param(["--base-url", "http://127.0.0.1:1/?key=1"], "leave out everything from ?", id="query"),
        pytest.param(["--api-key-env", "NO_SUCH_KEY"], "NO_SUCH_KEY: there is no such", id="missing-key"),
        pytest.param(["--attach", "nothing.json"], "nothing.json", id="missing-attachment"),
        pytest.param(["--rate", "fast"], "--rate", id="rate"),
        pytest.param(["--ca-cert", "no.pem", "--base-url", "https://127.0.0.1:1"], "--ca-cert no.pem", id="missing-ca"),
        pytest.param(["--nonsense"], "--nonsense", id="unknown-option"),
    ],
)
def test_a_wrong_request_is_exit_code_2_and_starts_nothing(tmp_path: Path, args: list[str], said: str):
    done = run(tmp_path, *args)
    assert done.code == 2, done.err
    assert said in done.err
    assert "Traceback" not in done.err
    assert "topsecret" not in done.err
    assert not done.directory.exists()


def test_an_unknown_key_in_a_profile_is_exit_code_2(tmp_path: Path):
    done = run(tmp_path, "--profile", profile_file(tmp_path, STEADY, warmup=3))
    assert done.code == 2
    said = "warmup: unknown key: the unit is in the name, as in warmup_s"
    assert done.err.splitlines() == [f"warmgate: profile {tmp_path / 'profile.yaml'}: {said}"]


@pytest.mark.parametrize(
    ("model", "code", "said"),
    [
        pytest.param("fake", 0, "", id="served"),
        pytest.param("other", 3, "does not serve 'other': give --model one of fake", id="not-served"),
    ],
)
def test_the_named_model_must_be_served(tmp_path: Path, model: str, code: int, said: str):
    with sse_server() as server:
        done = run(tmp_path, "--profile", "smoke", "--base-url", server.url, "--model", model)
    assert done.code == code
    assert said in done.err


def test_a_server_that_is_something_else_is_exit_code_3(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        harness = Harness(tmp_path, "--base-url", f"http://127.0.0.1:{listener.getsockname()[1]}")
        with listener.accept()[0] as connection:
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        done = harness.wait()
    assert done.code == 3
    assert "is it an OpenAI-compatible server?" in done.err


def test_json_on_stdout_is_the_report_and_nothing_else(tmp_path: Path):
    with sse_server() as server:
        done = run(tmp_path, "--profile", "smoke", "--base-url", server.url, "--output", "json")
    assert done.code == 0
    assert json.loads(done.out) == done.report


def test_no_artefact_holds_the_key_a_prompt_or_an_answer(tmp_path: Path):
    with sse_server(lambda number: Program() if number % 2 else Program(status=400)) as server:
        done = run(
            tmp_path, "--profile", "smoke", "--base-url", server.url, "--api-key-env", "MY_KEY", MY_KEY="sk-topsecret"
        )
        prompt = server.served[0].body["messages"][0]["content"]
        assert server.served[0].headers["authorization"] == "Bearer sk-topsecret"
    written = [path.read_text() for path in done.directory.iterdir()]
    names = {"junit.xml", "ledger.jsonl", "report.html", "report.json", "requests.csv", "telemetry-harness.jsonl"}
    assert {path.name for path in done.directory.iterdir()} == names
    for text in [*written, done.out, done.err]:
        assert "topsecret" not in text
        assert "tök" not in text
        assert prompt not in text


def test_reports_go_to_a_new_directory_and_the_latest_link_names_it(tmp_path: Path):
    with sse_server() as server:
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-m", "loadtest", "--profile", "smoke", "--base-url", server.url],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=90,
                check=False,
            )
            assert done.returncode == 0, done.stderr
    directories = sorted(path.name for path in (tmp_path / "reports").iterdir() if not path.is_symlink())
    assert len(directories) == 2
    assert (tmp_path / "reports" / "latest" / "report.html").exists()
    assert (tmp_path / "reports" / "latest").resolve().name == directories[-1]


def test_a_report_is_never_overwritten(tmp_path: Path):
    with sse_server() as server:
        assert run(tmp_path, "--profile", "smoke", "--base-url", server.url).code == 0
        again = run(tmp_path, "--profile", "smoke", "--base-url", server.url)
    assert again.code == 2
    assert "already holds a report: give another --out" in again.err


def test_a_full_disk_is_one_line_and_keeps_the_ledger(tmp_path: Path):
    limit = 6_000  # bytes a file may have: room for the head and some records

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    profile = profile_file(tmp_path, STEADY)
    with sse_server() as server:
        done = subprocess.run(
            [sys.executable, "-m", "loadtest", "--profile", profile, "--base-url", server.url, "--out", "report"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            preexec_fn=small_disk,
        )
    assert done.returncode == 3
    assert "File too large: make room;" in done.stderr
    assert "Traceback" not in done.stderr
    kept = (tmp_path / "report" / "ledger.jsonl").read_text().splitlines()
    assert len(kept) > 5
    assert all(json.loads(line) for line in kept[:-1])


def test_an_attached_report_is_in_the_page(tmp_path: Path):
    (tmp_path / "verify.json").write_text(
        json.dumps(
            {"title": "verify it", "verdict": "fail", "findings": [{"code": "WG104", "observed": "far too slow"}]}
        )
    )
    with sse_server() as server:
        done = run(tmp_path, "--profile", "smoke", "--base-url", server.url, "--attach", tmp_path / "verify.json")
    assert done.code == 0
    page = (done.directory / "report.html").read_text()
    assert "verify it" in page
    assert "far too slow" in page


def warmgate(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from serving.cli.main import main; main()", "loadtest", *args],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        **options,
    )


def test_warmgate_loadtest_becomes_the_harness_with_the_same_arguments(tmp_path: Path):
    helped = warmgate("--help")
    assert helped.returncode == 0
    assert "--profile" in helped.stdout
    assert "Examples:" in helped.stdout
    with sse_server() as server:
        done = warmgate("--profile", "smoke", "--base-url", server.url, "--out", "here", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here" / "report.html").exists()
    assert warmgate("--profile", "nightly").returncode == 2


def test_a_missing_package_is_one_sentence():
    script = "import sys; sys.modules['gevent'] = None; from loadtest.__main__ import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 3
    assert done.stderr == "warmgate: the load test needs the package 'gevent': pip install 'warmgate[loadtest]'\n"


def test_progress_is_told_on_stderr_every_few_seconds_without_a_terminal(tmp_path: Path):
    profile = profile_file(tmp_path, {"arrivals": "constant", "rate_rps": 10, "duration_s": 6})
    with sse_server() as server:
        done = run(tmp_path, "--profile", profile, "--base-url", server.url)
    lines = [line for line in done.err.splitlines() if "in flight" in line]
    assert 1 <= len(lines) < 6
    assert all("/60 started" in line for line in lines)
    assert any("TTFT p50" in line for line in lines)
