"""The bytes of one streamed chat completion: what is the same for all requests of a run is made once.

It decides what is asked of the server. The API key is in the target's headers, and so in these bytes, and nowhere else.
"""

from __future__ import annotations

from typing import Any

import msgspec

from loadtest.profile import Profile
from loadtest.prompts.prompt import Prompt
from loadtest.target import Served, Target

PATH = "/v1/chat/completions"


class Requests:
    """Makes the requests of a run for one endpoint."""

    def __init__(self, target: Target, served: Served, profile: Profile) -> None:
        self._fixed: dict[str, Any] = {
            "model": served.model,
            "max_tokens": profile.max_tokens,
            "temperature": profile.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if served.counts_tokens:
            self._fixed["stream_options"]["continuous_usage_stats"] = True
        if profile.ignore_eos:
            self._fixed["ignore_eos"] = True
        self._head = target.head("POST", PATH, ("Content-Type", "application/json"))

    def bytes_of(self, prompt: Prompt, request_id: str, max_tokens: int | None = None) -> bytes:
        """One request. `request_id` lets a server's log be matched with the ledger, `max_tokens` replaces the run's."""
        body = {**self._fixed, "messages": prompt.messages}
        longest = prompt.max_tokens or max_tokens
        if longest is not None:
            body["max_tokens"] = longest
        encoded = msgspec.json.encode(body)
        ending = f"X-Request-Id: {request_id}\r\nContent-Length: {len(encoded)}\r\n\r\n"
        return self._head + ending.encode("ascii") + encoded
