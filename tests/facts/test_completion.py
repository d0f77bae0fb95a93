"""The only SSE parser of the house: whatever the network does to the bytes, the events are the same."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from serving.facts.completion import Chunk, Completion, EventReader, read_chunk

BOM = b"\xef\xbb\xbf"

STREAMS = [
    pytest.param(b"data: a\n\ndata: b\n\n", [b"a", b"b"], id="lf"),
    pytest.param(b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"], id="crlf"),
    pytest.param(b"data: a\r\rdata: b\r\r", [b"a", b"b"], id="cr"),
    pytest.param(b"data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", [b"a", b"b", b"c"], id="mixed-line-ends"),
    pytest.param(BOM + b"data: a\n\n", [b"a"], id="byte-order-mark"),
    pytest.param(BOM + BOM + b"data: a\n\ndata: b\n\n", [b"b"], id="only-one-byte-order-mark-is-dropped"),
    pytest.param(b"\n" + BOM + b"data: a\n\ndata: b\n\n", [b"b"], id="a-mark-after-the-start-is-not-one"),
    pytest.param(b"\xef\xbbdata: a\n\ndata: b\n\n", [b"b"], id="half-a-byte-order-mark-is-not-one"),
    pytest.param(b": hello\n\n:\n\ndata: a\n: between\n\n", [b"a"], id="comments"),
    pytest.param(b"event: x\nid: 7\nretry: 10\ndata: a\n\n", [b"a"], id="other-fields"),
    pytest.param(b"event: x\n\nid: 1\n\n", [], id="no-data-no-event"),
    pytest.param(b"data: a\ndata: b\n\n", [b"a\nb"], id="data-lines-are-joined"),
    pytest.param(b"data:a\n\ndata:  b\n\n", [b"a", b" b"], id="one-space-is-dropped"),
    pytest.param(b"data\n\ndata:\n\n", [b"", b""], id="empty-data"),
    pytest.param(b"data: a: b\n\n", [b"a: b"], id="colon-in-the-data"),
    pytest.param(b"datum: a\n\n data: b\n\n", [], id="similar-names-are-other-fields"),
    pytest.param(b"data: a\n\ndata: b\n", [b"a"], id="an-event-without-its-blank-line-is-dropped"),
    pytest.param("data: é€😀\r\n\r\n".encode(), ["é€😀".encode()], id="multi-byte-characters"),
    pytest.param(b"\r\n\r\n\n\ndata: a\n\n\n\n", [b"a"], id="blank-lines-alone"),
]


def read(pieces: list[bytes]) -> list[bytes]:
    reader = EventReader()
    return [event for piece in pieces for event in reader.feed(piece)]


@pytest.mark.parametrize(("stream", "events"), STREAMS)
def test_events_do_not_depend_on_where_the_bytes_were_cut(stream: bytes, events: list[bytes]):
    assert read([stream]) == events
    assert read([stream[i : i + 1] for i in range(len(stream))]) == events
    for a, b in itertools.combinations(range(len(stream) + 1), 2):
        assert read([stream[:a], stream[a:b], stream[b:]]) == events, (a, b)


@pytest.mark.parametrize(("stream", "events"), STREAMS)
def test_empty_pieces_change_nothing(stream: bytes, events: list[bytes]):
    assert read([piece for i in range(len(stream)) for piece in (b"", stream[i : i + 1], b"")]) == events


def test_an_event_is_given_out_with_the_byte_that_ends_it():
    reader = EventReader()
    assert reader.feed(b"data: a\r\n\r") == [b"a"]
    assert reader.feed(b"\n") == []
    assert reader.feed(b"data: b\n\n") == [b"b"]


def event(**body: Any) -> bytes:
    return json.dumps(body).encode()


def delta(finish_reason: str | None = None, **fields: Any) -> bytes:
    return event(choices=[{"index": 0, "delta": fields, "finish_reason": finish_reason}])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"[DONE]", Chunk(done=True), id="done"),
        pytest.param(b" [DONE] ", Chunk(done=True), id="done-with-spaces"),
        pytest.param(delta(role="assistant", content=""), Chunk(), id="role-only"),
        pytest.param(delta(content="Hi"), Chunk(text="Hi"), id="content"),
        pytest.param(delta(content=" "), Chunk(text=" "), id="a-space-is-content"),
        pytest.param(delta("stop"), Chunk(finish_reason="stop"), id="finish"),
        pytest.param(delta("length", content="x"), Chunk(text="x", finish_reason="length"), id="finish-with-content"),
        pytest.param(delta(reasoning_content="hm"), Chunk(text="hm", reasoning=True), id="reasoning-content"),
        pytest.param(delta(reasoning="hm"), Chunk(text="hm", reasoning=True), id="reasoning"),
        pytest.param(delta(tool_calls=[{"index": 0}]), Chunk(tool=True), id="tool-call"),
        pytest.param(event(choices=[{"text": "Hi", "finish_reason": None}]), Chunk(text="Hi"), id="text-completion"),
        pytest.param(
            event(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 5}),
            Chunk(prompt_tokens=3, completion_tokens=5),
            id="usage-chunk",
        ),
        pytest.param(
            event(
                choices=[{"delta": {"content": "a"}}],
                usage={"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}},
            ),
            Chunk(text="a", prompt_tokens=3, completion_tokens=1, cached_tokens=2),
            id="continuous-usage",
        ),
        pytest.param(event(choices=[], usage=None), Chunk(), id="usage-null"),
        pytest.param(
            event(choices=[], usage={"completion_tokens": True, "prompt_tokens": -1}), Chunk(), id="counts-not-counts"
        ),
        pytest.param(event(choices=[], usage=[1]), Chunk(), id="usage-not-an-object"),
        pytest.param(event(choices=[], usage={"prompt_tokens_details": 5}), Chunk(), id="details-not-an-object"),
        pytest.param(event(choices=["x"]), Chunk(), id="choice-not-an-object"),
        pytest.param(event(choices=[{"delta": "x"}]), Chunk(), id="delta-not-an-object"),
        pytest.param(delta(content=["x"]), Chunk(), id="content-not-a-text"),
        pytest.param(event(choices=[{"delta": {}, "finish_reason": 7}]), Chunk(), id="finish-reason-not-a-text"),
        pytest.param(
            event(error={"message": "a\n b", "type": "BadRequestError", "code": 400}),
            Chunk(error="a b", error_type="BadRequestError"),
            id="error-event",
        ),
        pytest.param(event(error="boom"), Chunk(error="boom"), id="error-text"),
        pytest.param(event(error={"message": "m", "type": "a prompt"}), Chunk(error="m"), id="error-type-not-a-name"),
        pytest.param(
            event(object="error", message="boom", type="Err"), Chunk(error="boom", error_type="Err"), id="object-error"
        ),
        pytest.param(b"{nope", Chunk(error="an event that is not JSON"), id="not-json"),
        pytest.param(b"", Chunk(error="an event that is not JSON"), id="empty"),
        pytest.param(b"\xff\xfe", Chunk(error="an event that is not JSON"), id="not-utf8"),
        pytest.param(b"[" * 200_000, Chunk(error="an event that is not JSON"), id="nested-too-deep"),
        pytest.param(b"[1]", Chunk(error="an event that is not a JSON object"), id="not-an-object"),
        pytest.param(b"{}", Chunk(error="an event without choices"), id="no-choices"),
        pytest.param(event(choices={"a": 1}), Chunk(error="an event without choices"), id="choices-not-a-list"),
    ],
)
def test_a_chunk_says_what_the_event_said(data: bytes, expected: Chunk):
    assert read_chunk(data) == expected


@pytest.mark.parametrize(
    ("chunk", "carries"),
    [
        pytest.param(Chunk(text="x"), True, id="content"),
        pytest.param(Chunk(text="x", reasoning=True), True, id="reasoning"),
        pytest.param(Chunk(tool=True), True, id="tool"),
        pytest.param(Chunk(), False, id="role-only"),
        pytest.param(Chunk(completion_tokens=4), False, id="usage"),
        pytest.param(Chunk(finish_reason="stop"), False, id="finish"),
        pytest.param(Chunk(done=True), False, id="done"),
    ],
)
def test_tokens_are_content_reasoning_or_tool_calls(chunk: Chunk, carries: bool):
    assert chunk.carries_tokens is carries


CONTENT, FINISH, DONE = Chunk(text="x"), Chunk(finish_reason="stop"), Chunk(done=True)


@pytest.mark.parametrize(
    ("chunks", "problem"),
    [
        pytest.param([CONTENT, FINISH, DONE], None, id="good"),
        pytest.param([CONTENT, Chunk(finish_reason="length"), DONE], None, id="length"),
        pytest.param([Chunk(tool=True), Chunk(finish_reason="tool_calls"), DONE], None, id="tool-calls"),
        pytest.param([Chunk(text="hm", reasoning=True), FINISH, DONE], None, id="reasoning-alone-is-content"),
        pytest.param([], "ended without a finish_reason", id="nothing"),
        pytest.param([CONTENT, DONE], "ended without a finish_reason", id="no-finish-reason"),
        pytest.param([CONTENT, FINISH], "ended without [DONE]", id="no-done"),
        pytest.param([CONTENT, Chunk(finish_reason="abort"), DONE], "ended with finish_reason 'abort'", id="abort"),
        pytest.param([FINISH, DONE], "ended without any content", id="empty"),
        pytest.param([CONTENT, Chunk(error="boom"), FINISH, DONE], "error in the stream: boom", id="error-then-done"),
    ],
)
def test_a_completion_is_good_only_with_content_a_finish_reason_and_done(chunks: list[Chunk], problem: str | None):
    completion = Completion()
    for chunk in chunks:
        completion.add(chunk)
    assert completion.problem() == problem


def test_a_completion_keeps_the_last_counts_the_first_error_and_the_content_without_the_reasoning():
    completion = Completion()
    for chunk in (
        Chunk(text="think", reasoning=True, completion_tokens=1),
        Chunk(text="Pa", completion_tokens=2),
        Chunk(text="ris", completion_tokens=3, prompt_tokens=9, cached_tokens=0),
        Chunk(error="first", error_type="One"),
        Chunk(error="second", error_type="Two"),
    ):
        completion.add(chunk)
    assert completion.text == "Paris"
    assert completion.token_chunks == 3
    assert (completion.completion_tokens, completion.prompt_tokens, completion.cached_tokens) == (3, 9, 0)
    assert (completion.error, completion.error_type) == ("first", "One")
