"""The ground truth: a streaming chat-completion server that does exactly as programmed, and logs its own send times.

One thread per connection on plain sockets, so that a program can cut its bytes anywhere, stall, reset or lie. Times in
the log are perf_counter nanoseconds, comparable with those of any process on the same machine.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

Fault = Literal["error_event", "truncate", "abort", "no_done", "no_finish", "reset", "stall", "not_json", "no_content"]


@dataclass(frozen=True)
class Program:
    """What the server does with one request. `fault` strikes after `fault_after` chunks."""

    status: int = 200
    content_type: str = "text/event-stream; charset=utf-8"
    headers_ms: float = 0.0
    ttft_ms: float = 5.0
    itl_ms: float = 2.0
    tokens: int = 6
    tokens_per_chunk: int = 1
    role_chunk: bool = True
    role_early: bool = False
    usage: bool = True
    newline: str = "\n"
    comments: bool = False
    framing: Literal["chunked", "length", "close"] = "chunked"
    cut: int | None = None
    interim: bool = False
    fault: Fault | None = None
    fault_after: int = 3
    keep_open: bool = False
    drop: bool = False


@dataclass
class Served:
    """The server's own log of one request. `sent_ns` are the moments before each chunk with tokens was sent."""

    number: int
    request_id: str
    body: dict[str, Any]
    headers: dict[str, str]
    arrived_ns: int
    sent_ns: list[int] = field(default_factory=list)


class Hangup(Exception):
    """The program, or the client, ends the connection here."""


class SseServer:
    """Runs programs. `program` is one for all requests, or a function of the request's number."""

    def __init__(
        self,
        program: Program | Callable[[int], Program] | None = None,
        *,
        model: str = "fake",
        owner: str = "vllm",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.program = program or Program()
        self.model, self.owner, self._tls = model, owner, tls
        self.served: list[Served] = []
        self.connections = 0
        self._lock = threading.Lock()
        self._thaw_ns = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self, seconds: float) -> None:
        """Send nothing to anyone for so long; connections are still accepted, as by a stopped process's kernel."""
        self._thaw_ns = time.perf_counter_ns() + int(seconds * 1e9)

    def close(self) -> None:
        """Stop listening: from now on connections are refused."""
        self._closing = True
        # A thread that waits in accept() keeps the port open: wake it up.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with plain:
            try:
                plain.settimeout(30)
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection = self._tls.wrap_socket(plain, server_side=True) if self._tls else plain
                with connection:
                    self._answer(connection)
            except (Hangup, OSError):
                return

    def _answer(self, connection: socket.socket) -> None:
        line, headers, body = _read_request(connection)
        arrived = time.perf_counter_ns()
        if line.startswith("GET") and line.split()[1].endswith("/v1/models"):
            listed = json.dumps({"object": "list", "data": [{"id": self.model, "owned_by": self.owner}]}).encode()
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(listed)}\r\n\r\n"
            connection.sendall(head.encode() + listed)
            return
        with self._lock:
            served = Served(len(self.served), headers.get("x-request-id", ""), json.loads(body), headers, arrived)
            self.served.append(served)
        program = self.program(served.number) if callable(self.program) else self.program
        _Answer(connection, program, served, self._wait_until).run()

    def _wait_until(self, due_ns: int) -> None:
        """Sleep until this moment, or until the thaw when frozen."""
        while (left := max(due_ns, self._thaw_ns) - time.perf_counter_ns()) > 0:
            time.sleep(left / 1e9)


