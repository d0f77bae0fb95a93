from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from serving.rollout.envoy import Gateway
from serving.rollout.envoy_process import start_envoy, wait_until_listening
from tests.fakes.replica import FakeReplica
from tests.rollout.gateway import Stack, admin, free_port, until


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
