from __future__ import annotations

import socket

import pytest


@pytest.mark.parametrize("host", [pytest.param("192.0.2.1", id="address"), pytest.param("example.org", id="name")])
def test_the_guard_refuses_a_connection_off_loopback(host: str, strayed: list[str]) -> None:
    with pytest.raises(PermissionError, match="loopback only"):
        socket.create_connection((host, 80), timeout=1)
    assert strayed == [host]
    strayed.clear()


def test_the_guard_lets_loopback_pass() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()
