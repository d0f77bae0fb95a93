"""Reads one entry of a prompt file: a JSON value -> messages, in the shapes that data sets come in. Pure.

It quotes nothing of what it refuses but names of keys and roles: a prompt may be somebody's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from loadtest.prompts.prompt import Message

ROLES: Final = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "system": "system",
    "developer": "developer",
}
SHAPES: Final = 'give {"prompt": ...}, {"messages": [...]} or {"conversations": [{"from": ..., "value": ...}]}'


class WrongShape(ValueError):
    """This entry cannot be asked. The message says what is wrong, in a few words, with the remedy."""


@dataclass(frozen=True)
class Record:
    """One entry. `turns` are the positions of the user's messages; `opens` says that only the first is asked unless
    conversations are wanted: a recorded talk's other turns answer what somebody else's model said.
    """

    messages: tuple[Message, ...]
    turns: tuple[int, ...]
    opens: bool
    max_tokens: int | None
    expect: tuple[str, ...]
    expect_any: tuple[str, ...]
    ignore_case: bool


def record_of(entry: Any) -> Record | None:
    """The record in this JSON value; None where nobody asks anything in it. Raises WrongShape."""
    if not isinstance(entry, dict):
        raise WrongShape(f"is not an object: {SHAPES}")
    given = [key for key in ("prompt", "messages", "conversations") if key in entry]
    if len(given) != 1:
        raise WrongShape(f"has {' and '.join(given) or 'no prompt'}: {SHAPES}")
    (key,) = given
    if key == "prompt":
        messages = [("user", _text(entry["prompt"], "prompt"))]
    else:
        role, content = ("role", "content") if key == "messages" else ("from", "value")
        messages = _messages(entry[key], key, role, content)
    messages = _askable(messages)
    if not messages:
        return None
    return Record(
        messages=tuple({"role": role, "content": content} for role, content in messages),
        turns=tuple(at for at, (role, _) in enumerate(messages) if role == "user"),
        opens=key == "conversations",
        max_tokens=_max_tokens(entry.get("max_tokens")),
        expect=_texts(entry.get("expect"), "expect"),
        expect_any=_texts(entry.get("expect_any"), "expect_any"),
        ignore_case=_flag(entry.get("ignore_case", True)),
    )


def _messages(found: Any, key: str, role_key: str, text_key: str) -> list[tuple[str, str]]:
    if not isinstance(found, list):
        raise WrongShape(f"has {key} that are no list: {SHAPES}")
    messages = []
    for number, message in enumerate(found, start=1):
        if not isinstance(message, dict):
            raise WrongShape(f"has in {key} no object as number {number}: {SHAPES}")
        said = message.get(role_key)
        role = ROLES.get(said) if isinstance(said, str) else None
        if role is None:
            raise WrongShape(
                f"has a message {number} without a known `{role_key}`: give human or gpt, user or assistant"
            )
        messages.append((role, _text(message.get(text_key), text_key)))
    return messages


def _askable(messages: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """From the first message that may open a chat to the last that the user wrote; without empty ones."""
    kept = [(role, text) for role, text in messages if text.strip()]
    while kept and kept[0][0] == "assistant":
        kept.pop(0)
    while kept and kept[-1][0] != "user":
        kept.pop()
    return kept


def _text(found: Any, key: str) -> str:
    if not isinstance(found, str):
        raise WrongShape(f"has a `{key}` that is not text: give plain text")
    try:
        found.encode()
    except UnicodeEncodeError as error:
        raise WrongShape(f"has a `{key}` with half a character (\\ud800 to \\udfff): mend or drop it") from error
    return found


def _texts(found: Any, key: str) -> tuple[str, ...]:
    texts = [] if found is None else [found] if isinstance(found, str) else found
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise WrongShape(f'has an `{key}` that is not a list of texts: give e.g. ["Paris"]')
    return tuple(texts)


def _max_tokens(found: Any) -> int | None:
    if found is not None and (not isinstance(found, int) or isinstance(found, bool) or found < 1):
        raise WrongShape("has a `max_tokens` that is not a number from 1 on")
    return found


def _flag(found: Any) -> bool:
    if not isinstance(found, bool):
        raise WrongShape("has an `ignore_case` that is neither true nor false")
    return found
