"""Decides how a request ended: the bytes of a Wire -> one RequestSeen. Runs after the stream; nothing is timed here.

HTTP 200 is not success. A reason never quotes what a server said at length: an error message may echo the prompt.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, field
from itertools import pairwise

from loadtest.http1 import Malformed, ResponseReader
from loadtest.transport import Ending, Wire
from serving.facts.completion import GOOD_FINISH_REASONS, Completion, EventReader, read_chunk
from serving.facts.traffic import Outcome, RequestSeen


def settle(index: int, prompt: str, scheduled_s: float, wire: Wire, origin_ns: int) -> RequestSeen:
    """The record of a request, from what its wire saw. Times become seconds since `origin_ns`."""

    def since(at: int | None) -> float | None:
        return None if at is None else (at - origin_ns) / 1e9

    answer = _read(wire)
    outcome, reason = _judge(wire, answer)
    opened = None if wire.connected_ns is None or wire.begun_ns is None else (wire.connected_ns - wire.begun_ns) / 1e9
    ended = answer.done_ns if answer.done_ns is not None else wire.ended_ns
    completion = answer.completion
    return RequestSeen(
        index=index,
        prompt=prompt,
        outcome=outcome,
        reason=reason,
        scheduled_s=scheduled_s,
        sent_s=since(wire.sent_ns),
        connect_s=opened,
        headers_s=since(answer.response.headers_at),
        end_s=since(ended),
        status=answer.response.status,
        finish_reason=_name(completion.finish_reason),
        prompt_tokens=completion.prompt_tokens,
        cached_tokens=completion.cached_tokens,
        completion_tokens=completion.completion_tokens,
        first_s=since(answer.chunks_ns[0] if answer.chunks_ns else None),
        gaps_ms=array("f", ((later - earlier) / 1e6 for earlier, later in pairwise(answer.chunks_ns))),
        chunk_tokens=_chunk_tokens(answer),
    )


@dataclass
class _Answer:
    response: ResponseReader = field(default_factory=ResponseReader)
    completion: Completion = field(default_factory=Completion)
    malformed: str | None = None
    chunks_ns: list[int] = field(default_factory=list)
    counts: list[int | None] = field(default_factory=list)
    done_ns: int | None = None


def _read(wire: Wire) -> _Answer:
    answer = _Answer()
    try:
        for piece, at in wire.pieces:
            answer.response.feed(piece, at)
        if wire.ending is Ending.CLOSED:
            answer.response.close()
    except Malformed as error:
        answer.malformed = str(error)
    if answer.response.status != 200:
        return answer
    reader = EventReader()
    for data, at in answer.response.body:
        for event in reader.feed(data):
            chunk = read_chunk(event)
            answer.completion.add(chunk)
            if chunk.carries_tokens:
                answer.chunks_ns.append(at)
                answer.counts.append(chunk.completion_tokens)
            if chunk.done and answer.done_ns is None:
                answer.done_ns = at
    return answer


def _judge(wire: Wire, answer: _Answer) -> tuple[Outcome, str]:
    if wire.begun_ns is None:
        return Outcome.NOT_SENT, wire.why or "never started"
    response, completion = answer.response, answer.completion
    problem = completion.problem()
    if response.status == 200 and problem is None and answer.malformed is None:
        return Outcome.OK, ""
    if response.status == 200 and completion.error is not None and _streams(response):
        kind = f" ({completion.error_type})" if completion.error_type else ""
        return Outcome.STREAM_ERROR, f"error event in the stream{kind} after {completion.token_chunks} chunks"
    if response.status is not None and response.status != 200:
        return Outcome.HTTP_ERROR, f"HTTP {response.status}"
    if wire.ending is Ending.CUT:
        return Outcome.CENSORED, wire.why or "still open at the end of the run"
    if wire.ending is Ending.TIMEOUT:
        return Outcome.TIMEOUT, wire.why
    if answer.malformed is not None:
        return Outcome.HTTP_ERROR, answer.malformed
    if response.status is None:
        return Outcome.HTTP_ERROR, f"no answer: {wire.why}"
    if not _streams(response):
        kind = response.headers.get("content-type", "no content type").partition(";")[0][:60]
        return Outcome.HTTP_ERROR, f"HTTP 200 with {_name(kind) or 'another type'} instead of an event stream"
    if completion.finish_reason is not None and completion.finish_reason not in GOOD_FINISH_REASONS:
        return Outcome.STREAM_ERROR, f"ended with finish_reason {_name(completion.finish_reason) or 'unknown'}"
    cut = "" if response.complete else f": {wire.why or 'the message is not whole'}"
    return Outcome.TRUNCATED, f"{problem or 'not whole'} after {completion.token_chunks} chunks{cut}"


def _streams(response: ResponseReader) -> bool:
    return response.headers.get("content-type", "").lower().startswith("text/event-stream")


def _chunk_tokens(answer: _Answer) -> tuple[int, ...] | int | None:
    """How many tokens each chunk carried, or None where that is not exactly known.

    Known from cumulative usage in each chunk; or because the total equals the number of chunks, each of which carries
    at least one.
    """
    counts = [count for count in answer.counts if count is not None]
    if counts and len(counts) == len(answer.counts):
        carried = [later - earlier for earlier, later in zip([0, *counts], counts, strict=False)]
        if min(carried) < 0 or carried[0] == 0:
            return None
        return carried[0] if len(set(carried)) == 1 else tuple(carried)
    if answer.counts and answer.completion.completion_tokens == len(answer.counts):
        return 1
    return None


def _name(text: str | None) -> str | None:
    """A server's word, if it is one: short, and no sentence that could quote anyone."""
    return text if text is not None and re.fullmatch(r"[A-Za-z0-9_./+-]{1,60}", text) else None
