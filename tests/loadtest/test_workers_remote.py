"""Workers on other machines: their clocks, and what they are told."""

from __future__ import annotations

import json
import pickle
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import msgspec
import pytest

from loadtest import station as stations
from loadtest.carrier import Job
from loadtest.engine import Arm
from loadtest.orders import job_document, job_of_document, schedule_document, schedule_of_document
from loadtest.plan import schedule_of
from loadtest.prompts.calibration import ASSUMED
from loadtest.prompts.prepare import prepare
from loadtest.prompts.shape import PromptShape
from loadtest.schedule import Length
from loadtest.station import Station
from loadtest.target import Served, target_of
from loadtest.workers_remote import Post, RemoteWorkers
from serving.errors import CannotAct, CannotObserve, Refused
from tests.loadtest.asking import profile_of

DAY_NS = 86_400_000_000_000


class Net:
    """A master and stations joined by a network with a latency, as Locust's runner joins them."""

    def __init__(self, latency_s: Callable[[str], float] = lambda _: 0.0) -> None:
        self.post = Post()
        self.clients = {name: SimpleNamespace(state="ready") for name in ("a", "b")}
        self._latency_s = latency_s
        self.stations = {name: Station(SimpleNamespace(send_message=self._back(name))) for name in self.clients}

    def send_message(self, msg_type: str, data: Any = None, client_id: str | None = None) -> None:
        assert client_id is not None
        order = msgspec.msgpack.decode(msgspec.msgpack.encode(data))
        if client_id in self.stations:
            there = self._latency_s("there")
            gevent.spawn_later(there, self.stations[client_id].obey, None, SimpleNamespace(data=order))

    def _back(self, name: str) -> Callable[..., None]:
        def send_message(msg_type: str, data: Any) -> None:
            report = msgspec.msgpack.decode(msgspec.msgpack.encode(data))
            gevent.spawn_later(self._latency_s("back"), self.post, None, SimpleNamespace(node_id=name, data=report))

        return send_message


def workers_of(net: Net) -> RemoteWorkers:
    return RemoteWorkers(net, net.post, {})


def test_a_clock_of_another_day_is_found_and_its_uncertainty_told(monkeypatch: pytest.MonkeyPatch):
    ours = time.perf_counter_ns
    monkeypatch.setattr(stations, "perf_counter_ns", lambda: ours() + DAY_NS)
    workers = workers_of(Net(lambda way: 0.004))
    workers.clocks()
    assert workers.clock_uncertainty_ms is not None
    assert 4 <= workers.clock_uncertainty_ms < 100
    off_ms = (workers.clock_ns(0, 0) - DAY_NS) / 1e6
    assert abs(off_ms) <= workers.clock_uncertainty_ms


def test_a_way_there_that_is_longer_than_the_way_back_is_within_the_uncertainty():
    workers = workers_of(Net({"there": 0.03, "back": 0.0}.__getitem__))
    workers.clocks()
    assert workers.clock_uncertainty_ms is not None
    assert workers.clock_ns(1, 0) / 1e6 == pytest.approx(15, abs=10)
    assert abs(workers.clock_ns(1, 0) / 1e6) <= workers.clock_uncertainty_ms


def test_a_clock_that_drifts_in_the_run_adds_to_the_uncertainty(monkeypatch: pytest.MonkeyPatch):
    workers = workers_of(Net())
    workers.clocks()
    assumed = workers.clock_ns(0, 0)
    ours = time.perf_counter_ns
    monkeypatch.setattr(stations, "perf_counter_ns", lambda: ours() + 70_000_000)
    workers.clocks()
    assert workers.clock_ns(0, 0) == assumed, "what was assumed while the run was on stays"
    assert workers.clock_uncertainty_ms == pytest.approx(70, abs=30)


def test_a_worker_that_tells_no_time_or_is_lost_has_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("loadtest.workers_remote.PONG_WAIT_S", 0.1)
    net = Net()
    workers, ends = workers_of(net), []
    del net.stations["b"]
    workers.begin(job_of(), [profile_of(), profile_of()], lambda *_: None, lambda *end: ends.append(end))
    assert ends == [(1, "did not tell its clock")]
    net.clients["a"].state = "missing"
    del net.clients["b"]
    workers.check()
    assert ends[1:] == [(0, "went missing"), (1, "quit")]


