"""Reads HTTP/1.1 requests out of bytes, one after the other. Pure; strict about nothing but where a request ends."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from loadtest.truth.script import Kind


@dataclass(frozen=True)
class Request:
    """One whole request."""

    method: str
    path: str
    headers: dict[str, str]
    data: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object of the body; empty where it holds none."""
        try:
            found = json.loads(self.data)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def closes(self) -> bool:
        """Whether the client asked for the connection's end after the answer."""
        return self.headers.get("connection", "").lower() == "close"


def take_request(buffer: bytearray) -> Request | None:
    """Take the first request off the buffer, or None while it is not whole."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = buffer[:end].decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = headers.get("content-length", "0")
    whole = end + 4 + (int(length) if length.isdigit() else 0)
    if len(buffer) < whole:
        return None
    data = bytes(buffer[end + 4 : whole])
    del buffer[:whole]
    method, _, rest = first.partition(" ")
    return Request(method, rest.partition(" ")[0], headers, data)


def kind_of(request: Request, body: dict[str, Any], model: str) -> Kind:
    """What the request asks of the bytes of its answer."""
    options = body.get("stream_options") or {}
    return Kind(
        chat=urlsplit(request.path).path.endswith("/chat/completions"),
        model=model,
        include_usage=bool(options.get("include_usage")),
        continuous_usage=bool(options.get("continuous_usage_stats")),
        close=request.closes,
    )
