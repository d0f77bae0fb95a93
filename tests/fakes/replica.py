"""A model server and its agent without a model: two HTTP servers whose readiness and faults a test sets."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from serving.rollout.envoy import Replica


class FakeReplica:
    """Answers /v1/ on its data port and /readyz on its admin port until the end of its `with` block."""

    CHUNKS: Final = 20
    PAUSE_S: Final = 0.15

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = True
        self.hangs = False  # the agent takes a connection and never answers
        self.status = 200  # of every GET on the data port
        self.fault = ""  # of every POST: status-500, dies-after-reading, dies-mid-stream
        self.asked = self.posted = self.begun = self.finished = 0
        self._open: set[socket.socket] = set()
        self._ended = threading.Event()
        self._data = self._serve(self._data_handler())
        self._admin = self._serve(self._admin_handler())

    def address(self) -> Replica:
        return Replica(self.name, "127.0.0.1", self._data.server_port, self._admin.server_port)

    @property
    def connections(self) -> int:
        """How many connections to the data port are open."""
        return len(self._open)

    def close_data_port(self) -> None:
        """From now on connections are refused, and the open ones are gone."""
        self._data.shutdown()
        self._data.server_close()
        for sock in list(self._open):
            sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        for server in (self._data, self._admin):
            server.shutdown()
            server.server_close()

    def _serve(self, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), name=f"replica {self.name}", daemon=True).start()
        return server

    def _data_handler(self) -> type[BaseHTTPRequestHandler]:
        replica = self

        class Handler(_Quiet):
            def setup(self) -> None:
                super().setup()
                replica._open.add(self.connection)

            def finish(self) -> None:
                replica._open.discard(self.connection)
                super().finish()

            def do_GET(self) -> None:
                replica.asked += 1
                self.answer(replica.status, {"data": [{"id": replica.name}]})

            def do_POST(self) -> None:
                replica.posted += 1
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if replica.fault == "status-500":
                    self.answer(500, {})
                elif replica.fault == "dies-after-reading":
                    self.close_connection = True
                elif body.get("stream"):
                    self.stream()
                else:
                    self.answer(200, {})

            def stream(self) -> None:
                replica.begun += 1
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                for line in [*map(str, range(replica.CHUNKS)), "[DONE]"]:
                    self.chunk(f"data: {line}\n\n".encode())
                    if replica.fault == "dies-mid-stream":
                        self.close_connection = True
                        return
                    time.sleep(replica.PAUSE_S)
                replica.finished += 1
                self.chunk(b"")

            def chunk(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

        return Handler

    def _admin_handler(self) -> type[BaseHTTPRequestHandler]:
        replica = self

        class Handler(_Quiet):
            def do_GET(self) -> None:
                if replica.hangs:
                    replica._ended.wait(20)
                self.answer(200 if replica.ready and self.path == "/readyz" else 503, {})

        return Handler


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet, or each answer would wait for the other side's delayed ACK

    def handle(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the other side left: some tests' subject
            super().handle()

    def answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        return
