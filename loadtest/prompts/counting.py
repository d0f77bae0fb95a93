"""Asks the server to count the tokens of a chat: vLLM's /tokenize, or the usage of a completion of one token. I/O.

It runs before the load, one request at a time. A server that cannot count is no error: lengths are approximated then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from loadtest.prompts.calibration import MEASURED_ALONE, Count
from loadtest.prompts.prompt import Message, user
from loadtest.target import Target
from loadtest.transport import Ending, Limits, Wire, exchange

MEASURED_BY_ANSWERS: Final = 24
LIMITS: Final = Limits(connect_s=5.0, first_byte_s=120.0, idle_s=30.0, total_s=150.0)


@dataclass(frozen=True)
class Counter:
    """A way to count that this server offers; how many words to measure one by one with it; the context length."""

    name: str
    count: Count
    alone: int
    context_tokens: int | None = None


def ask_json(target: Target, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON object that the server answers with; None for any other answer, or none."""
    wire = Wire()
    exchange(target.peer, target.post(path, json.dumps(body).encode()), LIMITS, wire)
    if wire.ending is not Ending.COMPLETE or wire.response.status != 200:
        return None
    try:
        answer = json.loads(b"".join(piece for piece, _ in wire.response.body))
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def counter_of(target: Target, model: str) -> Counter | None:
    """The best way to count that this server offers, or None."""
    trial = [user("yes")]

    def tokenized(messages: Sequence[Message]) -> dict[str, Any]:
        return ask_json(target, "/tokenize", {"model": model, "messages": list(messages)}) or {}

    def answered(messages: Sequence[Message]) -> int | None:
        body = {"model": model, "messages": list(messages), "max_tokens": 1, "temperature": 0}
        usage = (ask_json(target, "/v1/chat/completions", body) or {}).get("usage")
        return _whole(usage.get("prompt_tokens")) if isinstance(usage, dict) else None

    found = tokenized(trial)
    if _whole(found.get("count")) is not None:
        context = _whole(found.get("max_model_len"))
        return Counter("/tokenize", lambda messages: _whole(tokenized(messages).get("count")), MEASURED_ALONE, context)
    if answered(trial) is not None:
        return Counter("usage of one-token answers", answered, MEASURED_BY_ANSWERS)
    return None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
