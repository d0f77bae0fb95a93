"""The ground-truth server: what each request gets, and the handles by which a test or another process steers it.

Over HTTP it answers completions by its program, `/v1/models`, `/health`, and for steering `GET /truth` (its own
figures), `GET /truth/requests` (JSON lines), `POST /truth/reset`, `/truth/program` and `/truth/freeze?seconds=S`.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from loadtest.truth.answer import Answer, Connection, offsets_of
from loadtest.truth.loop import Loop
from loadtest.truth.program import Program, read_program
from loadtest.truth.request import Request, kind_of
from loadtest.truth.script import Script, refusal, script_of
from loadtest.truth.served import Served, Tally

BACKLOG: Final = 1024
STEERING: Final = -1  # the number of a request that is about the server, not for it
STOP_WAIT_S: Final = 10.0
Programs = Program | Callable[[int], Program]


class SseServer:
    """Runs programs. `program` is one for all requests, or a function of the request's number.

    `idle_close_s` closes connections that have been idle so long, `reuse_limit` answers so many requests on a
    connection and meets the next one with a closed connection: both provoke what keep-alive clients must bear.
    `texts` keeps bodies and headers of requests in the record.
    """

    def __init__(
        self,
        program: Programs | None = None,
        *,
        port: int = 0,
        model: str = "fake",
        owner: str = "vllm",
        tls: ssl.SSLContext | None = None,
        idle_close_s: float | None = None,
        reuse_limit: int | None = None,
        seed: int = 0,
        texts: bool = True,
        log: Path | None = None,
        start: bool = True,
    ) -> None:
        self.program: Programs = program or Program()
        self.model, self.owner = model, owner
        self._reuse_limit, self._seed, self._texts, self._log = reuse_limit, seed, texts, log
        self._logged: list[Served] = []
        self._requests = 0
        self._loop = Loop(self._answer, self._ended, tls, idle_close_s)
        self._loop.on_idle = self._write_log
        listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
        self.port = int(listener.getsockname()[1])
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._loop.listen(listener)
        self._closing = False
        self._thread = threading.Thread(target=self.run, name="ground truth", daemon=True)
        if start:
            self._thread.start()

    @property
    def served(self) -> list[Served]:
        """The requests since the last reset, in order of arrival."""
        return self._loop.tally.served

    @property
    def connections(self) -> int:
        """How many connections were accepted since the last reset."""
        return self._loop.tally.connections

    @property
    def tally(self) -> Tally:
        """The server's figures since the last reset."""
        return self._loop.tally

    def run(self) -> None:
        """Serve in this thread until stopped."""
        try:
            self._loop.run()
        finally:
            self._write_log()

    def freeze(self, seconds: float) -> None:
        """Send nothing to anyone for so long; connections are still accepted, as by a stopped process's kernel."""
        self._loop.thaw_ns = time.perf_counter_ns() + int(seconds * 1e9)
        self._loop.wake()

    def close(self) -> None:
        """Refuse connections from now on, close the idle ones, and stop when the open streams have ended."""
        if not self._closing:
            self._closing = True
            self._loop.deafen()
            self._loop.draining = True
            self._loop.wake()

    def stop(self) -> None:
        """Close, cutting what is open."""
        self._loop.stopping = True
        self._loop.wake()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(STOP_WAIT_S)

    def _answer(self, connection: Connection, request: Request) -> Answer | None:
        if request.method == "POST" and request.path.partition("?")[0].endswith("/completions"):
            return self._completion(connection, request)
        path = urlsplit(request.path)
        try:
            status, said = self._steer(request.method, path.path, parse_qs(path.query), request.data)
        except ValueError as error:
            status, said = 400, json.dumps({"error": str(error)}).encode()
        kind = "application/json"
        head = f"HTTP/1.1 {status} {'OK' if status == 200 else 'No'}\r\ncontent-type: {kind}\r\n"
        head += f"content-length: {len(said)}\r\n" + ("connection: close\r\n" if request.closes else "") + "\r\n"
        script = Script([0], [head.encode() + said], [0], keep=not request.closes)
        arrived = connection.read_ns
        return Answer(connection, script, Served(STEERING, "", {}, {}, arrived, arrived), script.offsets, at_once=True)

    def _completion(self, connection: Connection, request: Request) -> Answer | None:
        tally = self._loop.tally
        if self._reuse_limit is not None and connection.requests >= self._reuse_limit:
            tally.cut_off += 1
            return None
        arrived = connection.kernel_ns if connection.kernel_ns is not None else connection.read_ns
        served = Served(
            number=self._requests,
            request_id=request.request_id,
            body=request.body if self._texts else {},
            headers=request.headers if self._texts else {},
            arrived_ns=arrived,
            read_ns=connection.read_ns,
            kernel_stamp=connection.kernel_ns is not None,
            reused=connection.requests > 0,
        )
        self._requests += 1
        program = self.program(served.number) if callable(self.program) else self.program
        kind = kind_of(request, self.model)
        if program.drop or program.status == 200:
            script = script_of(program, kind)
        else:
            body = request.body
            script = refusal(program, kind, f"no: {body.get('messages', body.get('prompt'))}")
        served.chunk_tokens = script.chunk_tokens
        served.sound = program.status == 200 and program.fault is None and not program.drop
        tally.served.append(served)
        tally.reused += served.reused
        tally.in_flight += 1
        tally.peak_in_flight = max(tally.peak_in_flight, tally.in_flight)
        offsets = offsets_of(program, script, arrived, f"{self._seed}:{served.number}")
        return Answer(connection, script, served, offsets)

    def _ended(self, served: Served) -> None:
        if served.number != STEERING:
            self._loop.tally.in_flight -= 1
            if self._log is not None:
                self._logged.append(served)

    def _steer(self, method: str, path: str, query: dict[str, list[str]], data: bytes) -> tuple[int, bytes]:
        """The answer to a request about the server. Raises ValueError for one that makes no sense."""
        said: dict[str, Any] = {}
        if method == "GET" and path.endswith("/v1/models"):
            said = {"object": "list", "data": [{"id": self.model, "object": "model", "owned_by": self.owner}]}
        elif (method, path) == ("GET", "/truth"):
            said = self._loop.tally.summary()
        elif (method, path) == ("GET", "/truth/requests"):
            return 200, "".join(f"{one.line()}\n" for one in self.served).encode()
        elif (method, path) == ("POST", "/truth/reset"):
            self._loop.tally = Tally(in_flight=self._loop.tally.in_flight)
        elif (method, path) == ("POST", "/truth/program"):
            self.program = read_program(data)
        elif (method, path) == ("POST", "/truth/freeze"):
            self.freeze(float(query.get("seconds", ["1"])[0]))
        elif (method, path) != ("GET", "/health"):
            return 404, b'{"error": "no such route"}'
        return 200, json.dumps(said).encode()

    def _write_log(self) -> None:
        if self._log is not None and self._logged:
            with self._log.open("a") as file:
                file.writelines(f"{served.line()}\n" for served in self._logged)
            self._logged.clear()


@contextmanager
def sse_server(program: Programs | None = None, **options: Any) -> Iterator[SseServer]:
    """A running server for the length of a test."""
    server = SseServer(program, **options)
    try:
        yield server
    finally:
        server.stop()
