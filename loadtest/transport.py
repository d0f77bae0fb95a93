"""One HTTP/1.1 request on one connection: sends it, stamps every piece of the answer on arrival, keeps it unread.

The receive path does nothing but stamp and store; reading comes after the stream. It uses the standard library's
sockets, so that under gevent's patches a request costs a greenlet. It never raises for what a server or a network did:
the Wire says how it ended. It must not know what the bytes mean, except where the message ends.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field
from enum import Enum, auto
from time import perf_counter_ns
from typing import Final

from loadtest.http1 import Malformed, ResponseReader

READ_SIZE: Final = 65_536
LAST_CHUNK: Final = b"0\r\n\r\n"
Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]


class Cut(Exception):
    """Raised into a request from outside to end it now: what has arrived is kept."""


class Ending(Enum):
    """How an exchange ended on the wire."""

    OPEN = auto()
    COMPLETE = auto()
    CLOSED = auto()
    UNREACHABLE = auto()
    RESET = auto()
    TIMEOUT = auto()
    CUT = auto()


@dataclass
class Wire:
    """What happened on the wire. Times are perf_counter nanoseconds; `pieces` are what each read returned, and when."""

    begun_ns: int | None = None
    connected_ns: int | None = None
    sent_ns: int | None = None
    ended_ns: int | None = None
    pieces: list[tuple[bytes, int]] = field(default_factory=list)
    ending: Ending = Ending.OPEN
    why: str = ""


@dataclass(frozen=True)
class Limits:
    """Most seconds for opening the connection, to the first byte of the answer, between reads, and for all."""

    connect_s: float
    first_byte_s: float
    idle_s: float
    total_s: float


@dataclass(frozen=True)
class Peer:
    """Where to connect: resolved once, so that no request waits for a name server. `tls` holds the trusted roots."""

    host: str
    port: int
    addresses: tuple[Address, ...]
    tls: ssl.SSLContext | None = None


def exchange(peer: Peer, request: bytes, limits: Limits, wire: Wire) -> None:
    """Send a request and record its answer in `wire`, which is valid at any moment, also when this was cut short."""
    wire.begun_ns = perf_counter_ns()
    connection: socket.socket | None = None
    try:
        connection = _connect(peer, limits, wire)
        if connection is not None:
            wire.sent_ns = perf_counter_ns()
            connection.sendall(request)
            _receive(connection, limits, wire, wire.sent_ns)
    except Cut as cut:
        wire.ending, wire.why = Ending.CUT, str(cut)
    except TimeoutError:  # only from sending: the other waits name themselves
        wire.ending, wire.why = Ending.TIMEOUT, f"could not send within {limits.idle_s:g} s"
    except OSError as error:
        wire.ending, wire.why = Ending.RESET, _said(error)
    finally:
        wire.ended_ns = perf_counter_ns()
        if connection is not None:
            connection.close()


def _connect(peer: Peer, limits: Limits, wire: Wire) -> socket.socket | None:
    for family, address in peer.addresses:
        plain = socket.socket(family, socket.SOCK_STREAM)
        try:
            plain.settimeout(limits.connect_s)
            plain.connect(address)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = plain if peer.tls is None else peer.tls.wrap_socket(plain, server_hostname=peer.host)
            connection.settimeout(limits.idle_s)
        except TimeoutError:
            plain.close()
            wire.ending, wire.why = Ending.TIMEOUT, f"no connection within {limits.connect_s:g} s"
        except OSError as error:
            plain.close()
            wire.ending, wire.why = Ending.UNREACHABLE, _said(error)
        except Cut:
            plain.close()
            raise
        else:
            wire.ending, wire.why = Ending.OPEN, ""
            wire.connected_ns = perf_counter_ns()
            return connection
    return None


def _receive(connection: socket.socket, limits: Limits, wire: Wire, sent_ns: int) -> None:
    """Stamp and store until the message ends. Where that is, is known from the head, or looks like the last chunk."""
    head: ResponseReader | None = ResponseReader()
    length: int | None = None
    received = 0
    tail = b""
    now = sent_ns
    while True:
        patience, why = (limits.idle_s, "no byte") if wire.pieces else (limits.first_byte_s, "no first byte")
        left = limits.total_s - (now - sent_ns) / 1e9
        connection.settimeout(max(min(patience, left), 1e-3))
        try:
            piece = connection.recv(READ_SIZE)
        except TimeoutError:
            bound = f"{why} within {patience:g} s" if patience <= left else f"not done within {limits.total_s:g} s"
            wire.ending, wire.why = Ending.TIMEOUT, bound
            return
        now = perf_counter_ns()
        if not piece:
            wire.ending, wire.why = Ending.CLOSED, "the connection was closed"
            return
        wire.pieces.append((piece, now))
        received += len(piece)
        tail = (tail + piece)[-len(LAST_CHUNK) :]
        if head is not None:
            head, length = _head(head, piece)
        if received == length or (tail == LAST_CHUNK and is_complete(wire.pieces)):
            wire.ending = Ending.COMPLETE
            return
        if now - sent_ns > limits.total_s * 1e9:
            wire.ending, wire.why = Ending.TIMEOUT, f"not done within {limits.total_s:g} s"
            return


def _head(reader: ResponseReader, piece: bytes) -> tuple[ResponseReader | None, int | None]:
    """Read on until the head is whole, then give the reader up; and the response's length where the head told it."""
    try:
        reader.feed(piece, 0)
    except Malformed:
        return None, None
    return (reader, None) if reader.status is None else (None, reader.wire_length)


def is_complete(pieces: list[tuple[bytes, int]]) -> bool:
    """Whether these pieces are a whole response."""
    reader = ResponseReader()
    try:
        for piece, at in pieces:
            reader.feed(piece, at)
    except Malformed:
        return False
    return reader.complete


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
