"""When bytes arrived: the kernel says it, so a harness that was busy does not take its own delay for the server's."""

from __future__ import annotations

import gc
import json
import time
import tracemalloc
from time import perf_counter_ns

import gevent
import pytest

from loadtest import connection
from loadtest.connection import NO_STAMP
from loadtest.outcome import settle
from loadtest.transport import Ending, Wire
from serving.facts.traffic import Outcome
from tests.fakes.sse_server import Program, SseServer, sse_server
from tests.loadtest.asking import Asked, ask

HOG_NS = 150_000_000
GIVE_UP_S = 10.0


def hogged(program: Program) -> tuple[Asked, list[float]]:
    """Ask while the event loop is busy until 150 ms after the first token: the record, and the true arrivals."""

    def hog(server: SseServer) -> None:
        while not server.served:
            gevent.sleep(0.01)
        sent, give_up = server.served[0].sent_ns, time.monotonic() + GIVE_UP_S
        while (not sent or perf_counter_ns() < sent[0] + HOG_NS) and time.monotonic() < give_up:
            pass

    with sse_server(program) as server, gevent.Timeout(2 * GIVE_UP_S):
        gevent.spawn(hog, server)
        asked = ask(server.url)
        return asked, [(at - asked.origin_ns) / 1e9 for at in server.served[0].sent_ns]


def test_a_busy_harness_does_not_make_the_first_token_late():
    asked, truth = hogged(Program(ttft_ms=150, itl_ms=250, tokens=3))
    assert asked.seen.first_s == pytest.approx(truth[0], abs=0.07)
    assert asked.seen.first_lag_ms is not None
    assert asked.seen.first_lag_ms > 80, "and how long it waited to be read is a figure of its own"


def test_without_kernel_stamps_the_delay_shows_in_the_latency_and_no_lag_is_claimed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "SO_TIMESTAMPNS", 0x7FFF)  # an option that the kernel refuses
    asked, truth = hogged(Program(ttft_ms=150, itl_ms=250, tokens=3))
    assert asked.seen.first_s is not None
    assert asked.seen.first_s - truth[0] > 0.08
    assert asked.seen.first_lag_ms is None
    assert {waited for _, waited in asked.wire.reads} == {NO_STAMP}


@pytest.mark.parametrize("hours", [-1, 1], ids=["set-back", "set-forward"])
def test_a_wall_clock_that_jumps_moves_no_arrival(monkeypatch: pytest.MonkeyPatch, hours: int):
    monkeypatch.setattr(connection, "time_ns", lambda: time.time_ns() + hours * 3_600_000_000_000)
    with sse_server(Program(ttft_ms=100, itl_ms=10, tokens=5)) as server:
        asked = ask(server.url)
        truth = [(at - asked.origin_ns) / 1e9 for at in server.served[0].sent_ns]
    assert list(asked.seen.chunk_s) == pytest.approx(truth, abs=5)
    assert asked.seen.first_lag_ms is None, "no stamp that cannot be right is believed"


def answered(chunks: int) -> Wire:
    """A wire on which so many chunks have arrived, without a server in this process."""
    wire = Wire(begun_ns=1, connected_ns=1, sent_ns=1_000)
    events = [
        {"choices": [{"delta": {"content": " tok"}}], "usage": {"completion_tokens": n + 1}} for n in range(chunks)
    ]
    events.append({"choices": [{"delta": {}, "finish_reason": "length"}]})
    wire.response.feed(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n", 5)
    for number, event in enumerate([*map(json.dumps, events), "[DONE]"]):
        data = f"data: {event}\n\n".encode()
        wire.response.feed(f"{len(data):x}\r\n".encode() + data + b"\r\n", 10_000_000 * (number + 1))
        wire.reads.append((10_000_000 * (number + 1), 1_000))
    wire.response.feed(b"0\r\n\r\n", 10**10)
    wire.ending, wire.ended_ns = Ending.COMPLETE, 10**10
    return wire


@pytest.mark.parametrize("chunks", [1, 64, 1000])
def test_a_record_keeps_four_bytes_a_chunk_and_less_than_a_kibibyte_beside_them(chunks: int):
    many = 20
    records = [settle(0, "warm", 0.0, answered(chunks), 0)]
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for index in range(many):
        records.append(settle(index, f"synthetic-123456789-{index}", index * 0.01, answered(chunks), 0))
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {(record.outcome, record.chunks) for record in records} == {(Outcome.OK, chunks)}
    assert (after - before) / many <= 1024 + 4 * chunks


def test_tokens_without_text_are_counted_where_the_server_says_that_they_came():
    wire = Wire(begun_ns=1, connected_ns=1, sent_ns=1_000)
    wire.response.feed(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", 5)
    said = [("", 0), ("", 1), ("a", 2), ("b", 3), ("", 3), ("", 5)]  # (text, tokens so far), 10 ms apart
    for number, (text, tokens) in enumerate(said, start=1):
        reason = "length" if number == len(said) else None
        choice = {"delta": {"content": text}, "finish_reason": reason}
        event = json.dumps({"choices": [choice], "usage": {"completion_tokens": tokens}})
        wire.response.feed(f"data: {event}\n\n".encode(), number * 10_000_000)
    wire.response.feed(b"data: [DONE]\n\n", 70_000_000)
    wire.ending, wire.ended_ns = Ending.CLOSED, 70_000_000
    wire.response.close()
    seen = settle(0, "p", 0.0, wire, 0)
    assert (seen.outcome, seen.first_s, seen.content_s) == (Outcome.OK, 0.03, 0.03)
    assert (seen.tokens_per_chunk, list(seen.gaps_ms)) == ((2, 1, 2), [10.0, 20.0])
