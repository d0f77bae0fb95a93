"""The state of one connection and of the answer that is being sent on it. No I/O beyond the socket's own calls."""

from __future__ import annotations

import random
import socket
import ssl
import struct
import time
from typing import Final

from loadtest.truth.program import Program
from loadtest.truth.script import MS, Script
from loadtest.truth.served import Served

SO_TIMESTAMPNS: Final = 35
READ_SIZE: Final = 16_384
STAMP: Final = struct.Struct("@ll")
OLDEST_STAMP_NS: Final = 60 * 1_000_000_000
AGAIN: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Answer:
    """What is still to be sent: the next write is number `at`. `at_once` is for answers that no freeze holds up."""

    __slots__ = (
        "at",
        "at_once",
        "base",
        "chunks",
        "connection",
        "free_ns",
        "offsets",
        "script",
        "sent_ns",
        "served",
        "writes",
    )

    def __init__(
        self, connection: Connection, script: Script, served: Served, offsets: list[int], at_once: bool = False
    ) -> None:
        self.at_once = at_once
        self.connection, self.script, self.served = connection, script, served
        self.offsets, self.writes, self.chunks = offsets, script.writes, script.chunks
        self.base, self.sent_ns, self.at = served.arrived_ns, served.sent_ns, 0
        self.free_ns = 0  # since when the client takes bytes again: what it held up is not the server's lateness


class Connection:
    """One client. `answer` is what it is being sent, `buffer` what it sent and nobody has read yet."""

    __slots__ = ("answer", "buffer", "kernel_ns", "number", "pending", "read_ns", "requests", "shaken", "socket", "tls")

    def __init__(self, number: int, sock: socket.socket, tls: bool) -> None:
        self.number, self.socket, self.tls = number, sock, tls
        self.shaken = not tls
        self.answer: Answer | None = None
        self.buffer = bytearray()
        self.pending = b""
        self.requests = 0
        self.read_ns = 0
        self.kernel_ns: int | None = None

    def read(self) -> bool:
        """Take what has arrived; False when the client has left. Raises OSError, and AGAIN where nothing is there."""
        if not self.shaken and isinstance(self.socket, ssl.SSLSocket):
            self.socket.do_handshake()
            self.shaken = True
        if self.tls:
            data, stamp = self.socket.recv(READ_SIZE), None
        else:
            data, controls, _, _ = self.socket.recvmsg(READ_SIZE, 64)
            stamp = controls[0][2] if controls else None
        self.read_ns = time.perf_counter_ns()
        self.kernel_ns = self._monotonic(stamp) if stamp is not None and len(stamp) == STAMP.size else None
        self.buffer += data
        return bool(data)

    def _monotonic(self, stamp: bytes) -> int | None:
        """The kernel's stamp, which is wall time, on the clock of perf_counter; None if it cannot be true."""
        seconds, nanoseconds = STAMP.unpack(stamp)
        at = int(seconds * 1_000_000_000 + nanoseconds - (time.time_ns() - time.perf_counter_ns()))
        return at if 0 <= self.read_ns - at < OLDEST_STAMP_NS else None

    def close(self, reset: bool = False) -> None:
        """End the connection; with `reset`, without the courtesy."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def offsets_of(program: Program, script: Script, arrived_ns: int, seed: str) -> list[int]:
    """When each write is due after the arrival: the script's times, with this request's own jitter and grid."""
    if not (program.jitter_ms or program.grid_ms):
        return script.offsets
    rng = random.Random(seed)
    grid, latest, offsets = int(program.grid_ms * MS), 0, []
    for offset, chunks in zip(script.offsets, script.chunks, strict=True):
        due = offset
        if chunks:
            due += int(rng.random() * program.jitter_ms * MS)
            if grid:
                due = -(-(arrived_ns + due) // grid) * grid - arrived_ns
        latest = max(latest, due)
        offsets.append(latest)
    return offsets
