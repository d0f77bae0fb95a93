"""Decides whether a short text can be a language model's answer at all. It knows nothing of what the answer should say.

A broken engine (wrong weights, overflowing half precision, a wrong tokenizer) streams well-formed rubbish: nothing, one
token for ever, or bytes that are no text.
"""

from __future__ import annotations

import re
from typing import Final

PRINTABLE_SHARE: Final = 0.9
REPEATED_SHARE: Final = 0.6
LOOKED_AT: Final = 2000
# A unit of up to 24 characters, five times or more in a row: the shape of a sampler that is stuck.
STUCK: Final = re.compile(r"(.{1,24}?)\1{4,}", re.DOTALL)


def implausible(text: str) -> str | None:
    """Why this cannot be an answer, in a few words, or None.

    >>> implausible("The capital of France is Paris.") is None
    True
    >>> implausible("!!!!!!!!!!!!!!!!!!!!")
    "one piece over and over: '!'"
    """
    text = text[:LOOKED_AT]
    if not text.strip():
        return "empty"
    good = sum(1 for char in text if (char.isprintable() or char.isspace()) and char != "\ufffd")
    if good < PRINTABLE_SHARE * len(text):
        return f"{1 - good / len(text):.0%} of its characters are not printable"
    runs = list(STUCK.finditer(text))
    if sum(len(run.group()) for run in runs) >= REPEATED_SHARE * len(text):
        return f"one piece over and over: {runs[0].group(1)!r}"
    return None
