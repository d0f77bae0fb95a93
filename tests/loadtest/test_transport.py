"""Every way in which a request can end, through the real transport, against a server that does exactly as told."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import gevent
import pytest

from loadtest import connection
from loadtest.outcome import settle
from loadtest.pool import Pool
from loadtest.target import target_of
from loadtest.transport import Ending, Limits, Peer, Wire, exchange
from serving.errors import CannotAct, CannotObserve
from serving.facts.traffic import Outcome
from tests.fakes.sse_server import Program, SseServer, sse_server
from tests.loadtest.asking import LIMITS, PROMPT, ask

QUICK = Limits(connect_s=5, first_byte_s=1, idle_s=1, total_s=20)


@pytest.mark.parametrize(
    ("program", "outcome", "reason"),
    [
        pytest.param(Program(), Outcome.OK, "", id="ok"),
        pytest.param(Program(status=503), Outcome.HTTP_ERROR, "HTTP 503", id="http-503"),
        pytest.param(Program(status=429), Outcome.HTTP_ERROR, "HTTP 429", id="http-429"),
        pytest.param(Program(drop=True), Outcome.HTTP_ERROR, "no answer: the connection was closed", id="no-answer"),
        pytest.param(Program(content_type="text/html"), Outcome.OK, "", id="good-stream-under-another-type"),
        pytest.param(
            Program(content_type="text/html", fault="truncate", fault_after=0),
            Outcome.HTTP_ERROR,
            "HTTP 200 with text/html instead of an event stream",
            id="html-instead-of-a-stream",
        ),
        pytest.param(
            Program(fault="error_event"),
            Outcome.STREAM_ERROR,
            "error event in the stream (EngineDead) after 3 chunks",
            id="error-event-after-200",
        ),
        pytest.param(
            Program(fault="not_json"), Outcome.STREAM_ERROR, "error event in the stream after 3 chunks", id="not-json"
        ),
        pytest.param(
            Program(fault="abort"), Outcome.STREAM_ERROR, "ended with finish_reason abort", id="finish-reason-abort"
        ),
        pytest.param(
            Program(fault="truncate"),
            Outcome.TRUNCATED,
            "ended without a finish_reason after 3 chunks: the connection was closed",
            id="truncated",
        ),
        pytest.param(
            Program(fault="truncate", framing="close"),
            Outcome.TRUNCATED,
            "ended without a finish_reason after 3 chunks",
            id="truncated-where-closing-is-the-only-end",
        ),
        pytest.param(
            Program(fault="reset"),
            Outcome.TRUNCATED,
            "ended without a finish_reason after 3 chunks: connection reset",
            id="reset-in-the-stream",
        ),
        pytest.param(Program(fault="no_done"), Outcome.TRUNCATED, "ended without [DONE] after 6 chunks", id="no-done"),
        pytest.param(
            Program(fault="no_finish"),
            Outcome.TRUNCATED,
            "ended without a finish_reason after 6 chunks",
            id="200-and-done-without-finish-reason",
        ),
        pytest.param(
            Program(fault="no_content"), Outcome.TRUNCATED, "ended without any content after 0 chunks", id="no-content"
        ),
    ],
)
def test_each_ending_has_its_outcome_and_reason(program: Program, outcome: Outcome, reason: str):
    with sse_server(program) as server:
        seen = ask(server.url).seen
    assert (seen.outcome, seen.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("program", "limits", "reason"),
    [
        pytest.param(Program(fault="stall"), QUICK, "no byte within 1 s", id="stall"),
        pytest.param(Program(headers_ms=9_000), QUICK, "no first byte within 1 s", id="slow-headers"),
        pytest.param(Program(itl_ms=60, tokens=200), replace(LIMITS, total_s=1), "not done within 1 s", id="too-long"),
        pytest.param(
            Program(ttft_ms=0, itl_ms=0.01, tokens=100_000),
            replace(LIMITS, total_s=1),
            "not done within 1 s",
            id="too-long-without-any-pause",
        ),
        pytest.param(
            Program(itl_ms=5_000), replace(LIMITS, idle_s=9, total_s=1), "not done within 1 s", id="total-before-idle"
        ),
    ],
)
def test_each_bound_ends_a_request_as_timeout(program: Program, limits: Limits, reason: str):
    with sse_server(program) as server:
        seen = ask(server.url, limits).seen
    assert (seen.outcome, seen.reason) == (Outcome.TIMEOUT, reason)
    assert seen.end_s is not None
    assert 1 <= seen.end_s < 8


def test_a_server_that_takes_no_connection_is_a_timeout_of_connecting():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = ("127.0.0.1", listener.getsockname()[1])
        fill = []
        for _ in range(8):  # the kernel queues a few connections that nobody accepts, then drops the rest
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            fill.append(filler)
        wire = Wire()
        exchange(Peer("127.0.0.1", address[1], ((socket.AF_INET, address),)), b"", replace(LIMITS, connect_s=0.3), wire)
        for filler in fill:
            filler.close()
    seen = settle(0, "p", 0.0, wire, 0)
    assert (seen.outcome, seen.reason, seen.sent_s) == (Outcome.TIMEOUT, "no connection within 0.3 s", None)


def test_a_refused_connection_is_an_http_error_that_was_never_sent():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = ("127.0.0.1", listener.getsockname()[1])
    wire = Wire()
    exchange(Peer("127.0.0.1", address[1], ((socket.AF_INET, address),)), b"", LIMITS, wire)
    seen = settle(0, "p", 0.0, wire, 0)
    assert (seen.outcome, seen.reason, seen.sent_s) == (Outcome.HTTP_ERROR, "no answer: connection refused", None)


def test_files_that_this_machine_refuses_are_no_outcome_of_the_server(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(connection, "_RawSocket", refuse)
    with pytest.raises(CannotAct, match="raise `ulimit -n`, or lower max_in_flight"):
        exchange(Peer("127.0.0.1", 9, ((socket.AF_INET, ("127.0.0.1", 9)),)), b"", LIMITS, Wire())


def test_the_next_address_is_tried_when_the_first_refuses():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = ("127.0.0.1", listener.getsockname()[1])
    with sse_server() as server:
        addresses = ((socket.AF_INET, closed), (socket.AF_INET, ("127.0.0.1", server.port)))
        wire = Wire()
        exchange(Peer("127.0.0.1", server.port, addresses), b"GET /v1/models HTTP/1.1\r\n\r\n", LIMITS, wire)
    assert (wire.ending, wire.why) == (Ending.COMPLETE, "")


def test_a_kernel_without_ipv6_leaves_the_other_addresses(monkeypatch: pytest.MonkeyPatch):
    raw_socket = connection._RawSocket

    def without_ipv6(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        made: socket.socket = raw_socket(family, kind)
        return made

    monkeypatch.setattr(connection, "_RawSocket", without_ipv6)
    with sse_server() as server:
        addresses = ((socket.AF_INET6, ("::1", server.port, 0, 0)), (socket.AF_INET, ("127.0.0.1", server.port)))
        wire = Wire()
        exchange(Peer("localhost", server.port, addresses), b"GET /v1/models HTTP/1.1\r\n\r\n", LIMITS, wire)
    assert (wire.ending, wire.why) == (Ending.COMPLETE, "")


def test_a_request_that_was_cut_keeps_what_arrived_and_is_censored():
    with sse_server(Program()) as server:
        asked = ask(server.url)
    wire = replace(asked.wire, ending=Ending.CUT, why="still open at the end")
    del wire.response.body[3:]
    seen = settle(0, "p", 0.0, wire, asked.origin_ns)
    assert (seen.outcome, seen.reason) == (Outcome.CENSORED, "still open at the end")
    assert seen.status == 200
    assert 0 < len(seen.chunk_s) < 6


def test_a_request_that_never_began_was_not_sent():
    seen = settle(0, "p", 1.5, Wire(why="too many were open"), 0)
    assert (seen.outcome, seen.reason, seen.scheduled_s) == (Outcome.NOT_SENT, "too many were open", 1.5)


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(Program(cut=1), id="a-byte-at-a-time"),
        pytest.param(Program(cut=7), id="seven-bytes-at-a-time"),
        pytest.param(Program(cut=1, newline="\r\n", comments=True), id="crlf-and-comments-a-byte-at-a-time"),
        pytest.param(Program(newline="\r"), id="cr"),
        pytest.param(Program(framing="length"), id="content-length"),
        pytest.param(Program(framing="close"), id="until-close"),
        pytest.param(Program(interim=True), id="interim-responses"),
        pytest.param(Program(keep_open=True), id="a-server-that-keeps-the-connection"),
        pytest.param(Program(keep_open=True, cut=1), id="kept-open-and-cut"),
        pytest.param(Program(keep_open=True, framing="length"), id="kept-open-with-a-length"),
        pytest.param(Program(role_chunk=False), id="no-role-chunk"),
        pytest.param(Program(ttft_ms=0, itl_ms=0, tokens=300), id="burst"),
    ],
)
def test_tokens_are_counted_exactly_however_they_are_wrapped(program: Program):
    with sse_server(program) as server:
        asked = ask(server.url, replace(LIMITS, idle_s=9))
    seen = asked.seen
    assert (seen.outcome, seen.reason) == (Outcome.OK, "")
    assert seen.completion_tokens == program.tokens
    assert seen.tokens_per_chunk == (1,) * program.tokens
    assert len(seen.chunk_s) == program.tokens
    assert seen.prompt_tokens == 7
    assert seen.finish_reason == "length"
    assert asked.wire.ended_ns is not None
    assert asked.wire.ended_ns - asked.origin_ns < 8e9, "it waited for something after the end of the message"


@pytest.mark.parametrize(
    ("program", "owner", "chunk_tokens"),
    [
        pytest.param(Program(tokens=10, tokens_per_chunk=4), "vllm", (4, 4, 2), id="cumulative-counts"),
        pytest.param(Program(tokens=10, tokens_per_chunk=4), "someone", None, id="only-a-total-says-nothing-of-chunks"),
        pytest.param(Program(tokens=3), "someone", (1, 1, 1), id="a-total-equal-to-the-chunks"),
        pytest.param(Program(tokens=3, usage=False), "vllm", None, id="no-usage"),
    ],
)
def test_tokens_per_chunk_are_exact_or_unknown(program: Program, owner: str, chunk_tokens: tuple[int, ...] | None):
    with sse_server(program, owner=owner) as server:
        seen = ask(server.url).seen
        asked_for = server.served[0].body["stream_options"]
    assert seen.outcome is Outcome.OK
    assert seen.tokens_per_chunk == chunk_tokens
    assert asked_for.get("continuous_usage_stats", False) is (owner == "vllm")


def test_role_only_chunks_are_not_the_first_token():
    with sse_server(Program(ttft_ms=1_000, role_early=True)) as server:
        asked = ask(server.url)
        sent_s = (server.served[0].sent_ns[0] - asked.origin_ns) / 1e9
    assert asked.seen.first_s is not None
    assert asked.seen.first_s == pytest.approx(sent_s, abs=0.5)
    assert asked.seen.first_s > 0.99


def test_every_chunk_is_stamped_when_the_server_says_it_was_sent():
    with sse_server(Program(ttft_ms=80, itl_ms=15, tokens=30)) as server:
        asked = ask(server.url)
        truth = [(at - asked.origin_ns) / 1e9 for at in server.served[0].sent_ns]
    errors = sorted(seen - sent for seen, sent in zip(asked.seen.chunk_s, truth, strict=True))
    assert errors[0] >= 0, "received before it was sent"
    assert errors[len(errors) // 2] < 0.02
    assert errors[-1] < 0.5


def test_nothing_of_the_prompt_the_answer_or_the_key_is_in_a_record():
    with sse_server(lambda number: [Program(), Program(status=400)][number % 2]) as server:
        records = [repr(ask(server.url, api_key="sk-very-secret").seen) for _ in range(2)]
        assert server.served[0].headers["authorization"] == "Bearer sk-very-secret"
        assert PROMPT in str(server.served[0].body)
    for record in records:
        assert "tök" not in record
        assert "secret" not in record


def test_the_request_asks_for_no_compression_and_can_be_found_in_a_servers_log():
    with sse_server() as server:
        ask(server.url)
        headers = server.served[0].headers
    assert headers["accept-encoding"] == "identity"
    assert headers["x-request-id"] == "warmgate-0-0"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    directory = tmp_path_factory.mktemp("tls")
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


def tls_server(certificate: tuple[Path, Path]) -> SseServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return SseServer(Program(), tls=context)


def test_tls_streams_like_plain_tcp_when_its_ca_is_given(certificate: tuple[Path, Path]):
    server = tls_server(certificate)
    seen = ask(server.url, ca_cert=certificate[0]).seen
    server.close()
    assert (seen.outcome, seen.tokens_per_chunk) == (Outcome.OK, (1,) * 6)


def test_tls_connections_that_stand_ready_serve_whatever_the_server_said_after_its_handshake(
    certificate: tuple[Path, Path],
):
    server = tls_server(certificate)
    target = target_of(server.url, None, certificate[0])
    pool = Pool(target.peer, 5, spare=0)
    pool.prepare(2)
    gevent.sleep(0.3)  # TLS 1.3's session tickets come after the handshake
    wires = [Wire(), Wire()]
    for wire in wires:
        exchange(target.peer, target.get("/v1/models"), LIMITS, wire, pool)
    assert [wire.ending for wire in wires] == [Ending.COMPLETE] * 2
    assert server.connections == 2
    server.stop()
    time.sleep(0.3)
    assert pool.take() is None, "and a closed one is seen to be"


def test_the_time_to_connect_has_the_tls_handshake_in_it(certificate: tuple[Path, Path]):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def serve() -> None:
        accepted, _ = listener.accept()
        time.sleep(0.3)
        with context.wrap_socket(accepted, server_side=True) as link:
            link.recv(65_536)
            link.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        target = target_of(f"https://127.0.0.1:{listener.getsockname()[1]}", None, certificate[0])
        wire = Wire()
        exchange(target.peer, target.get("/"), LIMITS, wire)
        thread.join()
    connect_s = settle(0, "p", 0.0, wire, 0).connect_s
    assert connect_s is not None
    assert 0.3 <= connect_s < 5


def test_an_unknown_certificate_is_refused_and_the_remedy_named(certificate: tuple[Path, Path]):
    server = tls_server(certificate)
    with pytest.raises(CannotObserve, match=r"certificate not trusted.*--ca-cert"):
        ask(server.url)
    server.close()


def test_a_slow_reader_of_the_request_is_no_crash():
    """The peer never reads: a request larger than the socket's buffers cannot be sent, and that is a timeout."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = ("127.0.0.1", listener.getsockname()[1])
        held: list[socket.socket] = []
        accepting = threading.Thread(target=lambda: held.append(listener.accept()[0]))
        accepting.start()
        wire = Wire()
        exchange(
            Peer("127.0.0.1", address[1], ((socket.AF_INET, address),)),
            b"x" * 50_000_000,
            replace(LIMITS, idle_s=0.3),
            wire,
        )
        accepting.join()
        held[0].close()
    assert (wire.ending, wire.why) == (Ending.TIMEOUT, "could not send within 0.3 s")
