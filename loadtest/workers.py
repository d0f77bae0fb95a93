"""The workers of a run on this machine: processes of `loadtest.worker`, reached over a socket that is their stdin.

They live in the parent's session and ignore Ctrl-C: the parent tells them. The kernel ends them with their parent.
Needs gevent.
"""

from __future__ import annotations

import pickle
import signal
import sys
from contextlib import suppress
from typing import Any, Final

import gevent
import msgspec
from gevent import socket, subprocess
from gevent.queue import Queue

from loadtest.carrier import Job
from loadtest.crew import OnEnd, OnReport
from loadtest.frames import Frames
from loadtest.profile import Profile
from serving.child import die_with_parent
from serving.errors import CannotAct, CannotObserve

END_S: Final = 5.0
COMMAND: Final = (sys.executable, "-P", "-m", "loadtest.worker")  # a directory of this name may be where we are


class Processes:
    """So many load processes. `command` starts one."""

    clock_uncertainty_ms = None

    def __init__(self, count: int, command: tuple[str, ...] = COMMAND) -> None:
        self.count = count
        self._command = command
        self._processes: list[Any] = []
        self._frames: list[Frames] = []
        self._orders: list[Queue[bytes]] = []
        self._greenlets: list[Any] = []
        self._on_end: OnEnd = lambda *_: None

    def begin(self, job: Job, shares: list[Profile], on_report: OnReport, on_end: OnEnd) -> None:
        """Start them. Raises CannotAct."""
        self._on_end = on_end
        for _ in shares:
            self._start()
        for worker, profile in enumerate(shares):
            self._greenlets.append(gevent.spawn(self._read, worker, on_report))
            self._greenlets.append(gevent.spawn(self._write, worker))
            own = Job(profile, job.arms, job.prompts, job.seed)
            self.send(worker, {"do": "begin", "job": pickle.dumps(own)})

    def send(self, worker: int, order: dict[str, Any]) -> None:
        """Give an order. It goes out in the background: no worker can hold up the others by not reading."""
        self._orders[worker].put(pickle.dumps(order))

    def clock_ns(self, worker: int, at_ns: int) -> int:
        """The same: perf_counter is CLOCK_MONOTONIC, one clock for all processes of a machine."""
        return at_ns

    def check(self) -> None:
        """The end of a process shows where its reports are read."""

    def clocks(self) -> None:
        """They have ours."""

    def drop(self, worker: int) -> None:
        """Kill it."""
        self._processes[worker].kill()

    def close(self) -> None:
        """End them: by the end of their orders, and whoever does not heed that by a signal."""
        gevent.killall(self._greenlets)
        for frames in self._frames:
            frames.close()
        for process in self._processes:
            _ended(process)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            process = subprocess.Popen(
                self._command,
                stdin=theirs,
                stdout=subprocess.DEVNULL,  # ours may be for one JSON document
                preexec_fn=_become_worker,
            )
        except OSError as error:
            raise CannotAct(f"cannot start a load process: {error.strerror}: ask for fewer --workers") from error
        finally:
            theirs.close()
        self._processes.append(process)
        self._frames.append(Frames(ours))
        self._orders.append(Queue())

    def _write(self, worker: int) -> None:
        """Send the orders; a process that is gone is noticed where its reports are read."""
        with suppress(OSError):
            while True:
                self._frames[worker].send(self._orders[worker].get())

    def _read(self, worker: int, on_report: OnReport) -> None:
        why = None
        try:
            while (message := self._frames[worker].receive()) is not None:
                on_report(worker, msgspec.msgpack.decode(message))
        except OSError:
            pass
        except (msgspec.DecodeError, CannotObserve):
            why = "said what is no message"
            self._processes[worker].kill()
        self._on_end(worker, why or f"ended with {_named(_ended(self._processes[worker]))}")


def _become_worker() -> None:
    """In the child, before it is Python: from the first moment, Ctrl-C is for the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(signal.SIGKILL)


def _ended(process: Any) -> int:
    """The exit code of a process that is about to end, or is made to."""
    with suppress(subprocess.TimeoutExpired):
        return int(process.wait(END_S))
    process.kill()
    return int(process.wait())


def _named(code: int) -> str:
    if code >= 0:
        return f"code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
