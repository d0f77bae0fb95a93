"""One HTTP/1.1 request on one connection: sends it, stamps every piece of the answer on arrival, keeps it unread.

The receive path, a callback of the event loop, stamps, stores and follows HTTP's framing to know where the message
ends; what the body says is read after the stream. It never raises for what a server or a network did: the Wire says how
it ended. What this machine refuses is no outcome of the server's: that raises CannotAct.
"""

from __future__ import annotations

import errno
import ssl
from dataclasses import dataclass, field
from enum import Enum, auto
from time import perf_counter_ns
from typing import Any, Final

import gevent
from gevent.event import Event

from loadtest.connection import NO_STAMP, Address, Connection, Peer, open_connection
from loadtest.http1 import Malformed, ResponseReader
from loadtest.pool import Pool
from serving.errors import CannotAct

__all__ = ["Address", "Cut", "Ending", "Limits", "Peer", "Wire", "exchange"]

RACE_NS: Final = 50_000_000
READABLE: Final = 1


class Cut(Exception):
    """Raised into a request from outside to end it now: what has arrived is kept."""


class Ending(Enum):
    """How an exchange ended on the wire."""

    OPEN = auto()
    COMPLETE = auto()
    CLOSED = auto()
    MALFORMED = auto()
    UNREACHABLE = auto()
    RESET = auto()
    TIMEOUT = auto()
    CUT = auto()


@dataclass(slots=True)
class Wire:
    """What happened on the wire. Times are perf_counter nanoseconds.

    `response` holds what arrived, its body still unread. `reads` has an entry for each read: when its bytes arrived,
    and how long they had waited in the kernel (NO_STAMP where it gave no stamp: they then count as arrived when read).
    `resends` counts idle connections that turned out to be dead.
    """

    begun_ns: int | None = None
    connected_ns: int | None = None
    sent_ns: int | None = None
    ended_ns: int | None = None
    response: ResponseReader = field(default_factory=ResponseReader)
    reads: list[tuple[int, int]] = field(default_factory=list)
    ending: Ending = Ending.OPEN
    why: str = ""
    resends: int = 0


@dataclass(frozen=True)
class Limits:
    """Most seconds for opening the connection, to the first byte of the answer, between reads, and for all."""

    connect_s: float
    first_byte_s: float
    idle_s: float
    total_s: float


def exchange(peer: Peer, request: bytes, limits: Limits, wire: Wire, pool: Pool | None = None) -> None:
    """Send a request and record its answer in `wire`, which is valid at any moment, also when this was cut short.

    With a pool, an open connection is used where one stands ready, and handed back when it can serve again.
    """
    wire.begun_ns = perf_counter_ns()
    connection: Connection | None = None
    keep = False
    try:
        connection = pool.take() if pool is not None else None
        while True:
            connection = connection or _connect(peer, limits, wire)
            if connection is None:
                return
            wire.connected_ns = max(connection.opened_ns, wire.begun_ns)
            began_ns = perf_counter_ns()
            wire.sent_ns = wire.sent_ns or began_ns
            _Reception(connection, limits, wire).perform(request, began_ns)
            if not _was_dead(connection, wire, began_ns):
                break
            connection.close()
            connection = None
            wire.resends += 1
            wire.ending, wire.why = Ending.OPEN, ""
        keep = wire.ending is Ending.COMPLETE and wire.response.reusable
    except Cut as cut:
        wire.ending, wire.why = Ending.CUT, str(cut)
    finally:
        wire.ended_ns = perf_counter_ns()
        if connection is not None:
            connection.used = True
            if pool is not None and keep:
                pool.give(connection)
            else:
                connection.close()


def _connect(peer: Peer, limits: Limits, wire: Wire) -> Connection | None:
    try:
        return open_connection(peer, limits.connect_s)
    except TimeoutError:
        wire.ending, wire.why = Ending.TIMEOUT, f"no connection within {limits.connect_s:g} s"
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise CannotAct("too many open files: raise `ulimit -n`, or lower max_in_flight") from error
        wire.ending, wire.why = Ending.UNREACHABLE, _said(error)
    return None


