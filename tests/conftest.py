"""What every test shares: the guard that keeps tests off the network, and the one prepared model."""

from __future__ import annotations

import ipaddress
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.embedded import model
from serving.embedded.progress import on_stream

_MODEL_TIMEOUT_S = 600  # the first test of a machine's life that asks for the model downloads 93 MB and converts them
_strayed: list[str] = []


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("", "localhost")


def _refuse_to_leave_loopback(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook sees every look-up and connection of Python's sockets, whichever library makes it."""
    if event == "socket.getaddrinfo":
        host = arguments[0] or ""
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        sock, address = arguments
        if sock.family not in (socket.AF_INET, socket.AF_INET6) or address is None:
            return
        host = address[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if not _is_loopback(host):
        _strayed.append(host)
        raise PermissionError(f"a test tried to reach {host}: tests talk to loopback only")


sys.addaudithook(_refuse_to_leave_loopback)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job: the tests' children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def strayed() -> Iterator[list[str]]:
    """Fails a test that tried to leave loopback even where the code under test swallowed the refusal."""
    _strayed.clear()
    yield _strayed
    assert not _strayed, f"tried to reach {_strayed}"


@pytest.fixture(scope="session")
def embedded_model() -> Path:
    """The embedded model's directory, prepared once in the person's own cache (honours XDG_CACHE_HOME)."""
    pytest.importorskip("gguf", reason="needs the embedded extra")
    return model.prepare(on_stream())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        needs_model = "embedded_model" in getattr(item, "fixturenames", ())
        if needs_model and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_MODEL_TIMEOUT_S))
