"""Reads HTTP/1.1 requests out of bytes, one after the other. Pure; strict about nothing but where a request ends.

Only what changes the answer is looked at before it: a burst of requests must not make the answers of others late.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from loadtest.truth.script import Kind

LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
REQUEST_ID: Final = re.compile(rb"\r\nx-request-id:[ \t]*([^\r]*)", re.IGNORECASE)
CLOSE: Final = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)


class _Options(msgspec.Struct):
    include_usage: bool = False
    continuous_usage_stats: bool = False


class _Asked(msgspec.Struct):
    stream_options: _Options | None = None


_DECODER: Final = msgspec.json.Decoder(_Asked)
_NOTHING: Final = _Options()


@dataclass(frozen=True)
class Request:
    """One whole request. `head` is everything before the empty line, `path` may hold a query."""

    method: str
    path: str
    head: bytes
    data: bytes

    @property
    def headers(self) -> dict[str, str]:
        """The header fields by their name in lower case."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object of the body; empty where it holds none."""
        try:
            found = json.loads(self.data)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def request_id(self) -> str:
        """What the client calls this request."""
        found = REQUEST_ID.search(self.head)
        return found[1].strip().decode("latin-1") if found else ""

    @property
    def closes(self) -> bool:
        """Whether the client asked for the connection's end after the answer."""
        return CLOSE.search(self.head) is not None


def take_request(buffer: bytearray) -> Request | None:
    """Take the first request off the buffer, or None while it is not whole."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = LENGTH.search(buffer, 0, end)
    whole = end + 4 + (int(length[1]) if length else 0)
    if len(buffer) < whole:
        return None
    head, data = bytes(buffer[:end]), bytes(buffer[end + 4 : whole])
    del buffer[:whole]
    method, path, *_ = (*head[: head.find(b"\r\n")].decode("latin-1").split(" "), "", "")
    return Request(method, path, head, data)


def kind_of(request: Request, model: str) -> Kind:
    """What the request asks of the bytes of its answer."""
    try:
        options = _DECODER.decode(request.data).stream_options or _NOTHING
    except msgspec.MsgspecError:
        options = _NOTHING
    return Kind(
        chat=request.path.partition("?")[0].endswith("/chat/completions"),
        model=model,
        include_usage=options.include_usage,
        continuous_usage=options.continuous_usage_stats,
        close=request.closes,
    )
