"""What becomes of a question whose answer is known: only a good answer is a sane one."""

from __future__ import annotations

import json

import pytest

from loadtest.outcome import settle
from loadtest.transport import Ending, Wire

RIGHT = [{"choices": [{"delta": {"content": "Paris"}}]}, {"choices": [{"delta": {}, "finish_reason": "stop"}]}]
WHOLE = [*map(json.dumps, RIGHT), "[DONE]"]


def answered(events: list[str], status: int = 200) -> Wire:
    wire = Wire(begun_ns=1, connected_ns=1, sent_ns=1_000)
    wire.response.feed(f"HTTP/1.1 {status} X\r\ncontent-type: text/event-stream\r\n\r\n".encode(), 5)
    for number, event in enumerate(events, start=1):
        wire.response.feed(f"data: {event}\n\n".encode(), number * 10_000_000)
    wire.ending, wire.ended_ns = Ending.CLOSED, 10**8
    wire.response.close()
    return wire


@pytest.mark.parametrize(
    ("wire", "sane"),
    [
        pytest.param(answered(WHOLE), True, id="whole"),
        pytest.param(answered(WHOLE[:2]), False, id="truncated"),
        pytest.param(answered([WHOLE[0], '{"error": {"message": "gone"}}']), False, id="an-error-after-the-answer"),
        pytest.param(answered(WHOLE, 500), False, id="another-status"),
        pytest.param(Wire(), False, id="not-sent"),
    ],
)
def test_a_question_without_a_good_answer_counts_as_one_that_got_none(wire: Wire, sane: bool):
    assert settle(0, "golden-0", 0.0, wire, 0, check=lambda text: "Paris" in text).sane is sane
    assert settle(0, "golden-0", 0.0, wire, 0, check=lambda _: None).sane is None
