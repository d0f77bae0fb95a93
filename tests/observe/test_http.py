"""What can go wrong on the way to an answer, each in its own words, on real sockets where loopback can show it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.errors import Refused
from serving.facts.seen import Unseen
from serving.observe.http import Reply, get, open_client, reason, turned_away
from tests.fakes.agent_server import Script, agent_server


def ask(url: str, ca_cert: Path | None = None, bound_s: float = 5.0) -> Reply | Unseen:
    async def once() -> Reply | Unseen:
        async with open_client(ca_cert) as client:
            return await get(client, url, bound_s=bound_s)

    return asyncio.run(once())


def why(url: str, **options: object) -> str:
    reply = ask(url, **options)  # type: ignore[arg-type]
    assert isinstance(reply, Unseen)
    assert reply.source == url
    assert "\n" not in reply.why
    return reply.why


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run([*command.split(), *names], check=True, capture_output=True, timeout=90)
    except FileNotFoundError:
        pytest.skip("no openssl to make a certificate with")
    return cert, key


@pytest.fixture
def raw_server() -> Iterator[tuple[str, list[bytes]]]:
    """Answers each connection with the bytes in the list, then closes it."""
    answer: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"".join(answer))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", answer
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_a_closed_port_refuses(free_port: int):
    assert why(f"http://127.0.0.1:{free_port}/") == f"connection refused: nothing listens on 127.0.0.1:{free_port}"


def test_a_server_that_hangs_is_given_up_after_the_bound():
    with agent_server(Script(hang=frozenset({"/modelz"}))) as server:
        assert why(f"{server.url}/modelz", bound_s=0.3) == "no answer within 0.3 s"


def test_an_unknown_certificate_is_not_trusted_until_its_ca_is_named(certificate: tuple[Path, Path]):
    with agent_server(tls=certificate) as server:
        assert "is not trusted" in why(f"{server.url}/readyz")
        assert "--ca-cert" in why(f"{server.url}/readyz")
        reply = ask(f"{server.url}/readyz", ca_cert=certificate[0])
        assert isinstance(reply, Reply)
        assert reply.status == 200


def test_https_asked_of_a_plain_port_says_so():
    with agent_server() as server:
        assert "does it speak plain http?" in why(server.url.replace("http:", "https:") + "/readyz")


def test_http_asked_of_a_tls_port_says_so(certificate: tuple[Path, Path]):
    with agent_server(tls=certificate) as server:
        assert "https" in why(server.url.replace("https:", "http:") + "/readyz")


def test_a_server_that_speaks_no_http_says_so(raw_server: tuple[str, list[bytes]]):
    url, answer = raw_server
    answer.append(b"SSH-2.0-OpenSSH_9.6\r\n")
    assert "does not speak http" in why(url)


def test_a_connection_closed_without_an_answer_says_so(raw_server: tuple[str, list[bytes]]):
    assert "broke" in why(raw_server[0])


def test_a_truncated_body_is_no_answer(raw_server: tuple[str, list[bytes]]):
    url, answer = raw_server
    answer.append(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort")
    assert "broke" in why(url)


def test_an_endless_body_is_refused_rather_than_read(raw_server: tuple[str, list[bytes]]):
    url, answer = raw_server
    answer.append(b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n" + b"x" * 5_000_000)
    assert "over 4 MiB" in why(url)


def test_a_name_that_does_not_resolve_says_so():
    error = httpx.ConnectError("boom")
    error.__cause__ = OSError("all attempts failed")
    error.__cause__.__cause__ = ExceptionGroup("several", [socket.gaierror(-2, "Name or service not known")])
    assert reason(error, "http://nowhere.example/x") == "the name nowhere.example does not resolve"


def test_every_error_of_httpx_has_one_line():
    def leaves(kind: type[httpx.RequestError]) -> Iterator[type[httpx.RequestError]]:
        for sub in kind.__subclasses__():
            yield sub
            yield from leaves(sub)

    kinds = set(leaves(httpx.RequestError))
    assert {httpx.ConnectTimeout, httpx.ReadError, httpx.RemoteProtocolError, httpx.DecodingError} <= kinds
    for kind in kinds:
        text = reason(kind("boom\nboom"), "https://h")
        assert "h:443" in text
        assert "\n" not in text


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch, free_port: int):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with agent_server() as server:
        assert isinstance(ask(f"{server.url}/readyz"), Reply)


def test_a_file_that_is_no_certificate_is_a_usage_error(tmp_path: Path):
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(Refused, match="--ca-cert"):
        open_client(tmp_path / "ca.pem")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        pytest.param(307, "redirects to https://h/", id="redirect"),
        pytest.param(401, "--api-key-env", id="no-key"),
        pytest.param(403, "not allowed", id="wrong-key"),
    ],
)
def test_a_door_that_stays_shut_says_what_it_wants(status: int, words: str):
    assert words in (turned_away(Reply(status, b"", "https://h/")) or "")


@pytest.mark.parametrize("status", [200, 400, 404, 429, 500, 503])
def test_any_other_answer_is_an_answer(status: int):
    assert turned_away(Reply(status, b"")) is None


@pytest.mark.parametrize(
    ("body", "excerpt"),
    [
        pytest.param(json.dumps({"error": {"message": "no\nsuch model"}}).encode(), "no such model", id="openai"),
        pytest.param(json.dumps({"message": "loading"}).encode(), "loading", id="message"),
        pytest.param(json.dumps({"reason": "loading"}).encode(), "loading", id="reason"),
        pytest.param(json.dumps({"error": "boom"}).encode(), "boom", id="bare-error"),
        pytest.param(b"no healthy upstream", "no healthy upstream", id="text"),
        pytest.param(b"[1, 2]", "[1, 2]", id="json-list"),
        pytest.param(b"\xff\xfe", "��", id="not-utf-8"),
        pytest.param(b"x" * 500, "x" * 160, id="long"),
        pytest.param(b"", "", id="empty"),
    ],
)
def test_an_answer_is_quoted_by_its_message_or_its_first_words(body: bytes, excerpt: str):
    assert Reply(500, body).excerpt == excerpt
