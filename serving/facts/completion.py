"""What a streamed completion said: bytes -> events -> chunks -> one answer. Pure; the only SSE parser of the house.

It decides what counts as a token-bearing chunk and as a good ending, so that the warm-up, `verify` and the harness
cannot disagree. HTTP 200 is not success: a stream is good when it ends with a finish_reason of stop, length or
tool_calls, then [DONE], after at least one chunk of content. It never times anything: callers stamp bytes themselves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Struct

GOOD_FINISH_REASONS: Final = frozenset({"stop", "length", "tool_calls"})
DONE: Final = b"[DONE]"
BOM: Final = b"\xef\xbb\xbf"


class EventReader:
    """Cuts a byte stream into the data of server-sent events, wherever the network cut it.

    Follows the event stream format of the HTML standard: lines end in LF, CR or CRLF, a colon starts a comment, the
    data lines of one event are joined by LF, an event without data is dropped, and so is one without its blank line.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._start = True
        self._swallow_lf = False

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next bytes; return the data of each event that they completed, in order."""
        if not (self._rest or self._data or self._start or self._swallow_lf) and _is_one_event(piece):
            return [piece[6:-2]]
        events: list[bytes] = []
        for line in self._lines(piece):
            if not line:
                if self._data:
                    events.append(b"\n".join(self._data))
                    self._data = []
                continue
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value[1:] if value.startswith(b" ") else value)
        return events

    def _lines(self, piece: bytes) -> list[bytes]:
        if self._swallow_lf and piece:
            piece = piece.removeprefix(b"\n")
            self._swallow_lf = False
        text = self._rest + piece
        if self._start:
            if len(text) < len(BOM) and BOM.startswith(text):  # may still become a byte order mark
                self._rest = text
                return []
            text = text.removeprefix(BOM)
            self._start = False
        if text.endswith(b"\r"):  # its LF may come with the next piece: the line ends now, the LF is swallowed then
            self._swallow_lf = True
        lines = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop()
        return lines


def _is_one_event(piece: bytes) -> bool:
    """Whether these are the bytes of exactly one plain event: what nearly every read of a stream brings."""
    return piece[:6] == b"data: " and piece[-2:] == b"\n\n" and piece.count(b"\n") == 2 and b"\r" not in piece


class Chunk(NamedTuple):
    """What one event said.

    `text` is content, or reasoning where `reasoning` is true; `tool` marks a tool-call delta. A chunk that carries none
    of the three is role-only, empty, or a trailing usage chunk. Token counts are None where the server did not state
    them; with `continuous_usage_stats` they are cumulative. `error` is what the server said and may quote the prompt;
    `error_type` is its bare name of the error, safe to record.
    """

    text: str = ""
    reasoning: bool = False
    tool: bool = False
    finish_reason: str | None = None
    completion_tokens: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    error: str | None = None
    error_type: str | None = None
    done: bool = False

    @property
    def carries_tokens(self) -> bool:
        """Content, reasoning or a tool call: what TTFT and ITL are counted from."""
        return bool(self.text) or self.tool


def read_chunk(data: bytes) -> Chunk:
    """Read the data of one event of a chat or text completion stream. Anything that is not such a chunk is an error."""
    if data[:1] != b"{" and data.strip() == DONE:
        return Chunk(done=True)
    try:
        body = _PLAIN.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _read_with_care(data)
    if body.error is not UNSET or body.object == "error":
        return _read_with_care(data)
    choice = body.choices[0] if body.choices else _NO_CHOICE
    delta = choice.delta
    content = delta.content or choice.text or ""
    thought = "" if content else delta.reasoning_content or delta.reasoning or ""
    usage = body.usage or _NO_USAGE
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None
    return Chunk(
        content or thought,
        thought != "",
        bool(delta.tool_calls),
        choice.finish_reason or None,
        usage.completion_tokens,
        usage.prompt_tokens,
        cached,
    )


Count = Annotated[int, Meta(ge=0)]


class _Details(Struct, frozen=True, gc=False):
    cached_tokens: Count | None = None


class _Usage(Struct, frozen=True, gc=False):
    completion_tokens: Count | None = None
    prompt_tokens: Count | None = None
    prompt_tokens_details: _Details | None = None


class _Delta(Struct, frozen=True, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Any] | None = None


class _Choice(Struct, frozen=True, gc=False):
    delta: _Delta = _Delta()
    text: str | None = None
    finish_reason: str | None = None


class _Body(Struct, frozen=True, gc=False):
    """A chunk as servers normally write one; what deviates in any type is read with care instead."""

    choices: list[_Choice]
    usage: _Usage | None = None
    error: Any = UNSET
    object: Any = None


_PLAIN: Final = msgspec.json.Decoder(_Body)
_NO_CHOICE: Final = _Choice()
_NO_USAGE: Final = _Usage()


def _read_with_care(data: bytes) -> Chunk:
    """Read an event that is no plain chunk: an error, or one with members of odd types, which count as absent."""
    try:
        body = msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Chunk(error="an event that is not JSON")
    if not isinstance(body, dict):
        return Chunk(error="an event that is not a JSON object")
    if body.get("error") or body.get("object") == "error":
        return Chunk(error=_error_text(body), error_type=_error_type(body))
    choices = body.get("choices")
    if not isinstance(choices, list):
        return Chunk(error="an event without choices")
    choice = _object(choices[0]) if choices else {}
    delta = _object(choice.get("delta"))
    content = _text(delta, "content") or _text(choice, "text")
    thought = "" if content else _text(delta, "reasoning_content") or _text(delta, "reasoning")
    usage = _object(body.get("usage"))
    return Chunk(
        text=content or thought,
        reasoning=bool(thought),
        tool=bool(delta.get("tool_calls")),
        finish_reason=_text(choice, "finish_reason") or None,
        completion_tokens=_count(usage, "completion_tokens"),
        prompt_tokens=_count(usage, "prompt_tokens"),
        cached_tokens=_count(_object(usage.get("prompt_tokens_details")), "cached_tokens"),
    )


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""


def _count(usage: dict[str, Any], name: str) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _error_text(body: dict[str, Any]) -> str:
    error = body.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(message or body.get("message") or "error event").split())[:200]


def _error_type(body: dict[str, Any]) -> str | None:
    error = body.get("error")
    name = str((error if isinstance(error, dict) else body).get("type") or "")
    return name if re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", name) else None


@dataclass
class Completion:
    """One answer, gathered chunk by chunk. `problem()` says why it is not a good one."""

    texts: list[str] = field(default_factory=list)
    token_chunks: int = 0
    finish_reason: str | None = None
    completion_tokens: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    error: str | None = None
    error_type: str | None = None
    done: bool = False

    def add(self, chunk: Chunk) -> None:
        """Take the next chunk of the stream."""
        if chunk.carries_tokens:
            self.token_chunks += 1
            if not chunk.reasoning:
                self.texts.append(chunk.text)
        if chunk.finish_reason is not None:
            self.finish_reason = chunk.finish_reason
        if chunk.completion_tokens is not None:
            self.completion_tokens = chunk.completion_tokens
        if chunk.prompt_tokens is not None:
            self.prompt_tokens = chunk.prompt_tokens
        if chunk.cached_tokens is not None:
            self.cached_tokens = chunk.cached_tokens
        if self.error is None:
            self.error, self.error_type = chunk.error, chunk.error_type
        self.done = self.done or chunk.done

    @property
    def text(self) -> str:
        """The content without the reasoning."""
        return "".join(self.texts)

    def problem(self) -> str | None:
        """Why this answer is not a good one, in a few words, or None when it is."""
        if self.error is not None:
            return f"error in the stream: {self.error}"
        if self.finish_reason is None:
            return "ended without a finish_reason"
        if self.finish_reason not in GOOD_FINISH_REASONS:
            return f"ended with finish_reason {self.finish_reason!r}"
        if not self.done:
            return "ended without [DONE]"
        if self.token_chunks == 0:
            return "ended without any content"
        return None
