"""The load process's side of the sampler: starts its process, tells it when the run began, ends it.

Nothing here parses or asks; every wait is bounded and yields to gevent where gevent has patched. The process is in a
session of its own, so that Ctrl-C reaches only us, and it ends with us however we end.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from loadtest.telemetry.options import Ask
from serving.facts.telemetry import SCHEMA, Head, Telemetry, line_of, read_telemetry

START_S: Final = 15.0
STOP_S: Final = 6.0
LONGEST_S: Final = 8 * 86_400.0


@dataclass(frozen=True)
class FirstLook:
    """What one look before the run showed, and a line about each source for the person who waits.

    `serving.judge.telemetry.blind_gates` tells from `telemetry` which gates could never be judged.
    """

    telemetry: Telemetry
    notes: tuple[str, ...] = ()


class Sampler:
    """One run's telemetry: `prepare` before the run, `start` when its origin is known, `stop` at its end.

    `start` prepares by itself, and without any source nothing is started. Usable as a context manager, which stops.
    `bound_s` is when the process ends even if nobody ends it.
    """

    def __init__(
        self, asks: Sequence[Ask], path: Path, *, ca_cert: Path | None = None, bound_s: float = LONGEST_S
    ) -> None:
        self._asks, self._path, self._ca_cert, self._bound_s = tuple(asks), path, ca_cert, bound_s
        self._process: subprocess.Popen[bytes] | None = None
        self._first: FirstLook | None = None

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return None if self._process is None else self._process.pid

    def prepare(self) -> FirstLook:
        """Start the process and look once at each source. Never raises: what went wrong is a note."""
        if self._first is None:
            self._first = self._prepare() if self._asks else FirstLook(Telemetry())
        return self._first

    def start(self, origin_ns: int) -> FirstLook:
        """Sample from now on, with times from `origin_ns` (of time.perf_counter_ns; it may lie ahead)."""
        first = self.prepare()
        self._say(str(origin_ns))
        return first

    def stop(self) -> str | None:
        """End the sampling after one more look; returns in one line what had gone wrong, or None. Safe to repeat."""
        process, self._process = self._process, None
        if process is None:
            return None
        try:
            process.terminate()
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return "telemetry: the sampler did not end when it was told to: its last rows may be missing"
        finally:
            said = _last_words(process)
        return f"telemetry: {said}" if process.returncode not in (0, -15) else None

    def _prepare(self) -> FirstLook:
        config = {
            "asks": [asdict(ask) for ask in self._asks],
            "path": str(self._path.absolute()),
            "ca_cert": None if self._ca_cert is None else str(self._ca_cert.absolute()),
            "bound_s": self._bound_s,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "loadtest.telemetry"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        self._say(json.dumps(config))
        line = self._hear(time.monotonic() + START_S)
        if line is None:
            why = self.stop() or "telemetry: the sampler did not start in time"
            return FirstLook(Telemetry(tuple(ask.source for ask in self._asks if not ask.tentative)), (why,))
        return self._told(json.loads(line))

    def _told(self, body: dict[str, Any]) -> FirstLook:
        kept = [ask for ask in self._asks if ask.name in body["sources"]]
        head = Head(SCHEMA, 0, tuple(ask.source for ask in kept))
        telemetry = read_telemetry([line_of(head), *body["rows"]], "the first look")
        notes = []
        for ask in kept:
            missed = telemetry.missed.get(ask.name)
            notes.append(f"telemetry: {ask.name} {ask.url}" + (f": {missed[-1][1]}" if missed else ""))
        return FirstLook(telemetry, tuple(notes))

    def _say(self, line: str) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        try:
            process.stdin.write(f"{line}\n".encode())
        except BrokenPipeError:
            return  # it has ended; stop() tells why

    def _hear(self, deadline: float) -> bytes | None:
        """The first line that the process says; None when it ends or takes too long."""
        process = self._process
        if process is None or process.stdout is None:
            return None
        heard, fd = b"", process.stdout.fileno()
        while not heard.endswith(b"\n"):
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not select.select([fd], [], [], left_s)[0]:
                return None
            piece = os.read(fd, 65_536)
            if not piece:
                return None
            heard += piece
        return heard

    def __enter__(self) -> Sampler:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def _last_words(process: subprocess.Popen[bytes]) -> str:
    """The last line on its stderr; its pipes are closed with that."""
    said = process.stderr.read() if process.stderr is not None else b""
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else f"the sampler ended with exit code {process.returncode}"
