"""One model on one machine: vLLM under its agent, a real Envoy in front. Starts them, stops them, leaves nothing.

It judges nothing: whether the stack serves is for `verify` to say. Used by `warmgate demo` and by tests.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serving.agent.procfs import descendants
from serving.child import die_with_parent
from serving.errors import CannotAct
from serving.rollout import envoy
from serving.rollout.envoy_process import start_envoy, wait_until_listening

NAME: Final = "smollm2"
# Two cores and no GPU: no compilation, a small context and KV cache. A hub model may still be downloaded.
CPU_ENGINE: Final = ("--max-model-len", "2048", "--max-num-seqs", "16", "--enforce-eager")
CPU_ENVIRONMENT: Final = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
END_S: Final = 25.0  # lame duck, drain and teardown of the agent below


@dataclass(frozen=True)
class Ports:
    """Where the parts listen on loopback: gateway, its admin, the agent, vLLM."""

    gateway: int
    gateway_admin: int
    admin: int
    data: int


def choose_ports(gateway: int) -> Ports:
    """The usual ports where they are free, others where they are not. Raises CannotAct when `gateway` is taken."""
    if not _free(gateway):
        raise CannotAct(f"port {gateway} is taken; choose another: --port, or WARMGATE_PORT")
    taken = {gateway}
    chosen = []
    for preferred in (8001, 8081, 8080):
        port = preferred if preferred not in taken and _free(preferred) else _any_free(taken)
        taken.add(port)
        chosen.append(port)
    return Ports(gateway, *chosen)


class Stack:
    """The processes of one embedded stack. Their logs are in `directory`."""

    def __init__(self, model: str, ports: Ports, directory: Path) -> None:
        self.model, self.ports, self.directory = model, ports, directory
        self._agent: subprocess.Popen[bytes] | None = None
        self._envoy: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What clients use."""
        return f"http://127.0.0.1:{self.ports.gateway}"

    @property
    def admin(self) -> str:
        """The agent's admin port."""
        return f"http://127.0.0.1:{self.ports.admin}"

    @property
    def engine(self) -> str:
        """vLLM itself, behind the gateway."""
        return f"http://127.0.0.1:{self.ports.data}"

    @property
    def gateway_admin(self) -> str:
        """Envoy's admin port."""
        return f"http://127.0.0.1:{self.ports.gateway_admin}"

    @property
    def agent_log(self) -> Path:
        """What the agent and vLLM said."""
        return self.directory / "agent.log"

    @property
    def envoy_log(self) -> Path:
        """What Envoy said."""
        return self.directory / "envoy.log"

    def start(self) -> None:
        """Start the agent (which starts vLLM) and Envoy; return while the model loads. Raises CannotAct."""
        with self.agent_log.open("wb") as log:
            self._agent = subprocess.Popen(
                self._agent_command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
                env={**CPU_ENVIRONMENT, **os.environ},
            )
        replica = envoy.Replica("r1", "127.0.0.1", self.ports.data, self.ports.admin)
        gateway = envoy.Gateway(self.directory / "envoy", self.ports.gateway, self.ports.gateway_admin)
        envoy.write(gateway, [envoy.Version("stable", (replica,), 100)])
        self._envoy = start_envoy(gateway.directory, self.envoy_log)
        wait_until_listening(self._envoy, gateway, self.envoy_log)

    def ended(self) -> str | None:
        """Which part has ended by itself and with what code, or None while both run."""
        for name, process in (("the agent", self._agent), ("Envoy", self._envoy)):
            if process is not None and process.poll() is not None:
                return f"{name} ended with code {process.returncode}"
        return None

    def stop(self, *, at_once: bool = False) -> None:
        """End everything and wait for it; `at_once` does without lame duck and drain."""
        if self._agent is not None and self._agent.poll() is None:
            tree = descendants(self._agent.pid)
            for _ in range(2 if at_once else 1):  # asked twice, the agent ends its engine at once
                with contextlib.suppress(ProcessLookupError):
                    self._agent.send_signal(signal.SIGTERM)
                if at_once:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self._agent.wait(0.5)
            try:
                self._agent.wait(END_S)
            except subprocess.TimeoutExpired:
                for process in [*tree, *descendants(self._agent.pid)]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
                self._agent.wait()
        if self._envoy is not None and self._envoy.poll() is None:
            self._envoy.terminate()
            try:
                self._envoy.wait(5)
            except subprocess.TimeoutExpired:
                self._envoy.kill()
                self._envoy.wait()

    def _agent_command(self) -> list[str]:
        own = ["--admin-host", "127.0.0.1", "--admin-port", str(self.ports.admin)]
        own += ["--lame-duck", "1", "--drain-timeout", "10", "--linger", "5"]
        vllm = [
            "--model",
            self.model,
            "--served-model-name",
            NAME,
            "--host",
            "127.0.0.1",
            "--port",
            str(self.ports.data),
        ]
        return [sys.executable, "-m", "serving.cli.main", "serve", *own, "--", *vllm, *CPU_ENGINE]


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into what Ctrl-C is, so that every way to end passes through the same cleaning up."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore further signals while cleaning up: an impatient second Ctrl-C must not leave processes behind."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _any_free(taken: set[int]) -> int:
    while True:
        with socket.socket() as trial:
            trial.bind(("127.0.0.1", 0))
            port = int(trial.getsockname()[1])
        if port not in taken:
            return port
