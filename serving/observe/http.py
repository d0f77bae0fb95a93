"""HTTP as the observers use it: one client, one translation of its errors into one-line reasons, one bounded GET.

Asks the named address directly: proxy variables of the environment are not followed, redirects are not either, and a
key goes only where the caller sends it. Nothing here knows what an answer means.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import json
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from serving.errors import Refused
from serving.facts.seen import Unseen

BODY_LIMIT: Final = 4 * 1024 * 1024


@dataclass(frozen=True)
class Reply:
    """A whole answer: status, body, and where a redirect pointed."""

    status: int
    body: bytes
    location: str = ""

    def json(self) -> Any:
        """The body as JSON, or None when it is not."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def excerpt(self) -> str:
        """What the body says, in at most 160 characters: an error's message where it is JSON, else its first words."""
        error = member(self.json(), "error") or self.json()
        text = member(error, "message") or member(error, "reason") or error
        if not isinstance(text, str):
            text = self.body[:1000].decode("utf-8", "replace")
        return " ".join(text.split())[:160]


def member(value: Any, name: str) -> Any:
    """A member of a JSON object, or None where there is no such member or no object."""
    return value.get(name) if isinstance(value, dict) else None


def open_client(ca_cert: Path | None = None) -> httpx.AsyncClient:
    """A client for one verification; close it. `ca_cert` replaces the system's trust store."""
    try:
        context = _context(ca_cert)
    except (OSError, ssl.SSLError) as error:
        raise Refused(f"--ca-cert {ca_cert}: not a readable PEM file ({error}); name the CA's certificate") from error
    return httpx.AsyncClient(verify=context, trust_env=False, follow_redirects=False, timeout=None)


@functools.cache
def _context(ca_cert: Path | None) -> ssl.SSLContext:
    """Reading a trust store costs more than a request: a wait that polls twice a second reads it once."""
    return ssl.create_default_context(cafile=str(ca_cert) if ca_cert else None)


async def get(
    client: httpx.AsyncClient, url: str, *, bound_s: float, headers: dict[str, str] | None = None
) -> Reply | Unseen:
    """GET within `bound_s` seconds in all, or the reason why there is no answer. Bodies over 4 MiB are refused."""
    try:
        async with asyncio.timeout(bound_s), client.stream("GET", url, headers=headers) as response:
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > BODY_LIMIT:
                    return unseen("the answer is over 4 MiB: is this the right address?", url)
            return Reply(response.status_code, bytes(body), response.headers.get("location", ""))
    except TimeoutError:
        return unseen(f"no answer within {bound_s:.3g} s", url)
    except httpx.HTTPError as error:
        return unseen(reason(error, url), url)


def unseen(why: str, source: str) -> Unseen:
    """An Unseen of now."""
    return Unseen(why, source, time.time())


def turned_away(reply: Reply) -> str | None:
    """Why an answer is no answer to the question: a redirect, or a door that wants a key. None when it is one."""
    if 300 <= reply.status < 400:
        return f"HTTP {reply.status} redirects to {reply.location or 'nowhere'}: give that address instead"
    if reply.status == 401:
        return "HTTP 401: it wants an API key; name the variable that holds it with --api-key-env"
    if reply.status == 403:
        return "HTTP 403: this caller or its API key is not allowed"
    if reply.status == 407:
        return "HTTP 407: a proxy wants credentials; give the server's own address"
    return None


def reason(error: httpx.HTTPError, url: str) -> str:
    """Why a request failed, in one line that a person can act on. The only place that knows httpx's errors."""
    address = httpx.URL(url)
    where = f"{address.host}:{address.port or {'http': 80, 'https': 443}.get(address.scheme)}"
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"TLS: the certificate of {where} is not trusted ({cause.verify_message}); name its CA with --ca-cert"
            )
        if isinstance(cause, ssl.SSLError):
            return f"TLS: no handshake with {where} ({cause.reason or cause}); does it speak plain http?"
        if isinstance(cause, socket.gaierror):
            return f"the name {address.host} does not resolve"
        if isinstance(cause, ConnectionRefusedError):
            return f"connection refused: nothing listens on {where}"
        if isinstance(cause, OSError) and cause.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            return f"no route to {where}"
    match error:
        case httpx.ConnectTimeout():
            return f"{where} does not take connections (a firewall drops them, or the address is wrong)"
        case httpx.TimeoutException():
            return f"{where} did not answer in time"
        case httpx.ConnectError():
            return f"no connection to {where}"
        case httpx.RemoteProtocolError():
            return f"{where} broke off or does not speak http (is it an https port?)"
        case httpx.NetworkError():
            return f"the connection to {where} broke (is it restarting, or an https port?)"
        case _:
            return f"{type(error).__name__} from {where}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and everything below it, through causes, contexts and groups."""
    seen: set[int] = set()
    stack: list[BaseException | None] = [error]
    while stack:
        cause = stack.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        stack += [cause.__context__, cause.__cause__]
        if isinstance(cause, BaseExceptionGroup):
            stack += cause.exceptions
