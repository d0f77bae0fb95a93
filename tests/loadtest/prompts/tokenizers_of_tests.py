"""Servers' ways of counting, written without the code under test: each returns the tokens of a whole chat."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from zlib import crc32

Chat = Sequence[dict[str, str]]
Count = Callable[[Chat], int]


def by_space(chat: Chat) -> int:
    """A token a word; 11 for the template and 4 for each message."""
    return 11 + sum(4 + len(message["content"].split()) for message in chat)


def by_byte(chat: Chat) -> int:
    """A token a byte, the template's too."""
    rendered = "".join(f"<|{message['role']}|>\n{message['content']}</s>\n" for message in chat)
    return len(f"{rendered}<|assistant|>\n".encode())


def by_word(chat: Chat) -> int:
    """Some 30 % of all words are two tokens."""
    words = [word for message in chat for word in message["content"].split()]
    return 9 + 3 * len(chat) + sum(1 + (crc32(word.encode()) % 10 < 3) for word in words)


def in_proportion(chat: Chat) -> int:
    """1.3 tokens a word, rounded up once for a message: no word has a cost of its own."""
    return 20 + sum(5 + math.ceil(1.3 * len(message["content"].split())) for message in chat)


ALL: dict[str, Count] = {
    "by-space": by_space,
    "by-byte": by_byte,
    "by-word": by_word,
    "in-proportion": in_proportion,
}


def close(found: int, asked: int) -> bool:
    """Within one token or one percent."""
    return abs(found - asked) <= max(1, asked * 0.01)
