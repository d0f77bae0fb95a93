"""The endpoint under load: its address, its headers, the model it serves; and the bytes of one completion request.

It decides what is asked of the server. The API key lives here and in the sent bytes, and nowhere else.
"""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from loadtest.http1 import Malformed, ResponseReader
from loadtest.profile import Profile
from loadtest.transport import Ending, Limits, Peer, Wire, exchange
from serving import __version__
from serving.errors import CannotObserve, Refused

PREFLIGHT_READ_S: Final = 30.0


@dataclass(frozen=True)
class Target:
    """An OpenAI-compatible endpoint. `base_url` has no `/v1` and no credentials."""

    base_url: str
    prefix: str
    peer: Peer
    headers: tuple[tuple[str, str], ...] = field(repr=False)

    def get(self, path: str) -> bytes:
        """The bytes of a GET request."""
        return self._request("GET", path, b"", ())

    def post(self, path: str, body: bytes, *headers: tuple[str, str]) -> bytes:
        """The bytes of a POST request with a JSON body."""
        return self._request("POST", path, body, (("Content-Type", "application/json"), *headers))

    def _request(self, method: str, path: str, body: bytes, headers: tuple[tuple[str, str], ...]) -> bytes:
        lines = [f"{method} {self.prefix}{path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in (*self.headers, *headers)]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def target_of(url: str, api_key: str | None = None, ca_cert: Path | None = None) -> Target:
    """Read the base URL, resolve its host once, trust the given roots. Raises Refused or CannotObserve."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise Refused("--base-url: the port is not a number from 0 to 65535") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused(f"--base-url {url!r}: give http://host:port or https://host:port")
    if parts.username is not None or parts.password is not None:
        raise Refused("--base-url: leave the credentials out; name a variable that holds the key with --api-key-env")
    if parts.query or parts.fragment:
        raise Refused("--base-url: leave out everything from ? or # on")
    if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key.strip()):
        raise Refused("the API key is empty or holds characters that no HTTP header can: check its variable")
    port = port or (443 if parts.scheme == "https" else 80)
    prefix = parts.path.rstrip("/").removesuffix("/v1")
    tls = _trust(ca_cert) if parts.scheme == "https" else None
    headers = [
        ("Host", parts.netloc),
        ("User-Agent", f"warmgate-loadtest/{__version__}"),
        ("Accept", "text/event-stream, application/json"),
        ("Accept-Encoding", "identity"),  # a gateway that compresses would batch tokens
        ("Connection", "close"),
    ]
    if api_key is not None:
        headers.append(("Authorization", f"Bearer {api_key.strip()}"))
    peer = Peer(parts.hostname, port, _resolve(parts.hostname, port), tls)
    return Target(f"{parts.scheme}://{parts.netloc}{prefix}", prefix, peer, tuple(headers))


def _resolve(host: str, port: int) -> tuple[Any, ...]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise CannotObserve(f"the host {host!r} has no address: check --base-url and the name server") from error
    return tuple((family, address) for family, _, _, _, address in found)


def _trust(ca_cert: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_cert)
    except (OSError, ssl.SSLError) as error:
        raise Refused(f"--ca-cert {ca_cert}: not a readable PEM file of certificates") from error


@dataclass(frozen=True)
class Served:
    """The model that will be asked, and whether the server counts tokens in each chunk when told to (vLLM does)."""

    model: str
    counts_tokens: bool


def find_model(target: Target, wanted: str | None, connect_s: float) -> Served:
    """Ask `/v1/models` which model to load, before anything is measured. Raises CannotObserve, naming the remedy."""
    wire = Wire()
    exchange(target.peer, target.get("/v1/models"), Limits(connect_s, PREFLIGHT_READ_S, PREFLIGHT_READ_S, 60.0), wire)
    reader = ResponseReader()
    try:
        for piece, at in wire.pieces:
            reader.feed(piece, at)
    except Malformed as error:
        raise CannotObserve(f"{target.base_url}/v1/models: {error}: is it an OpenAI-compatible server?") from error
    if reader.status is None:
        why = wire.why or "no answer"
        remedy = "give its CA with --ca-cert" if "certificate" in why else "is the server up, and --base-url right?"
        raise CannotObserve(f"{target.base_url}: {why}: {remedy}")
    if wire.ending not in (Ending.COMPLETE, Ending.CLOSED):
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


def completion_request(target: Target, served: Served, profile: Profile, prompt: str, request_id: str) -> bytes:
    """The bytes of one streamed chat completion. `request_id` lets a server's log be matched with the ledger."""
    body: dict[str, Any] = {
        "model": served.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": profile.max_tokens,
        "temperature": profile.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if served.counts_tokens:
        body["stream_options"]["continuous_usage_stats"] = True
    if profile.ignore_eos:
        body["ignore_eos"] = True
    encoded = json.dumps(body, separators=(",", ":")).encode()
    return target.post("/v1/chat/completions", encoded, ("X-Request-Id", request_id))
