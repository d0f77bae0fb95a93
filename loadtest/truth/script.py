"""A program, rendered once: every write of an answer as bytes, when it is due, and the token chunks that it completes.

Pure. The bytes are those of vLLM's OpenAI-compatible server, chat or text completion. Rendering is paid once per
(program, kind of request), so that a chunk costs the event loop little more than its send.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal

from loadtest.truth.program import Program

End = Literal["done", "close", "reset", "stall"]
CREATED: Final = 1_700_000_000
CUTS: Final[dict[str, End]] = {"truncate": "close", "reset": "reset", "stall": "stall"}
BAD_EVENTS: Final = {
    "error_event": '{"error": {"message": "the engine died", "type": "EngineDead", "code": 500}}',
    "not_json": "{nope",
}
MS: Final = 1_000_000


@dataclass(frozen=True)
class Kind:
    """What a request asked for, as far as it changes the bytes of its answer."""

    chat: bool = True
    model: str = "fake"
    include_usage: bool = False
    continuous_usage: bool = False
    close: bool = False


@dataclass
class Script:
    """The writes of one answer.

    `writes[i]` is due `offsets[i]` nanoseconds after the arrival, and completes `chunks[i]` token chunks.
    `chunk_tokens` are the tokens of each token chunk, `end` is what becomes of the connection, and `keep` whether it
    may serve another request.
    """

    offsets: list[int] = field(default_factory=list)
    writes: list[bytes] = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)
    chunk_tokens: list[int] = field(default_factory=list)
    end: End = "done"
    keep: bool = True


@dataclass(frozen=True)
class _Event:
    due_ns: int
    data: bytes
    chunk: bool = False


@lru_cache(maxsize=256)
def script_of(program: Program, kind: Kind) -> Script:
    """The rendered answer to a good request under this program."""
    script = Script(keep=not program.hang_up and program.framing != "close" and (program.keep_open or not kind.close))
    if program.drop:
        script.end = "close"
        return script
    body = list(_events(program, kind, script))
    head_ns = int(program.headers_ms * MS)
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" if program.interim else b""
    writes: list[tuple[int, bytes, int]] = []
    if program.framing == "length":
        whole = b"".join(event.data for event in body)
        last_ns = max([head_ns, *(event.due_ns for event in body)])
        writes.append((last_ns, interim + _head(program, kind, len(whole)) + whole, sum(e.chunk for e in body)))
    else:
        writes.append((head_ns, interim + _head(program, kind, None), 0))
        writes += [(event.due_ns, _framed(program, event.data), int(event.chunk)) for event in body]
        if program.framing == "chunked" and script.end == "done":
            writes.append((writes[-1][0], b"0\r\n\r\n", 0))
    if program.coalesce:
        writes = _coalesced(writes)
    _fill(script, program, writes)
    return script


def refusal(program: Program, kind: Kind, said: str) -> Script:
    """The answer with a status other than 200: a JSON error that quotes the request, as servers do."""
    body = json.dumps({"error": {"message": said, "type": "Nope"}}).encode()
    lines = [f"HTTP/1.1 {program.status} No", "content-type: application/json", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in program.headers]
    lines += ["connection: close"] if kind.close else []
    script = Script(keep=not program.hang_up and (program.keep_open or not kind.close))
    _fill(script, program, [(int(program.headers_ms * MS), "\r\n".join([*lines, "", ""]).encode() + body, 0)])
    return script


def _head(program: Program, kind: Kind, length: int | None) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"content-type: {program.content_type}"]
    lines += [f"{name}: {value}" for name, value in program.headers]
    if program.framing == "chunked":
        lines.append("transfer-encoding: chunked")
    if length is not None:
        lines.append(f"content-length: {length}")
    if kind.close and not program.keep_open:
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode()


def _framed(program: Program, data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if program.framing == "chunked" else data


def _coalesced(writes: list[tuple[int, bytes, int]]) -> list[tuple[int, bytes, int]]:
    merged: list[tuple[int, bytes, int]] = []
    for due, data, chunks in writes:
        if merged and merged[-1][0] == due:
            merged[-1] = (due, merged[-1][1] + data, merged[-1][2] + chunks)
        else:
            merged.append((due, data, chunks))
    return merged


def _fill(script: Script, program: Program, writes: list[tuple[int, bytes, int]]) -> None:
    """Cut the writes as the program says. A token chunk counts as sent with the piece that completes it."""
    gap, latest = int(program.cut_gap_ms * MS), 0
    for due, data, chunks in writes:
        if program.cut is not None:
            pieces = [data[at : at + program.cut] for at in range(0, len(data), program.cut)]
        elif program.cut_at is not None and 0 < program.cut_at < len(data):
            pieces = [data[: program.cut_at], data[program.cut_at :]]
        else:
            pieces = [data]
        for number, piece in enumerate(pieces):
            latest = max(latest, due + number * gap)
            script.offsets.append(latest)
            script.writes.append(piece)
            script.chunks.append(chunks if number == len(pieces) - 1 else 0)


def _events(program: Program, kind: Kind, script: Script) -> Iterator[_Event]:
    """The events of the answer in order; fills in `chunk_tokens` and `end` on the way."""
    due = first = int(program.ttft_ms * MS)
    newline = program.newline.encode()
    render = _Renderer(program, kind)
    if program.comments:
        yield _Event(0, b": ping" + newline * 2)
    if program.role_chunk and kind.chat:
        yield _Event(0 if program.role_early else due, render.delta({"role": "assistant", "content": ""}, 0))
    sent, chunks = 0, script.chunk_tokens
    while sent < program.tokens and program.fault != "no_content":
        due = first + int((len(chunks) * program.itl_ms + _paused_ms(program, len(chunks))) * MS)
        if program.fault is not None and len(chunks) == program.fault_after:
            if program.fault in CUTS:
                script.end = CUTS[program.fault]
                return
            if program.fault in BAD_EVENTS:
                yield _Event(due, render.frame(BAD_EVENTS[program.fault]))
                return
        if program.empty_chunks:
            yield _Event(due, render.delta({"content": ""}, sent))
        count = min(program.tokens_per_chunk, program.tokens - sent)
        sent += count
        yield _Event(due, render.tokens(len(chunks), sent - count, count), chunk=True)
        chunks.append(count)
        if program.comments:
            yield _Event(due, b":" + newline * 2)
    if program.fault != "no_finish":
        yield _Event(due, render.delta({}, sent, "abort" if program.fault == "abort" else "length"))
    if program.usage and kind.include_usage:
        yield _Event(due, render.usage(sent))
    if program.fault != "no_done":
        yield _Event(due, render.frame("[DONE]"))


def _paused_ms(program: Program, chunk: int) -> float:
    return program.pause_ms if program.pause_after is not None and chunk >= program.pause_after else 0.0


class _Renderer:
    """Events as bytes."""

    def __init__(self, program: Program, kind: Kind) -> None:
        self._program, self._kind = program, kind
        name, what = ("chatcmpl-truth", "chat.completion.chunk") if kind.chat else ("cmpl-truth", "text_completion")
        self._base = {"id": name, "object": what, "created": CREATED, "model": kind.model}

    def tokens(self, chunk: int, first: int, count: int) -> bytes:
        """A chunk of `count` tokens, of which `first` is the number of the first."""
        text = "".join(self._program.token_text.format(number) for number in range(first, first + count))
        if chunk == 0 and self._program.answer is not None:
            text = self._program.answer
        if self._program.tool_chunks:
            call = {"index": 0, "id": "call-1", "type": "function", "function": {"name": "f", "arguments": text}}
            return self.delta({"tool_calls": [call]}, first + count)
        name = "reasoning_content" if chunk < self._program.reasoning_chunks else "content"
        return self.delta({name: text}, first + count)

    def delta(self, delta: dict[str, Any], tokens: int, finish_reason: str | None = None) -> bytes:
        """One chunk, with the usage so far where that was asked for."""
        choice: dict[str, Any] = {"index": 0, "delta": delta}
        if not self._kind.chat:
            choice = {"index": 0, "text": delta.get("content", "")}
        choice |= {"logprobs": None, "finish_reason": finish_reason}
        body: dict[str, Any] = {**self._base, "choices": [choice]}
        if self._program.usage and self._kind.continuous_usage:
            body["usage"] = self._usage(tokens)
        return self._json(body)

    def usage(self, tokens: int) -> bytes:
        """The trailing chunk: no choices, only usage."""
        return self._json({**self._base, "choices": [], "usage": self._usage(tokens)})

    def frame(self, data: str) -> bytes:
        """One event with this data."""
        return f"data: {data}{self._program.newline * 2}".encode()

    def _json(self, body: dict[str, Any]) -> bytes:
        return self.frame(json.dumps(body, ensure_ascii=False, separators=(",", ":")))

    def _usage(self, tokens: int) -> dict[str, Any]:
        prompt, cached = self._program.prompt_tokens, self._program.cached_tokens
        usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}
        if cached is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": cached}
        return usage
