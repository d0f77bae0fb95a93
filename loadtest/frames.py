"""Messages over a socket between two processes of a run: a length, then that many bytes. It reads none of them."""

from __future__ import annotations

import struct
from typing import Any, Final

from serving.errors import CannotObserve

HEAD: Final = struct.Struct(">I")
LONGEST: Final = 256 * 1024 * 1024


class Frames:
    """One end. Its waits are those of the socket it is given: gevent's."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    def send(self, message: bytes) -> None:
        """Send one message; of several greenlets, one at a time. Raises OSError when the other end is gone."""
        self._socket.sendall(HEAD.pack(len(message)) + message)

    def receive(self) -> bytes | None:
        """The next message, or None at the end. Raises OSError, or CannotObserve for what is no message."""
        head = self._exactly(HEAD.size)
        if head is None:
            return None
        (length,) = HEAD.unpack(head)
        if length > LONGEST:
            raise CannotObserve(f"a message of {length} bytes: is the other end a load process of this version?")
        return self._exactly(length)

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def _exactly(self, count: int) -> bytes | None:
        parts = []
        while count:
            part = self._socket.recv(min(count, 1 << 20))
            if not part:
                return None
            parts.append(part)
            count -= len(part)
        return b"".join(parts)
