"""One prompt as the dispatcher sends it, and what every source of prompts can do. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

Message = dict[str, str]


def user(text: str) -> Message:
    """A message of the user."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    """A message of the assistant."""
    return {"role": "assistant", "content": text}


@dataclass(slots=True)  # not frozen: that would cost each request 2 us more, and a whole prompt costs 10
class Prompt:
    """What one request asks. `id` is its name in the ledger and never holds text.

    `max_tokens` is None where the profile's own holds. The answer should contain all of `expect`, and one of
    `expect_any`. `asked_tokens` is the length that the server should count, where one was asked for.
    """

    id: str
    messages: tuple[Message, ...]
    max_tokens: int | None = None
    expect: tuple[str, ...] = ()
    expect_any: tuple[str, ...] = ()
    ignore_case: bool = True
    asked_tokens: int | None = None

    @property
    def text(self) -> str:
        """What the user says last."""
        return self.messages[-1]["content"]


class Prompts(Protocol):
    """Gives the prompt of each request, always the same one for the same index."""

    @property
    def distinct(self) -> int | None:
        """After how many requests the prompts begin again; None when they never do."""

    def prompt_of(self, index: int) -> Prompt:
        """The prompt of the request with this index."""


def sane(prompt: Prompt, answer: str) -> bool | None:
    """Whether the answer contains what it should; None where nothing is expected of it."""
    if not prompt.expect and not prompt.expect_any:
        return None
    fold = str.casefold if prompt.ignore_case else str
    said = fold(answer)
    found = [fold(part) in said for part in prompt.expect]
    return all(found) and (not prompt.expect_any or any(fold(part) in said for part in prompt.expect_any))
