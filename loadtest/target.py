"""The endpoint under load: its address, its headers, whom to trust, the model it serves.

It refuses what is no address before anything is sent. The API key lives here and in the sent bytes, and nowhere else.
"""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from loadtest.transport import Ending, Limits, Peer, Wire, exchange
from serving import __version__
from serving.errors import CannotObserve, Refused

PREFLIGHT_READ_S: Final = 30.0


@dataclass(frozen=True)
class Target:
    """An OpenAI-compatible endpoint. `base_url` has no `/v1` and no credentials.

    `given` are the arguments of `target_of`: pickled, it is those, and is made again from them where it arrives.
    """

    base_url: str
    prefix: str
    peer: Peer
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    given: tuple[Any, ...] = field(repr=False, compare=False, default=())

    def __reduce__(self) -> tuple[Any, ...]:
        return target_of, self.given

    def get(self, path: str) -> bytes:
        """The bytes of a GET request."""
        return self.head("GET", path) + b"\r\n"

    def post(self, path: str, body: bytes) -> bytes:
        """The bytes of a POST request with a JSON body."""
        length = ("Content-Length", str(len(body)))
        return self.head("POST", path, ("Content-Type", "application/json"), length) + b"\r\n" + body

    def head(self, method: str, path: str, *headers: tuple[str, str]) -> bytes:
        """The request line and the headers, to which more may be added; without the empty line that ends them."""
        lines = [f"{method} {self.prefix}{path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in (*self.headers, *headers)]
        return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def target_of(
    url: str,
    api_key: str | None = None,
    ca_cert: Path | None = None,
    client_cert: Path | None = None,
    client_key: Path | None = None,
) -> Target:
    """Read the base URL, resolve its host once, trust the given roots. Raises Refused or CannotObserve.

    `client_cert` is a PEM file with the harness's own certificate, and its key unless `client_key` holds it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Refused("the base URL: its host or its port, a number from 0 to 65535, is not well written") from error
    if "@" in (parts.netloc or url):
        raise Refused("the base URL: leave the credentials out; name a variable that holds the key with --api-key-env")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused(f"the base URL {url!r}: give http://host:port or https://host:port")
    if not url.isascii() or any(sign <= " " for sign in url):
        raise Refused(f"the base URL {url!r}: write a host's other letters as xn--, a path's as %XX")
    if parts.query or parts.fragment:
        raise Refused("the base URL: leave out everything from ? or # on")
    if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key.strip()):
        raise Refused("the API key is empty or holds characters that no HTTP header can: check its variable")
    port = (443 if parts.scheme == "https" else 80) if port is None else port
    prefix = parts.path.rstrip("/").removesuffix("/v1")
    if parts.scheme == "http" and (client_cert is not None or client_key is not None):
        raise Refused("--client-cert and --client-key: for https:// only; the base URL is http://")
    tls = _trust(ca_cert, client_cert, client_key) if parts.scheme == "https" else None
    headers = [
        ("Host", parts.netloc),
        ("User-Agent", f"warmgate-loadtest/{__version__}"),
        ("Accept", "text/event-stream, application/json"),
        ("Accept-Encoding", "identity"),  # a gateway that compresses would batch tokens
    ]
    if api_key is not None:
        headers.append(("Authorization", f"Bearer {api_key.strip()}"))
    peer = Peer(parts.hostname, port, _resolve(parts.hostname, port), tls)
    given = (url, api_key, ca_cert, client_cert, client_key)
    return Target(f"{parts.scheme}://{parts.netloc}{prefix}", prefix, peer, tuple(headers), given)


def _resolve(host: str, port: int) -> tuple[Any, ...]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise CannotObserve(f"the host {host!r} has no address: check the base URL and the name server") from error
    return tuple((family, address) for family, _, _, _, address in found)


def _trust(ca_cert: Path | None, client_cert: Path | None, client_key: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_cert)
    except (OSError, ssl.SSLError) as error:
        raise Refused(f"--ca-cert {ca_cert}: not a readable PEM file of certificates") from error
    if client_cert is None:
        if client_key is not None:
            raise Refused("--client-key goes with --client-cert: give the certificate too")
        return context
    try:
        context.load_cert_chain(client_cert, client_key, password="")  # never ask on the terminal
    except (OSError, ssl.SSLError, ValueError) as error:
        raise Refused(
            f"--client-cert {client_cert}: not a PEM file of a certificate with its unencrypted key"
        ) from error
    return context


@dataclass(frozen=True)
class Served:
    """The model that will be asked, and whether the server counts tokens in each chunk when told to (vLLM does)."""

    model: str
    counts_tokens: bool


def find_model(target: Target, wanted: str | None, connect_s: float) -> Served:
    """Ask `/v1/models` which model to load, before anything is measured. Raises CannotObserve, naming the remedy."""
    wire = Wire()
    exchange(target.peer, target.get("/v1/models"), Limits(connect_s, PREFLIGHT_READ_S, PREFLIGHT_READ_S, 60.0), wire)
    reader = wire.response
    if wire.ending is Ending.MALFORMED:
        raise CannotObserve(f"{target.base_url}/v1/models: {wire.why}: is it an OpenAI-compatible server?")
    if reader.status is None:
        why = wire.why or "no answer"
        remedy = "give its CA with --ca-cert" if "certificate" in why else "is the server up, and --base-url right?"
        raise CannotObserve(f"{target.base_url}: {why}: {remedy}")
    if wire.ending is not Ending.COMPLETE:
        raise CannotObserve(f"{target.base_url}/v1/models: {wire.why}: is the server well?")
    if reader.status == 404 and wanted is not None:  # a gateway may let completions through and nothing else
        return Served(wanted, counts_tokens=False)
    if reader.status in (401, 403):
        raise CannotObserve(f"{target.base_url}/v1/models: HTTP {reader.status}: name the key with --api-key-env")
    if reader.status != 200:
        raise CannotObserve(f"{target.base_url}/v1/models: HTTP {reader.status}: wait until the server is ready")
    models = _models(b"".join(data for data, _ in reader.body))
    if not models:
        raise CannotObserve(f"{target.base_url}/v1/models lists no model: is it an OpenAI-compatible server?")
    model = next(iter(models)) if wanted is None else wanted
    if model not in models:
        raise CannotObserve(f"{target.base_url} does not serve {model!r}: give --model one of {', '.join(models)}")
    return Served(model, counts_tokens=models[model] == "vllm")


def _models(body: bytes) -> dict[str, str]:
    """Each served model's id, and who says to own it."""
    try:
        entries = json.loads(body)["data"]
        return {str(entry["id"]): str(entry.get("owned_by", "")) for entry in entries}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
