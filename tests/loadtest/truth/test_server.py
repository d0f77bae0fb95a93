"""The server's bytes and its log, seen by a plain socket; its own lateness where nobody asks much of it."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from tests.fakes.sse_server import Program, SseServer, sse_server
from tests.loadtest.truth.plain import asking, dial, get, read_one, read_to_the_end

TEN = [f" tök{number}" for number in range(10)]
EXACT = Program(ttft_ms=1, itl_ms=0.5, tokens=10)


def until(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 25
    while not true() and time.monotonic() < give_up:
        time.sleep(0.01)
    assert true()


@pytest.mark.parametrize(
    ("program", "texts"),
    [
        pytest.param(EXACT, TEN, id="plain"),
        pytest.param(
            replace(EXACT, tokens_per_chunk=4), ["".join(TEN[:4]), "".join(TEN[4:8]), "".join(TEN[8:])], id="4s"
        ),
        pytest.param(replace(EXACT, newline="\r\n", comments=True, empty_chunks=True), TEN, id="crlf-comments-empties"),
        pytest.param(replace(EXACT, cut=1), TEN, id="a-byte-at-a-time"),
        pytest.param(replace(EXACT, cut_at=9, cut_gap_ms=0.5), TEN, id="split-with-a-gap"),
        pytest.param(replace(EXACT, framing="length"), TEN, id="length"),
        pytest.param(replace(EXACT, framing="close", newline="\r"), TEN, id="until-close-with-cr"),
        pytest.param(replace(EXACT, interim=True, coalesce=True), TEN, id="interim-and-coalesced"),
        pytest.param(replace(EXACT, answer="4"), ["4", *TEN[1:]], id="an-answer-of-ones-own"),
        pytest.param(replace(EXACT, token_text=" the"), [" the"] * 10, id="a-word-of-ones-own"),
    ],
)
def test_every_token_is_sent_once_and_counted(program: Program, texts: list[str]):
    with sse_server(program) as server:
        got = get(server)
    assert got.texts == texts
    assert got.events[-1] == "[DONE]"
    assert [chunk["usage"]["completion_tokens"] for chunk in got.chunks][-1] == 10
    assert got.chunks[-1]["choices"] == []
    assert got.chunks[-2]["choices"][0]["finish_reason"] == "length"
    served = server.served[0]
    assert (served.tokens, len(served.sent_ns), served.end) == (10, len(texts), "done")
    assert sum(served.chunk_tokens) == 10


def test_the_role_comes_alone_and_early_where_the_program_says_so():
    with sse_server(replace(EXACT, role_early=True, ttft_ms=800)) as server:
        got = get(server)
    assert got.chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    role = next(at for at, read in zip(got.at_ns, got.reads, strict=False) if b"assistant" in read)
    assert server.served[0].sent_ns[0] - role > 100e6


def test_reasoning_and_tool_calls_are_token_chunks_without_content():
    with sse_server(replace(EXACT, reasoning_chunks=3)) as server:
        thought = get(server)
    assert thought.texts == TEN[3:]
    assert [c["choices"][0]["delta"].get("reasoning_content") for c in thought.chunks[1:4]] == TEN[:3]
    with sse_server(replace(EXACT, tool_chunks=True)) as server:
        called = get(server)
    assert called.texts == []
    assert sum("tool_calls" in c["choices"][0]["delta"] for c in called.chunks[:-1]) == 10
    assert len(server.served[0].sent_ns) == 10


def test_text_completions_have_no_role_and_no_delta():
    with sse_server(EXACT) as server:
        got = get(server, path="/v1/completions", messages=None, prompt="hi")
    assert {chunk["object"] for chunk in got.chunks} == {"text_completion"}
    assert not any("delta" in choice for chunk in got.chunks for choice in chunk["choices"])
    assert got.texts == TEN


def test_usage_is_told_only_to_those_who_ask():
    with sse_server(EXACT) as server:
        got = get(server, stream_options={})
        once = get(server, stream_options={"include_usage": True})
    assert not any("usage" in chunk for chunk in got.chunks)
    assert [chunk["usage"]["total_tokens"] for chunk in once.chunks if "usage" in chunk] == [17]


@pytest.mark.parametrize(
    ("program", "events", "tokens", "end"),
    [
        pytest.param(replace(EXACT, fault="truncate"), 3, 3, "close", id="truncate"),
        pytest.param(replace(EXACT, fault="reset"), 3, 3, "reset", id="reset"),
        pytest.param(replace(EXACT, fault="error_event"), 4, 3, "done", id="error-event"),
        pytest.param(replace(EXACT, fault="not_json", fault_after=0), 1, 0, "done", id="not-json-at-once"),
        pytest.param(replace(EXACT, fault="no_done"), 12, 10, "done", id="no-done"),
        pytest.param(replace(EXACT, drop=True), 0, 0, "close", id="no-answer"),
    ],
)
def test_faults_strike_where_the_program_says(program: Program, events: int, tokens: int, end: str):
    with sse_server(replace(program, role_chunk=False)) as server:
        got = get(server)
    assert len(got.events) == events
    served = server.served[0]
    assert (served.tokens, served.end) == (tokens, end)


def test_a_status_says_so_with_a_length_and_the_headers_of_the_program():
    with sse_server(Program(status=429, headers=(("retry-after", "3"),))) as server:
        got = get(server)
    assert got.head.startswith("HTTP/1.1 429 ")
    assert "retry-after: 3" in got.head
    assert json.loads(got.body)["error"]["type"] == "Nope"


def test_the_log_holds_the_arrival_and_each_send_and_both_clocks_agree():
    with sse_server(Program(ttft_ms=60, itl_ms=20, tokens=10)) as server, dial(server) as connection:
        before = time.perf_counter_ns()
        connection.sendall(asking())
        after = time.perf_counter_ns()
        got = read_to_the_end(connection)
    served = server.served[0]
    assert served.kernel_stamp
    assert before - 1e6 < served.arrived_ns < after + 1e6, "loopback delivers before sendall returns"
    assert served.arrived_ns <= served.read_ns < served.sent_ns[0]
    reads = zip(got.at_ns, got.reads, strict=False)
    stamps = [at for at, read in reads for _ in range(read.count(b'"content":" t'))]
    assert len(stamps) == len(served.sent_ns) == 10
    assert all(sent < seen for sent, seen in zip(served.sent_ns, stamps, strict=True)), "seen before it was sent"
    assert served.ended_ns is not None
    assert served.ended_ns >= served.sent_ns[-1]
    assert served.request_id == "mine"


def test_a_request_in_two_parts_arrived_with_its_last_bytes():
    with sse_server(EXACT) as server, dial(server) as connection:
        request = asking()
        connection.sendall(request[:60])
        time.sleep(0.15)
        late = time.perf_counter_ns()
        connection.sendall(request[60:])
        read_to_the_end(connection)
    assert server.served[0].arrived_ns > late - 1e6


def test_the_server_is_on_time_but_for_the_lateness_that_it_tells_of():
    with sse_server(Program(ttft_ms=50, itl_ms=10, tokens=40)) as server:
        for _ in range(3):
            get(server)
        summary = server.tally.summary()
    assert summary["requests"] == 3
    assert summary["tokens"] == summary["chunks"] == 120
    lateness = summary["lateness_ms"]
    assert lateness["n"] == 120
    assert lateness["p50"] < 20, "chunks of 10 ms that are never on time"
    offsets = [50 + 10 * number for number in range(40)]
    late = [
        (sent - one.arrived_ns) / 1e6 - offset
        for one in server.served
        for sent, offset in zip(one.sent_ns, offsets, strict=True)
    ]
    assert min(late) >= 0
    assert max(late) == pytest.approx(lateness["max"], abs=0.01)
    assert sum(late) / len(late) == pytest.approx(lateness["mean"], abs=0.01)
    assert summary["ttft_ms"]["max"] == pytest.approx(50 + max(late[::40]), abs=0.01)
    spans = [(one.sent_ns[-1] - one.sent_ns[0]) / 39e6 for one in server.served]
    assert summary["tpot_ms"]["mean"] == pytest.approx(sum(spans) / 3, abs=0.001)


def test_the_log_says_when_the_server_itself_was_late():
    """A program that takes 80 ms to choose makes every later send late, and that is not hidden."""

    def slow(number: int) -> Program:
        time.sleep(0.08)
        return Program(ttft_ms=0, tokens=1)

    with sse_server(slow) as server:
        get(server)
        assert server.tally.summary()["lateness_ms"]["max"] > 75


def test_a_connection_serves_again_and_again_until_told_to_close():
    with sse_server(EXACT) as server, dial(server) as connection:
        for _ in range(3):
            connection.sendall(asking(close=False))
            assert read_one(connection).count(b"[DONE]") == 1
        connection.sendall(asking(close=True))
        last = read_to_the_end(connection)
    assert last.events[-1] == "[DONE]"
    assert "connection: close" in last.head
    assert server.connections == 1
    assert [served.reused for served in server.served] == [False, True, True, True]


def test_requests_sent_back_to_back_are_answered_in_order():
    with sse_server(EXACT) as server, dial(server) as connection:
        connection.sendall(asking(close=False) + asking(close=True))
        raw = read_to_the_end(connection)
    assert b"".join(raw.reads).count(b"[DONE]") == 2
    assert len(server.served) == 2


def test_idle_connections_are_closed_after_the_time_and_busy_ones_are_not():
    with sse_server(Program(ttft_ms=1000, tokens=2), idle_close_s=0.6) as server, dial(server) as connection:
        connection.sendall(asking(close=False))
        read_one(connection)  # longer than the idle time: it was not idle
        assert connection.recv(1) == b""
        closed_ns, ended_ns = time.perf_counter_ns(), server.served[0].ended_ns
    assert ended_ns is not None
    assert closed_ns - ended_ns > 0.6e9


def test_a_reuse_limit_meets_the_next_request_with_a_closed_connection():
    with sse_server(EXACT, reuse_limit=1) as server, dial(server) as connection:
        connection.sendall(asking(close=False))
        read_one(connection)
        connection.sendall(asking(close=False))
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""
        assert len(server.served) == 1
        assert server.tally.cut_off == 1


def test_a_client_that_leaves_is_told_apart_from_a_stream_that_ended():
    with sse_server(Program(itl_ms=20, tokens=500)) as server:
        with dial(server) as connection:
            connection.sendall(asking())
            connection.recv(10)
        until(lambda: server.served[0].end != "open")
        assert server.served[0].end == "gone"
        assert server.served[0].tokens < 100


def test_a_frozen_server_accepts_reads_and_sends_nothing_until_the_thaw():
    with sse_server(Program(ttft_ms=5, tokens=2)) as server:
        thaw = time.perf_counter_ns() + 2e9
        server.freeze(2)
        got = get(server)
        served = server.served[0]
        assert served.arrived_ns < thaw - 1e9
        assert thaw <= served.sent_ns[0] < thaw + 3e9
        assert got.events[-1] == "[DONE]"
        assert server.tally.summary()["lateness_ms"]["max"] < 1000, "the freeze was asked for: it is not lateness"


def test_a_closed_server_refuses_and_lets_open_streams_end():
    with sse_server(Program(ttft_ms=300, tokens=3)) as server, dial(server) as idle, dial(server) as connection:
        connection.sendall(asking())
        until(lambda: server.connections == 2 and bool(server.served))
        server.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
        assert read_to_the_end(connection).events[-1] == "[DONE]"
        assert idle.recv(1) == b""


@pytest.mark.timeout(90)
def test_a_reader_that_stops_reading_delays_the_stamps_and_not_the_other_streams():
    long = Program(ttft_ms=0, itl_ms=0, tokens=4_000, token_text=" long" * 800)

    def by_number(number: int) -> Program:
        return long if number == 0 else EXACT

    with sse_server(by_number) as server, dial(server) as stuck:
        stuck.sendall(asking())
        until(lambda: bool(server.served) and len(server.served[0].sent_ns) > 10)
        sent = [-1, 0]
        while sent[-1] > sent[-2]:
            time.sleep(0.5)
            sent.append(len(server.served[0].sent_ns))
        assert sent[-1] < 4_000, "the socket's buffers hold less than this"
        assert get(server).texts == TEN
        resumed = time.perf_counter_ns()
        assert len(read_to_the_end(stuck).texts) == 4_000
    late = server.served[0].sent_ns
    assert len(late) == 4_000
    assert late[-1] > resumed
    assert list(late) == sorted(late)


def steer(server: SseServer, path: str, data: bytes | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(f"{server.url}{path}", data=data)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_another_process_may_read_and_steer_it():
    with sse_server(EXACT) as server:
        get(server)
        first = json.loads(steer(server, "/truth")[1])
        assert (first["requests"], first["tokens"], first["ends"]) == (1, 10, {"done": 1})
        line = json.loads(steer(server, "/truth/requests")[1])
        assert (line["request_id"], len(line["sent_ns"]), line["chunk_tokens"]) == ("mine", 10, [1] * 10)
        steer(server, "/truth/program", b'{"tokens": 3, "ttft_ms": 1}')
        steer(server, "/truth/reset", b"")
        assert json.loads(steer(server, "/truth")[1])["requests"] == 0
        assert len(get(server).texts) == 3
        status, said = steer(server, "/truth/program", b'{"tokns": 3}')
        assert (status, "tokns" in said.decode()) == (400, True)
        assert steer(server, "/nowhere")[0] == 404
        assert steer(server, "/health")[0] == 200
        assert json.loads(steer(server, "/v1/models")[1])["data"][0]["id"] == "fake"