class _Answer:
    def __init__(
        self, connection: socket.socket, program: Program, served: Served, wait_until: Callable[[int], None]
    ) -> None:
        self._connection, self._program, self._served, self._wait_until = connection, program, served, wait_until
        self._held: list[bytes] = []

    def run(self) -> None:
        program, start = self._program, self._served.arrived_ns
        if program.drop:
            raise Hangup
        self._wait_until(start + int(program.headers_ms * 1e6))
        if program.interim:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
        if program.status != 200:
            said = json.dumps({"error": {"message": f"no: {self._served.body['messages']}", "type": "Nope"}}).encode()
            head = f"HTTP/1.1 {program.status} No\r\ncontent-type: application/json\r\ncontent-length: {len(said)}\r\n"
            self._write(head.encode() + b"\r\n" + said)
            return
        if program.framing != "length":
            self._write(self._head())
        for due_ns, event, has_tokens in self._events(start):
            self._wait_until(due_ns)
            if has_tokens:
                self._served.sent_ns.append(time.perf_counter_ns())
            self._body(event)
        if program.framing == "chunked":
            self._write(b"0\r\n\r\n")
        elif program.framing == "length":
            whole = b"".join(self._held)
            self._write(self._head(len(whole)) + whole)
        if program.keep_open:
            self._connection.recv(1)

    def _head(self, length: int | None = None) -> bytes:
        lines = ["HTTP/1.1 200 OK", f"content-type: {self._program.content_type}"]
        if self._program.framing == "chunked":
            lines.append("transfer-encoding: chunked")
        if length is not None:
            lines.append(f"content-length: {length}")
        return "\r\n".join([*lines, "", ""]).encode()

    def _events(self, start: int) -> Iterator[tuple[int, bytes, bool]]:
        """Each event with the moment at which it is due and whether it carries tokens."""
        program, due = self._program, start + int(self._program.ttft_ms * 1e6)
        if program.comments:
            yield start, b": ping" + program.newline.encode() * 2, False
        if program.role_chunk:
            yield start if program.role_early else due, self._chunk({"role": "assistant", "content": ""}, 0), False
        sent = 0
        chunks = 0
        while sent < program.tokens and program.fault != "no_content":
            if program.fault is not None and chunks == program.fault_after and self._strike(program.fault):
                yield due, self._fault_event(program.fault), False
                return
            count = min(program.tokens_per_chunk, program.tokens - sent)
            text = "".join(f" tök{sent + number}" for number in range(count))
            sent, chunks = sent + count, chunks + 1
            yield due, self._chunk({"content": text}, sent), True
            due += int(program.itl_ms * 1e6)
            if program.comments:
                yield due, b":" + program.newline.encode() * 2, False
        if program.fault != "no_finish":
            yield due, self._chunk({}, sent, "abort" if program.fault == "abort" else "length"), False
        if program.usage and self._served.body.get("stream_options", {}).get("include_usage"):
            yield due, self._event({"choices": [], "usage": self._usage(sent)}), False
        if program.fault != "no_done":
            yield due, self._frame("[DONE]"), False

    def _strike(self, fault: Fault) -> bool:
        """Carry out a fault that ends the stream here; True when one more event is to be sent first."""
        if fault in ("error_event", "not_json"):
            return True
        if fault == "truncate":
            raise Hangup
        if fault == "reset":
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise Hangup
        if fault == "stall":
            self._connection.recv(1)  # until the client gives up
            raise Hangup
        return False

    def _fault_event(self, fault: Fault) -> bytes:
        if fault == "not_json":
            return self._frame("{nope")
        return self._frame(json.dumps({"error": {"message": "the engine died", "type": "EngineDead", "code": 500}}))

    def _chunk(self, delta: dict[str, str], tokens: int, finish_reason: str | None = None) -> bytes:
        body: dict[str, Any] = {"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
        if self._program.usage and self._served.body.get("stream_options", {}).get("continuous_usage_stats"):
            body["usage"] = self._usage(tokens)
        return self._event(body)

    def _usage(self, tokens: int) -> dict[str, int]:
        return {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": tokens + 7}

    def _event(self, body: dict[str, Any]) -> bytes:
        return self._frame(json.dumps(body, ensure_ascii=False))

    def _frame(self, data: str) -> bytes:
        return f"data: {data}{self._program.newline * 2}".encode()

    def _body(self, data: bytes) -> None:
        if self._program.framing == "length":
            self._held.append(data)
        elif self._program.framing == "chunked":
            self._write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        else:
            self._write(data)

    def _write(self, data: bytes) -> None:
        size = self._program.cut or len(data)
        for start in range(0, len(data), size):
            self._connection.sendall(data[start : start + size])
            if self._program.cut:
                time.sleep(0)


def _read_request(connection: socket.socket) -> tuple[str, dict[str, str], bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise Hangup
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return line, headers, body


@contextmanager
def sse_server(program: Program | Callable[[int], Program] | None = None, **options: Any) -> Iterator[SseServer]:
    """A running server for the length of a test."""
    server = SseServer(program, **options)
    try:
        yield server
    finally:
        if not server._closing:
            server.close()
