"""Clients that measure badly, each in the way of a tool that is in use, on one plain selector loop.

They differ from one another in nothing but their fault; what they tell is held to the same check as our own harness.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from loadtest.truth.honesty import Told

TOKEN = b'"content":" t'
END = b"0\r\n\r\n"


@dataclass
class Stream:
    """One request and what has come of it."""

    number: int
    scheduled_s: float
    connection: socket.socket
    sent_s: float = 0.0
    held: bytes = b""
    seen: bytes = b""
    token_s: list[float] = field(default_factory=list)

    def told(self, ok: bool) -> Told:
        return Told(f"mine-{self.number}", self.scheduled_s, self.sent_s, self.token_s, len(self.token_s), ok)


class Client:
    """Reads whatever is there and stamps it at once; a good end is a finish_reason and then [DONE]."""

    def __init__(self, url: str) -> None:
        self._address = ("127.0.0.1", urlsplit(url).port)
        self._selector = selectors.DefaultSelector()
        self._told: list[Told] = []

    def burst(self, streams: int) -> list[Told]:
        """So many requests at once."""
        for number in range(streams):
            self._send(number, 0.0)
        self._finish()
        return self._told

    def scheduled(self, due_s: Sequence[float]) -> list[Told]:
        """Each request at its time."""
        origin = time.perf_counter()
        for number, due in enumerate(due_s):
            self._wait(due, origin, due_s[number] - due_s[number - 1] if number else 0.0)
            self._send(number, due)
        self._finish()
        return self._told

    def _wait(self, due: float, origin: float, gap: float) -> None:
        self._look(origin + due)

    def _look(self, until: float) -> None:
        """Receive until this moment, at least once."""
        while True:
            for key, _ in self._selector.select(max(0.0, until - time.perf_counter())):
                self._receive(key.data)
            if time.perf_counter() >= until:
                return

    def _finish(self) -> None:
        give_up = time.perf_counter() + 20
        while self._selector.get_map() and time.perf_counter() < give_up:
            for key, _ in self._selector.select(0.5):
                self._receive(key.data)
        assert not self._selector.get_map(), "streams are still open"
        self._selector.close()

    def _send(self, number: int, scheduled_s: float) -> None:
        body = json.dumps({"messages": [{"role": "user", "content": "hi"}], "stream": True}).encode()
        lines = ["POST /v1/chat/completions HTTP/1.1", f"X-Request-Id: mine-{number}", "Connection: close"]
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode()
        stream = Stream(number, scheduled_s, socket.create_connection(self._address, timeout=10))
        self._selector.register(stream.connection, selectors.EVENT_READ, stream)
        stream.sent_s = time.perf_counter()
        stream.connection.sendall(head + body)

    def _receive(self, stream: Stream) -> None:
        try:
            piece = stream.connection.recv(65536)
        except ConnectionResetError:
            piece = b""
        if piece:
            self._take(stream, piece)
            return
        self._selector.unregister(stream.connection)
        stream.connection.close()
        self._told.append(stream.told(self._good(stream.seen + stream.held)))

    def _take(self, stream: Stream, piece: bytes) -> None:
        self._stamp(stream, piece, time.perf_counter())

    def _stamp(self, stream: Stream, piece: bytes, at: float) -> None:
        before = stream.seen.count(TOKEN)
        stream.seen += piece
        stream.token_s += [at] * (stream.seen.count(TOKEN) - before)

    def _good(self, seen: bytes) -> bool:
        return seen.startswith(b"HTTP/1.1 200") and b'"finish_reason":"length"' in seen and b"[DONE]" in seen


class ParsesBeforeStamping(Client):
    """Makes events, objects and token counts of what it read, and only then looks at the clock."""

    def _take(self, stream: Stream, piece: bytes) -> None:
        busy = time.perf_counter() + 0.0003  # a tokenizer, or a model of the chunk, in the receive path
        while time.perf_counter() < busy:
            pass
        self._stamp(stream, piece, time.perf_counter())


class Reads1024Bytes(Client):
    """Asks for 1,024 bytes and waits until it has them, as buffered readers do."""

    def _take(self, stream: Stream, piece: bytes) -> None:
        stream.held += piece
        while len(stream.held) >= 1024 or (stream.held.endswith(END) and stream.held):
            read, stream.held = stream.held[:1024], stream.held[1024:]
            self._stamp(stream, read, time.perf_counter())


class SleepsRelatively(Client):
    """Waits for the gap after each send, so whatever else it did, half a millisecond or more, is lost for good."""

    def _wait(self, due: float, origin: float, gap: float) -> None:
        self._look(time.perf_counter() + 0.0005)
        time.sleep(gap)


class Counts200AsSuccess(Client):
    """The status line says it all."""

    def _good(self, seen: bytes) -> bool:
        return seen.startswith(b"HTTP/1.1 200")
