"""A client of a few lines on a blocking socket, sharing nothing with the harness: and what the server is held to."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.sse_server import SseServer

HOST = "127.0.0.1"


@dataclass
class Got:
    """One answer. `at_ns` is when each read returned, `reads` what it returned."""

    head: str
    body: bytes
    reads: list[bytes] = field(default_factory=list)
    at_ns: list[int] = field(default_factory=list)

    @property
    def events(self) -> list[str]:
        text = self.body.decode().replace("\r\n", "\n").replace("\r", "\n")
        return [line[6:] for line in text.split("\n") if line.startswith("data: ")]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [json.loads(event) for event in self.events if event.startswith("{")]

    @property
    def texts(self) -> list[str]:
        """The content of each chunk that has any."""
        deltas = [chunk["choices"][0] for chunk in self.chunks if chunk.get("choices")]
        found = [choice.get("text") or choice.get("delta", {}).get("content") for choice in deltas]
        return [text for text in found if text]


def asking(path: str = "/v1/chat/completions", close: bool = True, **body: Any) -> bytes:
    """The bytes of a request that wants everything counted."""
    options = {"include_usage": True, "continuous_usage_stats": True}
    said = {"messages": [{"role": "user", "content": "hi"}], "stream": True, "stream_options": options} | body
    data = json.dumps(said).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(data)}", "X-Request-Id: mine"]
    lines += ["Connection: close"] if close else []
    return "\r\n".join([*lines, "", ""]).encode() + data


def dial(server: SseServer) -> socket.socket:
    return socket.create_connection((HOST, server.port), timeout=10)


def read_to_the_end(connection: socket.socket) -> Got:
    """Read until the server closes; a connection that was reset ends there."""
    reads, at_ns = [], []
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            piece = b""
        at_ns.append(time.perf_counter_ns())
        if not piece:
            break
        reads.append(piece)
    raw = b"".join(reads)
    while raw.startswith(b"HTTP/1.1 1"):
        raw = raw.partition(b"\r\n\r\n")[2]
    head, _, body = raw.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head:
        body = unchunked(body)
    return Got(head.decode(), body, reads, at_ns)


def read_one(connection: socket.socket) -> bytes:
    """Read one chunked answer off a connection that stays."""
    raw = b""
    while not raw.endswith(b"0\r\n\r\n"):
        piece = connection.recv(65536)
        assert piece, "closed in the middle of an answer"
        raw += piece
    return raw


def unchunked(body: bytes) -> bytes:
    """What the chunks held, as far as they came."""
    data, at = [], 0
    while (end := body.find(b"\r\n", at)) > 0 and (size := int(body[at:end], 16)) > 0:
        data.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return b"".join(data)


def get(server: SseServer, **body: Any) -> Got:
    with dial(server) as connection:
        connection.sendall(asking(**body))
        return read_to_the_end(connection)
