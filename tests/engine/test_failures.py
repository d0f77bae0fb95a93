"""Starts that cannot succeed: one line of reason in /modelz and on stderr, the right exit code, nothing left behind."""

from __future__ import annotations

import shutil
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from serving.agent.guard import MODULE_ENTRY
from tests.engine.process import agent, alive, free_port, wait_for


@dataclass
class Broken:
    """How one start is broken, and what its reason must say."""

    says: str
    model: Callable[[Path, Path], Path | str] = lambda embedded, work: embedded
    options: tuple[str, ...] = ()
    vllm: tuple[str, ...] = ()
    take_port: bool = False


def truncated(embedded: Path, work: Path) -> Path:
    copy = work / "model"
    shutil.copytree(embedded, copy)
    with (copy / "model.safetensors").open("r+b") as weights:
        weights.truncate(1_000_000)
    return copy


def scrambled(embedded: Path, work: Path) -> Path:
    copy = truncated(embedded, work)
    with (copy / "model.safetensors").open("r+b") as weights:
        weights.write(b"\xff" * 64)
    return copy


# 3 GiB of address space: enough for Python and torch to start, not for the engine.
SHORT_OF_MEMORY = f"prlimit --as=3221225472 {sys.executable} -m {MODULE_ENTRY}"

CASES = [
    pytest.param(Broken("does not exist", model=lambda e, w: w / "none"), id="wrong model path"),
    pytest.param(Broken("holds no config.json", model=lambda e, w: w), id="a directory that is no model"),
    pytest.param(Broken("Cannot find", model=lambda e, w: "nobody/nothing"), id="a hub name without network"),
    pytest.param(Broken("SafetensorError", model=truncated), id="truncated safetensors"),
    pytest.param(Broken("Error", model=scrambled), id="scrambled safetensors"),
    pytest.param(Broken("Address already in use", take_port=True), id="port taken"),
    pytest.param(Broken("unrecognized arguments: --no-such", vllm=("--no-such",)), id="unknown vLLM argument"),
    pytest.param(
        Broken("serves 'smol', expected 'other'", options=("--expect-model", "other")), id="wrong served name"
    ),
    pytest.param(Broken("memory", options=("--engine-command", SHORT_OF_MEMORY)), id="not enough memory"),
    pytest.param(Broken("No such file", options=("--engine-command", "/no/such/vllm")), id="no such engine command"),
]


@pytest.mark.parametrize("broken", CASES)
def test_a_start_that_cannot_succeed_says_why_and_exits_1(broken: Broken, embedded_model: Path, tmp_path: Path):
    with ExitStack() as stack:
        port = free_port()
        if broken.take_port:
            thief = stack.enter_context(socket.socket())
            thief.bind(("127.0.0.1", port))
            thief.listen()
        model = broken.model(embedded_model, tmp_path)
        options = ["--linger", "3", *broken.options]
        served = stack.enter_context(agent(model, tmp_path / "agent.log", *options, vllm=broken.vllm, port=port))
        tree: set[int] = set()

        def failed() -> bool:
            tree.update(served.tree())
            return served.status("/readyz") == 503 and served.modelz()["state"] == "failed"

        wait_for(failed, 240, every_s=0.2)
        failed_at = time.monotonic()
        now = served.modelz()
        assert broken.says in now["reason"]
        assert len(now["reason"].splitlines()) == 1
        assert "initialization failed" not in now["reason"], "that line only says that there is another one"
        assert served.status("/livez") == 503
        assert served.process.wait(40) == 1
        assert time.monotonic() - failed_at < 40, "it lingers, so that a probe can read the reason, and then ends"
        assert "-> failed" in served.output()
        assert now["reason"] in served.output()
        wait_for(lambda: not alive(list(tree)), 15)


def test_a_taken_admin_port_ends_at_once_with_exit_code_3(embedded_model: Path, tmp_path: Path):
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen()
        taken = str(thief.getsockname()[1])
        with agent(embedded_model, tmp_path / "agent.log", "--admin-port", taken) as served:
            assert served.process.wait(40) == 3
            assert "choose another --admin-port" in served.output()
            assert len(served.output().splitlines()) == 1
