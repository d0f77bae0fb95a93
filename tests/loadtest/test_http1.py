"""The response reader against h11, an independent reading of the same bytes, for every place the network may cut."""

from __future__ import annotations

import itertools

import h11
import pytest

from loadtest.http1 import Malformed, ResponseReader

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n"

WHOLE = [
    pytest.param(CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", id="chunked"),
    pytest.param(CHUNKED + b"5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n", id="extension-and-trailer"),
    pytest.param(CHUNKED + b"8\r\n\r\n0\r\n\r\nx\r\n0\r\n\r\n", id="a-body-that-looks-like-the-end"),
    pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", id="content-length"),
    pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", id="empty-body"),
    pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="no-content"),
    pytest.param(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
        + CHUNKED
        + b"1\r\nx\r\n0\r\n\r\n",
        id="interim-responses",
    ),
    pytest.param(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 2\r\n\r\nno", id="error"),
]


def by_h11(raw: bytes) -> tuple[int, bytes]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    status, body = 0, b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        assert not isinstance(event, type), event
        if isinstance(event, h11.Response):
            status = event.status_code
        if isinstance(event, h11.Data):
            body += bytes(event.data)
    return status, body


def read(pieces: list[bytes]) -> ResponseReader:
    reader = ResponseReader()
    for at, piece in enumerate(pieces):
        reader.feed(piece, at)
    return reader


def body(reader: ResponseReader) -> bytes:
    return b"".join(data for data, _ in reader.body)


@pytest.mark.parametrize("raw", WHOLE)
def test_a_response_reads_the_same_wherever_it_was_cut(raw: bytes):
    expected = by_h11(raw)
    for a, b in itertools.combinations(range(len(raw) + 1), 2):
        reader = read([raw[:a], raw[a:b], raw[b:]])
        assert (reader.status, body(reader), reader.complete) == (*expected, True), (a, b)
    reader = read([raw[i : i + 1] for i in range(len(raw))])
    assert (reader.status, body(reader), reader.complete) == (*expected, True)


@pytest.mark.parametrize("raw", WHOLE)
def test_a_response_without_its_last_byte_is_not_complete(raw: bytes):
    assert not read([raw[:-1]]).complete


def test_each_piece_of_the_body_has_the_stamp_of_the_bytes_that_brought_it():
    reader = ResponseReader()
    for piece, at in ((CHUNKED, 10), (b"5\r\nhe", 20), (b"llo\r\n6\r\n wor", 30), (b"ld\r\n0\r\n\r\n", 40)):
        reader.feed(piece, at)
    assert reader.headers_at == 10
    assert reader.body == [(b"he", 20), (b"llo", 30), (b" wor", 30), (b"ld", 40)]


def test_a_body_without_a_length_is_whole_when_the_peer_closes():
    reader = read([b"HTTP/1.1 200 OK\r\n\r\nabc"])
    before = reader.complete
    reader.close()
    assert (before, reader.complete) == (False, True)
    assert body(reader) == b"abc"


def test_a_chunked_body_is_not_whole_because_the_peer_closes():
    reader = read([CHUNKED + b"5\r\nhel"])
    reader.close()
    assert not reader.complete


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another-protocol"),
        pytest.param(b"HTTP/2 200\r\n\r\n", id="http2"),
        pytest.param(b"HTTP/1.1 abc\r\n\r\n", id="status"),
        pytest.param(b"HTTP/1.1 200 OK\r\nnocolon\r\n\r\n", id="header"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n", id="negative-length"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 5_000 + b"\r\n\r\n", id="endless-length"),
        pytest.param(CHUNKED + b"zz\r\n", id="chunk-size"),
        pytest.param(CHUNKED + b"-1\r\n", id="negative-chunk"),
        pytest.param(CHUNKED + b"\r\n", id="no-chunk-size"),
        pytest.param(CHUNKED + b"2\r\nabc\r\n", id="chunk-longer-than-announced"),
        pytest.param(CHUNKED + b"1" * 2_000, id="endless-chunk-size"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000, id="endless-head"),
    ],
)
def test_what_is_not_http_is_malformed(raw: bytes):
    with pytest.raises(Malformed):
        read([raw])
