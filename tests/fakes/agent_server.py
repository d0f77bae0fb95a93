"""A scriptable endpoint on loopback: the agent's admin routes, Envoy's admin, and the OpenAI routes with streaming.

One server plays all three, for `verify` is told each address on its own. Tests change `script` at any time, and read
in `requests` what was asked.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

from serving.facts.model import Modelz
from tests.fakes.modelz import READY

Ending = Literal["good", "no_done", "no_finish", "abort", "error", "cut"]
NO_TEMPLATE = (
    "As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template"
)


@dataclass
class Script:
    """What the server answers. `modelz` may be a document, raw bytes, or a function called at every request."""

    modelz: Modelz | bytes | Callable[[], Modelz] = READY
    modelz_status: int = 200
    readyz_status: int | None = None
    models: tuple[str, ...] = ("smollm2",)
    models_status: int = 200
    models_body: bytes | None = None
    tokens: tuple[str, ...] = ("The", " capital", " of", " France", " is", " Paris", ".")
    ending: Ending = "good"
    completion_status: int = 200
    first_token_s: float = 0.0
    token_s: float = 0.0
    chat_template: bool = True
    api_key: str | None = None
    clusters: dict[str, Any] | None = None
    location: str | None = None
    hang: frozenset[str] = frozenset()

    def document(self) -> Modelz | bytes:
        return self.modelz() if callable(self.modelz) else self.modelz


@dataclass
class Asked:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any = None


@dataclass
class AgentServer:
    """A running server."""

    url: str
    script: Script
    requests: list[Asked] = field(default_factory=list)

    def asked(self, path: str) -> list[Asked]:
        return [request for request in self.requests if request.path == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    agent: AgentServer
    closing: threading.Event

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        script, path = self._take()
        if path == "/modelz":
            document = script.document()
            raw = document if isinstance(document, bytes) else json.dumps(asdict(document)).encode()
            self._send(script.modelz_status, raw)
        elif path == "/readyz":
            document = script.document()
            ready = isinstance(document, Modelz) and document.ready
            status = script.readyz_status or (200 if ready else 503)
            self._send(status, {"state": document.state if isinstance(document, Modelz) else "?", "reason": "r"})
        elif path == "/clusters?format=json" and script.clusters is not None:
            self._send(200, script.clusters)
        elif path == "/v1/models" and self._let_in(script):
            listed: Any = script.models_body or {
                "object": "list",
                "data": [{"id": name, "object": "model"} for name in script.models],
            }
            self._send(script.models_status, listed if script.models_status == 200 else b"no healthy upstream")
        elif path != "/v1/models":
            self._send(404, {"error": {"message": "Not Found"}})

    def do_POST(self) -> None:
        script, path = self._take()
        asked = self.agent.requests[-1].body
        if not self._let_in(script):
            return
        if path not in ("/v1/chat/completions", "/v1/completions"):
            self._send(404, {"error": {"message": "Not Found"}})
            return
        if script.completion_status != 200:
            self._send(script.completion_status, b"no healthy upstream")
        elif asked["model"] not in script.models:
            self._send(404, {"error": {"message": f"The model `{asked['model']}` does not exist.", "code": 404}})
        elif path == "/v1/chat/completions" and not script.chat_template:
            self._send(400, {"error": {"message": NO_TEMPLATE, "code": 400}})
        else:
            self._stream(script, chat=path == "/v1/chat/completions", most=asked["max_tokens"])

    def _take(self) -> tuple[Script, str]:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.agent.requests.append(Asked(self.command, self.path, headers, json.loads(body) if body else None))
        if self.path in self.agent.script.hang:
            self.closing.wait(60)
        return self.agent.script, self.path

    def _let_in(self, script: Script) -> bool:
        if script.api_key is None or self.headers.get("authorization") == f"Bearer {script.api_key}":
            return True
        self._send(401, {"error": {"message": "Unauthorized"}})
        return False

    def _send(self, status: int, body: Any) -> None:
        if self.agent.script.location is not None:
            status, body = 307, b""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        if self.agent.script.location is not None:
            self.send_header("location", self.agent.script.location)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _stream(self, script: Script, *, chat: bool, most: int) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        if chat:
            self._event({"delta": {"role": "assistant", "content": ""}})
        self.closing.wait(script.first_token_s)
        tokens = script.tokens[:most]
        for number, token in enumerate(tokens):
            if number:
                self.closing.wait(script.token_s)
            self._event({"delta": {"content": token}} if chat else {"text": token})
        if script.ending == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if script.ending == "error":
            self._chunk(b'data: {"error": {"message": "EngineCore died", "code": 500}}\n\n')
        elif script.ending != "no_finish":
            cut = len(tokens) < len(script.tokens)
            reason = "abort" if script.ending == "abort" else "length" if cut else "stop"
            self._event(({"delta": NO_DELTA} if chat else {"text": ""}) | {"finish_reason": reason})
            self._chunk(json_event({"choices": [], "usage": {"completion_tokens": len(tokens), "prompt_tokens": 9}}))
        if script.ending != "no_done":
            self._chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, choice: dict[str, Any]) -> None:
        self._chunk(json_event({"object": "chunk", "choices": [{"index": 0, "finish_reason": None} | choice]}))

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


NO_DELTA: dict[str, str] = {}


def json_event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves early is part of the tests."""


@contextmanager
def agent_server(script: Script | None = None, *, tls: tuple[Path, Path] | None = None) -> Iterator[AgentServer]:
    """Serve on a free port of loopback until the block ends; `tls` is a certificate and its key."""
    closing = threading.Event()
    handler: Any = type("Handler", (_Handler,), {"closing": closing})
    server = _Quiet(("127.0.0.1", 0), handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    handler.agent = agent = AgentServer(url, script or Script())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield agent
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
