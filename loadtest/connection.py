"""One TCP connection, plain or TLS: opens it, writes to it, and reads each piece with the kernel's own receive stamp.

The kernel notes when bytes arrived (SO_TIMESTAMPNS), so a client that was busy does not take its own delay for the
server's. TLS is decrypted from memory above the same raw reads, so its bytes carry those stamps too. Waits are
gevent's; nothing here knows HTTP.
"""

from __future__ import annotations

import os
import socket as sockets
import ssl
import struct
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter_ns, time_ns
from typing import Any, Final

from gevent import socket as waits
from gevent.monkey import get_original

READ_SIZE: Final = 8_192  # as much as comes at once; a larger buffer costs time for nothing
SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h; the socket module does not name it before Python 3.14
ANCILLARY_SIZE: Final = sockets.CMSG_SPACE(16)
TIMESPEC: Final = struct.Struct("qq")
NO_STAMP: Final = -1

Address = tuple[sockets.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]
_RawSocket: Any = get_original("socket", "socket")


@dataclass(frozen=True)
class Peer:
    """Where to connect: resolved once, so that no request waits for a name server. `tls` holds the trusted roots."""

    host: str
    port: int
    addresses: tuple[Address, ...]
    tls: ssl.SSLContext | None = None


class Connection:
    """An open connection. `used` says that an exchange has ended on it; `opened_ns` when it stood."""

    def __init__(self, raw: Any, tls: Tls | None) -> None:
        self._raw, self._tls = raw, tls
        self._recvmsg = raw.recvmsg
        self.used = False
        self.opened_ns = 0

    def fileno(self) -> int:
        """The descriptor to watch."""
        return int(self._raw.fileno())

    def read(self) -> tuple[bytes, int, int] | None:
        """What has arrived: bytes (empty at the end), their arrival in perf_counter ns, and how long they had waited.

        The wait is NO_STAMP where the kernel gave no stamp; the arrival is then the moment of reading. None when
        nothing is there, or nothing that can be decrypted yet. Raises OSError.
        """
        try:
            piece, ancillary, _, _ = self._recvmsg(READ_SIZE, ANCILLARY_SIZE)
        except BlockingIOError:
            return None
        wall_ns, now = time_ns(), perf_counter_ns()
        waited = NO_STAMP
        if ancillary:
            seconds, nanoseconds = TIMESPEC.unpack(ancillary[0][2])
            waited = wall_ns - seconds * 1_000_000_000 - nanoseconds
            if waited < 0:  # the wall clock was set back in between
                waited = NO_STAMP
        at = now if waited == NO_STAMP else now - waited
        if self._tls is None:
            return piece, at, waited
        plain = self._tls.decrypted(piece)
        self._flush()
        return None if plain is None else (plain, at, waited)

    def write(self, data: bytes, timeout_s: float) -> None:
        """Write all of it. Raises OSError, TimeoutError among them."""
        if self._tls is not None:
            self._tls.link.write(data)
            data = self._tls.outgoing.read()
        self._send(data, timeout_s)

    def dead(self) -> bool:
        """Whether the peer has closed an idle connection, or talked out of turn on it.

        A TLS server does talk when the handshake is done, of sessions that could be resumed: that is taken in here.
        """
        try:
            while self._raw.recv(1, sockets.MSG_PEEK):
                if self._tls is None or self.read() is not None:
                    return True
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        """Give the descriptor back."""
        self._raw.close()

    def shake_hands(self, timeout_s: float) -> None:
        """Complete the TLS handshake, if there is TLS. Raises OSError, ssl.SSLError among them."""
        if self._tls is None:
            return None
        end_ns = perf_counter_ns() + int(timeout_s * 1e9)
        while True:
            try:
                self._tls.link.do_handshake()
                return self._flush(timeout_s)
            except ssl.SSLWantReadError:
                self._flush(timeout_s)
            left = (end_ns - perf_counter_ns()) / 1e9
            waits.wait_read(self.fileno(), max(left, 1e-3), TimeoutError("timed out"))
            piece = self._raw.recv(READ_SIZE)
            if not piece:
                raise ConnectionResetError(104, "connection closed in the TLS handshake")
            self._tls.incoming.write(piece)

    def _flush(self, timeout_s: float = 5.0) -> None:
        if self._tls is not None and self._tls.outgoing.pending:
            self._send(self._tls.outgoing.read(), timeout_s)

    def _send(self, data: bytes, timeout_s: float) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._raw.send(rest) :]
            except BlockingIOError:
                waits.wait_write(self.fileno(), timeout_s, TimeoutError("timed out"))


class Tls:
    """The TLS state of a connection, fed from memory."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.link = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)

    def decrypted(self, piece: bytes) -> bytes | None:
        """The plain bytes that this piece completed; empty at the end of the stream, None when there are none yet."""
        if not piece:
            return b""
        self.incoming.write(piece)
        plain = b""
        while True:
            try:
                more = self.link.read(READ_SIZE)
            except ssl.SSLWantReadError:
                return plain or None
            except ssl.SSLZeroReturnError:
                more = b""
            if not more:
                return plain
            plain += more


def _stamped(raw: Any) -> None:
    """Ask the kernel for receive stamps; one that has none leaves us to our own."""
    with suppress(OSError):
        raw.setsockopt(sockets.SOL_SOCKET, SO_TIMESTAMPNS, 1)


def open_connection(peer: Peer, timeout_s: float) -> Connection:
    """Connect to the first address that answers. Raises TimeoutError or another OSError."""
    failure: OSError = OSError("the host has no address")
    for family, address in peer.addresses:
        try:
            raw = _RawSocket(family, sockets.SOCK_STREAM | sockets.SOCK_NONBLOCK)
        except OSError as error:  # a kernel without IPv6, as in many containers
            failure = error
            continue
        try:
            raw.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
            _stamped(raw)
            end_ns = perf_counter_ns() + int(timeout_s * 1e9)
            try:
                raw.connect(address)
            except BlockingIOError:
                waits.wait_write(raw.fileno(), timeout_s, TimeoutError("timed out"))
                code = raw.getsockopt(sockets.SOL_SOCKET, sockets.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code)) from None
            connection = Connection(raw, None if peer.tls is None else Tls(peer.tls, peer.host))
            connection.shake_hands(max((end_ns - perf_counter_ns()) / 1e9, 1e-3))
            connection.opened_ns = perf_counter_ns()
        except OSError as error:
            raw.close()
            failure = error
        except BaseException:
            raw.close()
            raise
        else:
            return connection
    raise failure
