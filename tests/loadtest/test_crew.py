"""Several load processes: one schedule, whatever becomes of them; nothing hangs and no process is left."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gevent.event import Event

from loadtest import crew as crews
from loadtest.carrier import Job
from loadtest.crew import Crew
from loadtest.engine import Arm
from loadtest.plan import schedule_of
from loadtest.profile import Profile, load_profile
from loadtest.prompts.prepare import prepare
from loadtest.prompts.shape import PromptShape
from loadtest.target import Served, target_of
from loadtest.workers import Processes
from serving.errors import Refused
from tests.fakes.sse_server import Program, sse_server
from tests.loadtest.asking import profile_of
from tests.loadtest.harness import Done, Harness, profile_file, run
from tests.loadtest.test_command import until

BURSTY: dict[str, Any] = {"arrivals": "poisson", "rate_rps": 40, "duration_s": 1.5, "seed": 11}
LONG: dict[str, Any] = {"arrivals": "constant", "rate_rps": 20, "duration_s": 60}
pytestmark = pytest.mark.timeout(240)


def loaded(directory: Path, load: dict[str, Any], url: str, workers: int, *args: object, **rest: Any) -> Done:
    directory.mkdir(exist_ok=True)
    return run(
        directory, "--profile", profile_file(directory, load, **rest), "--workers", workers, "--base-url", url, *args
    )


def load_processes(parent: int) -> list[int]:
    """The workers of this process, by what the kernel knows."""
    found = []
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if b"loadtest.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
            found.append(int(child))
    return found


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_all_workers_together_send_exactly_the_schedule(tmp_path: Path, workers: int):
    with sse_server(Program(ttft_ms=5, tokens=3)) as server:
        done = loaded(tmp_path, BURSTY, server.url, workers)
    assert done.code == 0, done.err
    drawn = schedule_of(profile_of(load=BURSTY), 11)
    sent = sorted((seen.index, seen.scheduled_s) for seen in done.ledger.requests)
    assert [index for index, _ in sent] == list(range(len(drawn.due_s)))
    assert [due_s for _, due_s in sent] == pytest.approx(list(drawn.due_s), abs=1e-6)
    assert sorted(served.request_id for served in server.served) == sorted(
        f"warmgate-11-{index}" for index in range(len(drawn.due_s))
    )
    assert done.ledger.end.workers == workers
    assert done.ledger.end.chunks == 3 * len(drawn.due_s)


def test_more_workers_do_not_make_arrivals_burstier(tmp_path: Path):
    load = {"arrivals": "poisson", "rate_rps": 100, "duration_s": 4, "seed": 5}
    for attempt in range(3):  # a machine that is busy with other things is late, and that is not what is looked for
        with sse_server(Program(ttft_ms=1, tokens=1)) as server:
            done = loaded(tmp_path / str(attempt), load, server.url, 4)
        if done.report["metrics"]["schedule_lag_ms"]["p99"] < 20:
            break
    drawn = schedule_of(profile_of(load=load), 5)
    bins = np.arange(0, 4.05, 0.2)
    counts = np.histogram([seen.sent_s or 0.0 for seen in done.ledger.requests], bins)[0]
    ideal = np.histogram(list(drawn.due_s), bins)[0]
    assert counts.var() / counts.mean() == pytest.approx(ideal.var() / ideal.mean(), rel=0.3)
    assert counts.var() / counts.mean() < 2, "four workers with one seed would have an index of dispersion of 4"


def test_a_closed_loop_deals_out_its_streams_and_its_requests(tmp_path: Path):
    load = {"closed_loop": {"concurrency": 5, "requests": 23}}
    with sse_server(Program(ttft_ms=5, tokens=3)) as server:
        done = loaded(tmp_path, load, server.url, 2)
    assert done.code == 0, done.err
    assert sorted(seen.index for seen in done.ledger.requests) == list(range(23))
    assert done.report["load"]["peak_in_flight"] <= 5


def test_both_sides_of_a_comparison_get_the_same_requests_whoever_sends_them(tmp_path: Path):
    load = {"arrivals": "constant", "rate_rps": 20, "duration_s": 1, "seed": 3}
    sides = []
    with sse_server() as one, sse_server() as other:
        for workers in (1, 2):
            done = loaded(tmp_path / str(workers), load, one.url, workers, "--candidate", other.url)
            assert len(done.ledger.requests) == 20, done.err
            sides.append({seen.index: (seen.arm, seen.prompt) for seen in done.ledger.requests})
        asked = {served.request_id for served in other.served}
    assert sides[0] == sides[1]
    assert {f"warmgate-3-{index}" for index, (arm, _) in sides[1].items() if arm == "candidate"} == asked


def test_a_sweep_is_shared_probe_by_probe(tmp_path: Path):
    load = {"arrivals": "constant", "sweep": {"start_rps": 20, "max_rps": 40, "probe_s": 1, "longest_probe_s": 2}}
    slos = [{"metric": "goodput", "at_least_share": 0.5}]
    with sse_server(Program(ttft_ms=2, tokens=2)) as server:
        done = loaded(tmp_path, load, server.url, 2, slos=slos)
    assert done.code in (0, 3), done.err  # 40/s is met, so the sweep has no end to its answer
    assert "40/s pass" in done.err
    indices = [seen.index for seen in done.ledger.requests]
    assert sorted(indices) == list(range(len(indices)))
    assert len(indices) >= 60
    assert {seen.phase for seen in done.ledger.requests} == set(range(len(done.ledger.phases)))


def test_a_directory_of_our_name_where_a_person_stands_is_none_of_ours(tmp_path: Path):
    (tmp_path / "loadtest").mkdir()
    (tmp_path / "loadtest" / "__init__.py").write_text("")
    profile = profile_file(tmp_path, {"closed_loop": {"concurrency": 2, "requests": 4}})
    with sse_server() as server:
        args = ("--profile", profile, "--workers", 2, "--base-url", server.url)
        done = Harness(tmp_path, *args, command=("-P", "-m", "loadtest")).wait()
    assert done.code == 0, done.err


def test_a_worker_that_is_killed_makes_the_run_invalid_and_nothing_hangs(tmp_path: Path):
    profile = profile_file(tmp_path, LONG)
    with sse_server(Program(ttft_ms=5, tokens=3)) as server:
        harness = Harness(tmp_path, "--profile", profile, "--workers", 2, "--base-url", server.url)
        until(lambda: len(server.served) >= 20)
        workers = load_processes(harness.process.pid)
        assert len(workers) == 2
        os.kill(workers[1], signal.SIGKILL)
        began = time.monotonic()
        done = harness.wait()
    assert time.monotonic() - began < 40
    assert done.code == 3, done.err
    assert done.report["verdict"] == "invalid"
    assert done.ledger.end.interrupted == "worker 2 ended with SIGKILL"
    assert any(seen.index % 2 == 0 for seen in done.ledger.requests), "what the other one recorded is kept"
    assert "Traceback" not in done.err
    assert gone(workers)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_is_an_order_to_all_workers_and_leaves_none(tmp_path: Path, number: int, code: int):
    profile = profile_file(tmp_path, LONG)
    with sse_server(Program(itl_ms=300, tokens=1000)) as server:
        harness = Harness(tmp_path, "--profile", profile, "--workers", 2, "--base-url", server.url)
        until(lambda: len(server.served) >= 6)
        workers = load_processes(harness.process.pid)
        for pid in workers:  # a terminal sends it to all of them
            os.kill(pid, signal.SIGINT)
        done = harness.interrupt(number)
        cut = sorted(seen.index for seen in done.ledger.requests)
    assert done.code == code
    assert done.report["verdict"] == "invalid"
    assert done.report["outcomes"]["censored"] == len(cut) >= 6
    assert {index % 2 for index in cut} == {0, 1}
    assert "Traceback" not in done.err
    assert len(workers) == 2
    assert gone(workers)


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path):
    profile = profile_file(tmp_path, LONG)
    with sse_server(Program(ttft_ms=5, tokens=3)) as server:
        harness = Harness(tmp_path, "--profile", profile, "--workers", 2, "--base-url", server.url)
        until(lambda: len(server.served) >= 4)
        workers = load_processes(harness.process.pid)
        harness.process.kill()
        harness.wait()
        until(lambda: gone(workers))


def test_the_key_reaches_the_workers_and_no_command_line(tmp_path: Path):
    profile = profile_file(tmp_path, {"arrivals": "constant", "rate_rps": 20, "duration_s": 3})
    with sse_server() as server:
        args = ("--profile", profile, "--workers", 2, "--base-url", server.url, "--api-key-file", "key")
        (tmp_path / "key").write_text("sk-topsecret\n")
        harness = Harness(tmp_path, *args)
        until(lambda: len(server.served) >= 4)
        seen = [
            Path(f"/proc/{pid}/{what}").read_bytes()
            for pid in load_processes(harness.process.pid)
            for what in ("cmdline", "environ")
        ]
        done = harness.wait()
        assert server.served[3].headers["authorization"] == "Bearer sk-topsecret"
    assert done.code == 0
    assert len(seen) == 4
    assert not any(b"topsecret" in text for text in seen)
    assert not any(b"topsecret" in path.read_bytes() for path in done.directory.iterdir())


SAYS = "import socket, time; ours = socket.socket(fileno=0); ours.sendall({said}); time.sleep({then})"


@pytest.mark.parametrize(
    ("program", "why"),
    [
        pytest.param("raise SystemExit(7)", "worker 1 ended with code 7", id="ends"),
        pytest.param(SAYS.format(said=b"\xff" * 8, then=60), "worker 1 said what is no message", id="no-frame"),
        pytest.param(SAYS.format(said=b"\0\0\0\1\xc1", then=60), "worker 1 said what is no message", id="no-msgpack"),
        pytest.param(
            SAYS.format(said=b"\0\0\0\1\x07", then=60), "worker 1 said what makes no sense (TypeError)", id="no-report"
        ),
        pytest.param("import time; time.sleep(60)", "worker 1 was not ready within 2 s", id="silence"),
    ],
)
def test_a_worker_of_no_use_is_told_of_and_ended(program: str, why: str, monkeypatch: pytest.MonkeyPatch):
    if "not ready" in why:
        monkeypatch.setattr(crews, "START_S", 2.0)
    troubles: list[str] = []
    stop = Event()
    workers = Processes(1, (sys.executable, "-c", program))

    def trouble(what: str) -> None:
        troubles.append(what)
        stop.set()

    crew = Crew(job_of(profile_of()), workers, lambda *_: None, stop, trouble)
    began = time.monotonic()
    try:
        crew.prepare(schedule_of(profile_of(), 1))
        measured = crew.carry_out(schedule_of(profile_of(), 1), time.perf_counter_ns())
    finally:
        crew.close()
    assert time.monotonic() - began < 45
    assert troubles[0] == why
    assert measured.chunks == 0


def job_of(profile: Profile) -> Job:
    target = target_of("http://127.0.0.1:9")
    return Job(profile, (Arm(target, Served("m", counts_tokens=False)),), prepare(profile.prompts, 1).prompts, 1)


def test_a_target_is_pickled_as_what_it_was_made_of_and_trusts_the_same():
    plain, tls = target_of("http://127.0.0.1:9/v1", "sk-1"), target_of("https://127.0.0.1:9")
    again = pickle.loads(pickle.dumps(plain))
    assert again == plain
    assert ("Authorization", "Bearer sk-1") in again.headers
    assert "sk-1" not in repr(plain)
    assert tls.peer.tls is not None
    context = pickle.loads(pickle.dumps(tls)).peer.tls
    assert context.verify_mode == tls.peer.tls.verify_mode
    assert context.check_hostname


@pytest.mark.parametrize(
    "shape",
    [
        {"words": 20, "shared_prefix_share": 0.5},
        {"tokens": 128},
        {"tokens": 128, "conversations": {"turns": 3}},
        {"words": 20, "golden": {"share": 0.5, "questions": [{"ask": "2+2?", "expect": ["4"]}]}},
    ],
)
def test_prompts_are_the_same_in_another_process(shape: dict[str, Any]):
    prompts = prepare(PromptShape.model_validate(shape), 9).prompts
    again = pickle.loads(pickle.dumps(prompts))
    assert [again.prompt_of(index) for index in range(50)] == [prompts.prompt_of(index) for index in range(50)]


def test_the_bound_on_open_streams_is_shared_and_not_multiplied(tmp_path: Path):
    profile = {"arrivals": "constant", "rate_rps": 20, "duration_s": 1}
    with sse_server(Program(ttft_ms=3000, tokens=2)) as server:
        done = loaded(tmp_path, profile, server.url, 2, max_in_flight=5)
    assert done.report["outcomes"]["ok"] == 5
    assert done.report["outcomes"]["not_sent"] == 15
    with pytest.raises(Refused, match="8 workers for max_in_flight 5: lower workers"):
        load_profile(str(tmp_path / "profile.yaml"), workers=8)
