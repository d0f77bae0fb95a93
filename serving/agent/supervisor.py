"""The engine's processes: starts them, watches them, forwards their output, ends them all. Decides nothing.

vLLM is a tree (API server, EngineCore, workers). It runs in a session of its own; the agent adopts what the tree
orphans, so that after `kill_all` nothing of it is left. Callbacks run on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from serving.agent.procfs import Process, descendants, title
from serving.child import die_with_parent
from serving.errors import CannotAct

ENGINE_PROCESS: Final = "VLLM::"
CLOSE_S: Final = 5.0
_PR_SET_CHILD_SUBREAPER: Final = 36
_LONGEST: Final = 8192
_libc = ctypes.CDLL(None, use_errno=True)


class Supervisor:
    """One engine, from its start to the last process of its tree."""

    def __init__(
        self,
        on_line: Callable[[str], None],
        on_exit: Callable[[int], None],
        on_core_lost: Callable[[str], None],
    ) -> None:
        self._on_line = on_line
        self._on_exit = on_exit
        self._on_core_lost = on_core_lost
        self._process: subprocess.Popen[bytes] | None = None
        self._watched: dict[int, int] = {}  # pid of an engine process -> its pidfd
        self._reader: threading.Thread | None = None
        self.exit_code: int | None = None

    @property
    def pid(self) -> int | None:
        """The engine's first process, while it runs."""
        return self._process.pid if self._process is not None and self.exit_code is None else None

    def start(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        """Start the engine. Raises CannotAct where the command cannot be run."""
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            self._process = subprocess.Popen(
                command,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, signal.SIGKILL),
            )
        except OSError as error:
            raise CannotAct(
                f"cannot start the engine {command[0]!r}: {error.strerror}; see --engine-command"
            ) from error
        loop = asyncio.get_running_loop()
        self._watch(self._process.pid, self._ended)
        self._reader = threading.Thread(target=self._forward, args=(loop,), name="engine-output", daemon=True)
        self._reader.start()

    def look(self) -> int:
        """Find new engine processes to watch, reap adopted ones; return the tree's resident memory in bytes."""
        tree = self._tree()
        for process in tree:
            if process.name.startswith(ENGINE_PROCESS) and process.pid not in self._watched:
                self._watch(process.pid, self._core_ended, title(process.pid) or process.name)
        self._reap()
        return sum(process.resident_bytes for process in tree)

    def terminate(self) -> None:
        """SIGTERM to the engine's first process: the others are its business."""
        if self._process is not None and self.exit_code is None:
            self._process.send_signal(signal.SIGTERM)

    def kill_all(self) -> bool:
        """SIGKILL to the whole tree; true when nothing was left of it."""
        if self._process is not None and self.exit_code is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        tree = self._tree()
        for process in tree:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        return not tree

    def close(self) -> None:
        """End everything and wait for it: afterwards no process and no descriptor of the engine is left."""
        deadline = time.monotonic() + CLOSE_S
        while not self.kill_all() and time.monotonic() < deadline:
            time.sleep(0.02)  # a killed process may fork once more, and takes its time to give a GPU back
        loop = asyncio.get_running_loop()
        for pidfd in self._watched.values():
            loop.remove_reader(pidfd)
            os.close(pidfd)
        self._watched.clear()
        if self._process is not None:
            self._process.wait()
        if self._reader is not None:
            self._reader.join(timeout=2)
            if self._process is not None and self._process.stdout is not None and not self._reader.is_alive():
                self._process.stdout.close()
        self._reap()

    def _tree(self) -> list[Process]:
        """Every living descendant of the agent: the engine's tree, whoever adopted its parts."""
        return [process for process in descendants(os.getpid()) if process.pid != os.getpid()]

    def _watch(self, pid: int, ended: Callable[[int, str], None], name: str = "") -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return
        self._watched[pid] = pidfd
        asyncio.get_running_loop().add_reader(pidfd, self._gone, pid, ended, name)

    def _gone(self, pid: int, ended: Callable[[int, str], None], name: str) -> None:
        pidfd = self._watched.pop(pid)
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        ended(pid, name)

    def _core_ended(self, pid: int, name: str) -> None:
        self._on_core_lost(f"the engine's process {name} (pid {pid}) died")

    def _ended(self, pid: int, name: str) -> None:
        assert self._process is not None
        self.exit_code = self._process.wait()
        if self._reader is not None:  # its last lines name the cause; orphans that hold the pipe must not delay us
            self._reader.join(timeout=0.2)
        asyncio.get_running_loop().call_soon(self._on_exit, self.exit_code)

    def _reap(self) -> None:
        """Collect adopted processes that ended, but never the engine's first one: Popen waits for that."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None or (self._process is not None and ended.si_pid == self._process.pid):
                return
            os.waitpid(ended.si_pid, os.WNOHANG)

    def _forward(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        out = sys.stdout.fileno()
        rest = b""
        descriptor = self._process.stdout.fileno()
        while piece := os.read(descriptor, 65536):
            with contextlib.suppress(OSError):  # our own stdout is gone: the engine must not die of it
                _write_all(out, piece)
            lines = re.split(rb"[\r\n]", rest + piece)
            rest = lines.pop()[-_LONGEST:]
            texts = [line[:_LONGEST].decode(errors="replace") for line in lines if line]
            if texts:
                with contextlib.suppress(RuntimeError):  # the loop has ended before the engine's last line
                    loop.call_soon_threadsafe(self._deliver, texts)

    def _deliver(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._on_line(line)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
