"""An API server for reading, over plain HTTP on loopback: discovery, lists, and refusals, as kubectl sees them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Resource = tuple[str, str, bool]  # plural, kind, namespaced


class ApiServer:
    """What it serves: `resources` by group/version (`v1` is the core group), `items` by plural, `refused` by path."""

    def __init__(self) -> None:
        self.resources: dict[str, list[Resource]] = {}
        self.items: dict[str, list[dict[str, Any]]] = {}
        self.forbidden: set[str] = set()  # plurals
        self.forbidden_everywhere: set[str] = set()  # plurals that one namespace alone may show
        self.unauthorized = False
        self.requests: list[tuple[str, str]] = []
        self.port = 0

    def serve(
        self, group_version: str, plural: str, kind: str, *items: dict[str, Any], namespaced: bool = False
    ) -> None:
        self.resources.setdefault(group_version, []).append((plural, kind, namespaced))
        self.items[plural] = [*items]

    def kubeconfig(self, path: Path) -> Path:
        cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
        context = {"name": "fake", "context": {"cluster": "c", "user": "u"}}
        users = [{"name": "u", "user": {}}]
        config = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context], "users": users}
        path.write_text(json.dumps({**config, "current-context": "fake"}))
        return path

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        parts = path.partition("?")[0].strip("/").split("/")
        if self.unauthorized:
            return 401, status(401, "Unauthorized", "Unauthorized")
        if parts == ["api"]:
            return 200, {"kind": "APIVersions", "versions": ["v1"]}
        if parts == ["apis"]:
            return 200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": [*self.groups()]}
        group_version, rest = (parts[1], parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
        if group_version not in self.resources:
            return 404, status(404, "NotFound", "the server could not find the requested resource")
        known = self.resources[group_version]
        if not rest:
            listed = [
                {"name": plural, "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": ["get", "list"]}
                for plural, kind, namespaced in known
            ]
            return 200, {"kind": "APIResourceList", "groupVersion": group_version, "resources": listed}
        plural = rest[-1]
        everywhere = rest[0] != "namespaces"
        if plural in self.forbidden or (everywhere and plural in self.forbidden_everywhere):
            said = f'{plural} is forbidden: User "ci" cannot list resource "{plural}" at the cluster scope'
            return 403, status(403, "Forbidden", said)
        kind = next(kind for name, kind, _ in known if name == plural)
        return 200, {"kind": f"{kind}List", "apiVersion": group_version, "metadata": {}, "items": self.items[plural]}

    def groups(self) -> Iterator[dict[str, Any]]:
        for group_version in self.resources:
            group, slash, version = group_version.partition("/")
            if slash:
                found = {"groupVersion": group_version, "version": version}
                yield {"name": group, "versions": [found], "preferredVersion": found}


def status(code: int, reason: str, message: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "code": code,
        "message": message,
    }


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """One server, until the block ends."""
    state = ApiServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            state.requests.append((self.command, self.path))
            code, body = (
                state.answer(self.path) if self.command == "GET" else (405, status(405, "MethodNotAllowed", ""))
            )
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = reply

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