def _was_dead(connection: Connection, wire: Wire, began_ns: int) -> bool:
    """Whether an idle connection had been closed by the server just as we sent, so that it never saw the request.

    A fresh connection is never sent twice, nor one on which a byte came back, nor one that took its time to fail: a
    server that dies over a request must show in the outcomes.
    """
    failed = wire.ending in (Ending.RESET, Ending.CLOSED) and not wire.reads
    return connection.used and failed and perf_counter_ns() - began_ns < RACE_NS


class _Reception:
    """Sends one request and takes in its answer. The loop calls back at each readable moment and at each deadline."""

    def __init__(self, connection: Connection, limits: Limits, wire: Wire) -> None:
        self._connection, self._limits, self._wire = connection, limits, wire
        self._response = wire.response
        self._done = Event()
        self._crash: BaseException | None = None
        self._timer: Any = None
        self._last_ns = self._began_ns = 0

    def perform(self, request: bytes, began_ns: int) -> None:
        self._last_ns = self._began_ns = began_ns
        try:
            self._connection.write(request, self._limits.idle_s)
        except TimeoutError:
            self._end(Ending.TIMEOUT, f"could not send within {self._limits.idle_s:g} s")
        except OSError as error:
            self._end(Ending.RESET, _said(error))
        else:
            self._receive()

    def _receive(self) -> None:
        readable = gevent.get_hub().loop.io(self._connection.fileno(), READABLE)
        try:
            readable.start(self._readable)
            self._arm(min(self._limits.first_byte_s, self._limits.total_s))
            self._done.wait()
        finally:
            for watcher in (readable, self._timer):
                if watcher is not None:
                    watcher.stop()
                    watcher.close()
        if self._crash is not None:
            raise self._crash

    def _readable(self) -> None:
        """Stamp and store; then see whether that was the end of the message."""
        try:
            found = self._connection.read()
            if found is None:
                return
            piece, at, waited = found
            response = self._response
            if not piece:
                response.close()
                self._end(Ending.COMPLETE if response.complete else Ending.CLOSED, "the connection was closed")
                return
            if at < self._last_ns and waited != NO_STAMP:  # nothing comes before it was asked for: the clock jumped
                at, waited = perf_counter_ns(), NO_STAMP
            self._last_ns = at
            self._wire.reads.append((at, waited))
            response.feed(piece, at)
            if response.complete:
                self._end(Ending.COMPLETE, "")
        except Malformed as error:
            self._end(Ending.MALFORMED, str(error))
        except OSError as error:
            self._end(Ending.RESET, _said(error))
        except BaseException as error:  # noqa: BLE001 - the loop would only print it: raised again by perform
            self._crash = error
            self._done.set()

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
        self._timer = gevent.get_hub().loop.timer(max(seconds, 1e-3))
        self._timer.start(self._deadline, update=True)

    def _deadline(self) -> None:
        """Give up when it is time to; otherwise come back when it may be."""
        limits, now = self._limits, perf_counter_ns()
        patience, why = (limits.idle_s, "no byte") if self._wire.reads else (limits.first_byte_s, "no first byte")
        quiet_s, all_s = patience - (now - self._last_ns) / 1e9, limits.total_s - (now - self._began_ns) / 1e9
        if min(quiet_s, all_s) > 0:
            return self._arm(min(quiet_s, all_s))
        bound = f"{why} within {patience:g} s" if quiet_s <= all_s else f"not done within {limits.total_s:g} s"
        return self._end(Ending.TIMEOUT, bound)

    def _end(self, ending: Ending, why: str) -> None:
        if not self._done.is_set():
            self._wire.ending, self._wire.why = ending, why
            self._done.set()


def _said(error: OSError) -> str:
    """What the system said, in a few words. A certificate's refusal names its cause."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'protocol error'}"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "connection reset"
    return (error.strerror or type(error).__name__).lower()
