"""Unknown is a value: every fact is Seen(value, source, at) or Unseen(why, source, at). Unseen never passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Seen(Generic[T]):
    """A value that was observed.

    `source` names where it came from (a URL, a file, an API object), `at` is the time it was observed, in Unix seconds.
    """

    value: T
    source: str
    at: float


@dataclass(frozen=True)
class Unseen:
    """A value that could not be observed, and why: one line that a person can act on."""

    why: str
    source: str
    at: float


Fact = Seen[T] | Unseen
