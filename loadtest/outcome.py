"""Decides how a request ended: the bytes of a Wire -> one RequestSeen. Runs after the stream; nothing is timed here.

HTTP 200 is not success. A reason never quotes what a server said at length: an error message may echo the prompt.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from loadtest.connection import NO_STAMP
from loadtest.http1 import ResponseReader
from loadtest.transport import Ending, Wire
from serving.facts.completion import GOOD_FINISH_REASONS, Chunk, Completion, EventReader, read_chunk
from serving.facts.traffic import Outcome, RequestSeen

REPLICA_HEADER: Final = "x-warmgate-replica"
Check = Callable[[str], bool | None]


def settle(
    index: int,
    prompt: str,
    scheduled_s: float,
    wire: Wire,
    origin_ns: int,
    *,
    phase: int = 0,
    arm: str = "",
    check: Check | None = None,
) -> RequestSeen:
    """The record of a request, from what its wire saw. Times become seconds since `origin_ns`.

    `check` looks at the text of an answer and says whether it is sane, which one that is not good never is; the text
    goes no further.
    """
    reading = Reading(wire)
    while not reading.step():
        pass
    return reading.record(index, prompt, scheduled_s, origin_ns, phase=phase, arm=arm, check=check)


class Reading:
    """Reads a finished wire a little at a time, so that streams still open are not kept waiting; then makes its record.

    `coalesced` counts token chunks that came in one read with an earlier one, and so share its stamp.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._read = 0
        self._events = EventReader()
        self._completion = Completion()
        self._chunks_ns: list[int] = []
        self._counts: list[int | None] = []
        self._content_ns: int | None = None
        self._done_ns: int | None = None

    def step(self, pieces: int = 1_000_000) -> bool:
        """Read so many pieces further; True when all is read."""
        response = self._wire.response
        if response.status != 200:
            return True
        events, take = self._events.feed, self._take
        for data, at in response.body[self._read : self._read + pieces]:
            for event in events(data):
                take(read_chunk(event), at)
        self._read += pieces
        return self._read >= len(response.body)

    @property
    def coalesced(self) -> int:
        """How many token chunks share the stamp of the one before."""
        return sum(earlier == later for earlier, later in pairwise(self._chunks_ns))

    def record(
        self, index: int, prompt: str, scheduled_s: float, origin_ns: int, *, phase: int, arm: str, check: Check | None
    ) -> RequestSeen:
        """The record of the request; times become seconds since `origin_ns`."""
        wire, completion, response = self._wire, self._completion, self._wire.response

        def since(at: int | None) -> float | None:
            return None if at is None else (at - origin_ns) / 1e9

        outcome, reason = _judge(wire, completion)
        opened = None if wire.connected_ns is None or wire.begun_ns is None else wire.connected_ns - wire.begun_ns
        first_ns = self._chunks_ns[0] if self._chunks_ns else None
        held = None if check is None else check(completion.text)
        return RequestSeen(
            index=index,
            prompt=prompt,
            outcome=outcome,
            reason=reason,
            scheduled_s=scheduled_s,
            sent_s=since(wire.sent_ns),
            connect_s=None if opened is None else opened / 1e9,
            headers_s=since(response.headers_at),
            first_s=since(first_ns),
            content_s=since(self._content_ns),
            end_s=since(self._done_ns if self._done_ns is not None else wire.ended_ns),
            status=response.status,
            finish_reason=_name(completion.finish_reason),
            prompt_tokens=completion.prompt_tokens,
            cached_tokens=completion.cached_tokens,
            completion_tokens=completion.completion_tokens,
            gaps_ms=array("f", [(later - earlier) / 1e6 for earlier, later in pairwise(self._chunks_ns)]),
            chunk_tokens=self._chunk_tokens(),
            first_lag_ms=self._first_lag_ms(first_ns),
            phase=phase,
            arm=arm,
            replica=_name(response.headers.get(REPLICA_HEADER)),
            sane=None if held is None else held and outcome is Outcome.OK,
            resends=wire.resends,
        )

    def _take(self, chunk: Chunk, at: int) -> None:
        """Take the next chunk. One without text counts too when its server says that it brought tokens.

        vLLM generates tokens that have no text: special ones, and parts of a character. The first token is one that can
        be seen; those before it go with its chunk.
        """
        self._completion.add(chunk)
        seen = chunk.carries_tokens
        if not seen and self._counts:
            known = self._counts[-1]
            unseen = known is not None and (chunk.completion_tokens or 0) > known
        else:
            unseen = False
        if seen or unseen:
            self._chunks_ns.append(at)
            self._counts.append(chunk.completion_tokens)
            if self._content_ns is None and seen and not chunk.reasoning:
                self._content_ns = at
        if chunk.done and self._done_ns is None:
            self._done_ns = at

    def _first_lag_ms(self, first_ns: int | None) -> float | None:
        """How long the read that brought the first token had waited in the kernel."""
        for at, waited in self._wire.reads:
            if at == first_ns:
                return None if waited == NO_STAMP else waited / 1e6
        return None

    def _chunk_tokens(self) -> tuple[int, ...] | int | None:
        """How many tokens each chunk carried, or None where that is not exactly known.

        Known from cumulative usage in each chunk; or because the total equals the number of chunks, each of which
        carries at least one.
        """
        counts = [count for count in self._counts if count is not None]
        if counts and len(counts) == len(self._counts):
            carried = [later - earlier for earlier, later in zip([0, *counts], counts, strict=False)]
            if min(carried) < 0 or carried[0] == 0:
                return None
            return carried[0] if len(set(carried)) == 1 else tuple(carried)
        return 1 if self._counts and self._completion.completion_tokens == len(self._counts) else None


def _judge(wire: Wire, completion: Completion) -> tuple[Outcome, str]:
    if wire.begun_ns is None:
        return Outcome.NOT_SENT, wire.why or "never started"
    response = wire.response
    malformed = wire.why if wire.ending is Ending.MALFORMED else None
    problem = completion.problem()
    if response.status == 200 and problem is None and malformed is None:
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
    if malformed is not None:
        return Outcome.HTTP_ERROR, malformed
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


def _name(text: str | None) -> str | None:
    """A server's word, if it is one: short, and no sentence that could quote anyone."""
    return text if text is not None and re.fullmatch(r"[A-Za-z0-9_./+-]{1,60}", text) else None