def job_of(shape: dict[str, Any] | None = None, key: str | None = None, **rest: Any) -> Job:
    profile = profile_of(prompts=PromptShape.model_validate(shape or {"words": 9}), workers=2)
    target = target_of("http://127.0.0.1:9", key)
    arms = (Arm(target, Served("m", counts_tokens=True), "baseline"), Arm(target, Served("n", counts_tokens=False)))
    return Job(profile, arms, prepare(profile.prompts, 5, **rest).prompts, 5)


def travelled(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.msgpack.decode(msgspec.msgpack.encode(body))
    return found


@pytest.mark.parametrize(
    "shape",
    [
        {"words": 20, "shared_prefix_share": 0.5, "distinct": 7},
        {"words": 20, "golden": {"share": 0.5, "questions": [{"ask": "2+2?", "expect": ["4"]}]}},
    ],
)
def test_a_job_arrives_as_it_was_sent_and_without_the_key(shape: dict[str, Any]):
    job = job_of(shape, key="sk-topsecret")
    body = job_document(job, job.profile, {"api_key_env": "MY_KEY"})
    assert "topsecret" not in json.dumps(body)
    assert body["names"]["api_key_env"] == "MY_KEY"
    with pytest.raises(Refused, match="MY_KEY: there is no such environment variable"):
        job_of_document(travelled(body))


def test_prompts_are_made_again_with_the_masters_costs_and_lengths(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_KEY", "sk-own")
    lengths = (Length(90, 4, (1, 2)), Length(120, 8, (1, 3)), Length(100, 2))
    known = SimpleNamespace(costs=ASSUMED)
    shape = {"tokens": "trace"}
    job = job_of(shape, recorded=lambda index: lengths[index], known=known)
    job = Job(job.profile, job.arms, job.prompts, job.seed, ASSUMED, lengths)
    again = job_of_document(travelled(job_document(job, job.profile, {"api_key_env": "MY_KEY"})))
    assert [again.prompts.prompt_of(index) for index in range(3)] == [
        job.prompts.prompt_of(index) for index in range(3)
    ]
    assert again.profile == job.profile
    assert [(arm.name, arm.served) for arm in again.arms] == [(arm.name, arm.served) for arm in job.arms]
    assert ("Authorization", "Bearer sk-own") in again.arms[0].target.headers


def test_keys_and_certificates_in_files_are_each_machines_own(tmp_path: Path):
    (tmp_path / "key").write_text("sk-own\n")
    job = job_of()
    body = job_document(job, job.profile, {"api_key_file": str(tmp_path / "key")})
    assert ("Authorization", "Bearer sk-own") in job_of_document(travelled(body)).arms[0].target.headers
    body = job_document(job, job.profile, {"api_key_file": str(tmp_path / "none")})
    with pytest.raises(Refused, match="none: No such file"):
        job_of_document(travelled(body))


def test_another_file_of_prompts_under_the_same_name_is_refused(tmp_path: Path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "one"}\n')
    job = job_of({"file": str(path)})
    body = travelled(job_document(job, job.profile, {}))
    assert job_of_document(body).prompts.prompt_of(0) == job.prompts.prompt_of(0)
    path.write_text('{"prompt": "two"}\n')
    with pytest.raises(CannotAct, match=re.escape("the prompts here are not the master's: use the same files")):
        job_of_document(body)


def test_a_schedule_arrives_as_it_was_sent():
    load = {"arrivals": "poisson", "rate_rps": 40, "duration_s": 2, "seed": 3}
    shard = schedule_of(profile_of(load=load), 3).shard(1, 3)
    assert schedule_of_document(travelled(schedule_document(shard))) == shard
    closed = schedule_of(profile_of(load={"closed_loop": {"concurrency": 4, "requests": 9}}), 1).shard(0, 2)
    assert schedule_of_document(travelled(schedule_document(closed))) == closed
    with pytest.raises(CannotObserve, match="use one version of warmgate on all machines"):
        schedule_of_document({**travelled(schedule_document(shard)), "phases": [{"title": "x"}]})
    assert pickle.loads(pickle.dumps(shard)) == shard
