"""Synthetic prompts: varied, deterministic by seed, and different from their first words on. No I/O.

A prompt that another request shared would be answered out of the server's prefix cache, and look faster than any user
will ever see.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NOUNS: Final = _words(
    "river harbour engine orchard lantern market bridge garden valley station kitchen forest library mountain window "
    "island village factory meadow tower workshop canal desert theatre museum airport railway glacier castle"
)
VERBS: Final = _words(
    "carries follows repairs measures crosses opens paints forgets gathers answers borrows explains watches changes "
    "delivers compares protects discovers remembers divides"
)
ADJECTIVES: Final = _words(
    "quiet early narrow bright heavy patient distant careful golden broken simple frozen gentle hidden ancient busy "
    "curious empty famous honest"
)


@dataclass(frozen=True)
class Prompts:
    """The prompts of a run: about `words` words each; `distinct` many, or one for each request."""

    seed: int
    words: int
    distinct: int | None = None

    def id(self, index: int) -> str:
        """The name under which the ledger knows the prompt of a request: never its text."""
        return f"synthetic-{self.seed}-{self._number(index)}"

    def text(self, index: int) -> str:
        """The prompt of the request with this index."""
        number = self._number(index)
        rng = random.Random(f"{self.seed}/{number}")
        words = [f"Story {number}-{self.seed}:"]
        while len(words) < self.words:
            words += f"the {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)} {rng.choice(VERBS)}".split()
            words += f"the {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)},".split()
        return " ".join(words[: self.words]) + " and then"

    def _number(self, index: int) -> int:
        return index if self.distinct is None else index % self.distinct
