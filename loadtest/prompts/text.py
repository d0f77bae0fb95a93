"""Writes texts of so many tokens, each with a beginning of its own. Pure, and fast: a text is a slice of one long tape.

The first words of a text spell its number, so that no two texts begin alike and no prefix cache can help; the words
after them are cut out of a tape of random words, which costs the same for ten tokens as for ten thousand.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import gcd
from random import Random
from typing import Final

from loadtest.prompts.draws import drawn
from loadtest.prompts.vocabulary import TAIL, Costs

BLOCK_TOKENS: Final = 512  # of the traces that name a prompt's blocks (Mooncake)
TAPE_WORDS: Final = 16_381  # a prime, so that every stride visits every word
NUMBERS: Final = 2**28
CUT, PREFIX, BLOCK, SCRAMBLE = range(4)


class Writer:
    """The texts of one run. Lengths are tokens as `costs` counts them, without the tail."""

    def __init__(self, costs: Costs, seed: int) -> None:
        self._costs, self._seed = costs, seed
        self._tape = _Tape(costs, seed)
        self._digits = 1  # how many words after the opener it takes to spell any number
        self._space = len(costs.openers) * len(costs.words)
        while self._space < NUMBERS and len(costs.words) > 1:
            self._digits, self._space = self._digits + 1, self._space * len(costs.words)
        self._factor = drawn(seed, 0, SCRAMBLE) % self._space
        while gcd(self._factor, self._space) != 1:
            self._factor += 1
        self._shift = drawn(seed, 1, SCRAMBLE) % self._space
        self._opener_costs = dict(zip(costs.words, costs.tokens, strict=True))

    @property
    def least(self) -> int:
        """The fewest tokens, beyond its opener, of a text with a beginning of its own."""
        return self._digits * max(self._costs.tokens)

    def text(self, number: int, body: int, prefix: int = 0, group: int = 0) -> str:
        """The text with this number (below 2**28): an opener, then words of `body` tokens, then the tail.

        Its first `prefix` tokens, at most so many as leave room for a beginning of its own, are those of every other
        text of its `group`.
        """
        opener, spelt, cost = self._spell(number)
        start = drawn(self._seed, number, CUT) % TAPE_WORDS
        prefix = min(prefix, body - self.least - max(self._costs.tokens))
        if prefix <= 0:
            return f"{opener} {spelt}{self._tape.exactly(start, body - cost)}{TAIL}"
        first, shared, used = self._prefix(group, prefix - 1)
        cost += used + self._opener_costs[opener]
        return f"{first}{shared} {opener} {spelt}{self._tape.exactly(start, body - cost)}{TAIL}"

    def blocks(self, names: Sequence[int], body: int) -> str:
        """A text of words of `body` tokens after its opener, made of named blocks of 512 tokens, the last one shorter.

        Texts whose first blocks have the same names begin with the same words, and differ from there on.
        """
        pieces: list[str] = []
        left = body
        for place, name in enumerate(names, start=1):
            opener, spelt, cost = self._spell(name)
            start = drawn(self._seed, name, BLOCK) % TAPE_WORDS
            if pieces:
                cost += self._opener_costs[opener]
            last = place == len(names) or left <= BLOCK_TOKENS
            tokens = left if last else BLOCK_TOKENS
            if tokens < cost:  # no room for a beginning of its own
                pieces.append(self._tape.exactly(start, tokens))
            else:
                pieces.append(f" {opener} {spelt}{self._tape.exactly(start, tokens - cost)}")
            left -= tokens
            if last:
                break
        return "".join(pieces)[1:] + TAIL

    def _spell(self, number: int) -> tuple[str, str, int]:
        """The opener and the further words that spell this number, and the cost of those further words."""
        costs = self._costs
        rest, digit = divmod((number * self._factor + self._shift) % self._space, len(costs.openers))
        opener = costs.openers[(digit + rest) % len(costs.openers)]  # so that even numbers have all openers too
        words, cost = [], 0
        for _ in range(self._digits):
            rest, digit = divmod(rest, len(costs.words))
            words.append(costs.words[digit])
            cost += costs.tokens[digit]
        return opener, " ".join(words), cost

    def _prefix(self, group: int, tokens: int) -> tuple[str, str, int]:
        opener = self._costs.openers[group % len(self._costs.openers)]
        start = (drawn(self._seed, 0, PREFIX) + group * 7_919) % TAPE_WORDS
        return opener, *self._tape.at_most(start, tokens)


class _Tape:
    """A ring of random words. Every cut begins with a space."""

    def __init__(self, costs: Costs, seed: int) -> None:
        picks = Random(seed).choices(range(len(costs.words)), k=TAPE_WORDS)
        ring = picks + picks  # so that a cut of up to one round is one slice
        self._text = "".join(f" {costs.words[pick]}" for pick in ring)
        self._chars = array("I", accumulate((len(costs.words[pick]) + 1 for pick in ring), initial=0))
        self._tokens = array("I", accumulate((costs.tokens[pick] for pick in ring), initial=0))
        self._round = self._tokens[TAPE_WORDS]
        self._plain = set(costs.tokens) == {1}
        dearest = max(costs.tokens)
        self._kept = 0 if self._plain else 4 * dearest
        self._fillers = _fillers(costs, self._kept + dearest)

    def at_most(self, start: int, tokens: int) -> tuple[str, int]:
        """Words from here on of so many tokens or a few less, and how many they are."""
        rounds, rest = divmod(max(tokens, 0), self._round)
        before = self._tokens[start]
        end = start + rest if self._plain else bisect_right(self._tokens, before + rest, start) - 1
        cut = self._text[self._chars[start] : self._chars[end]]
        if rounds:
            cut = self._text[self._chars[start] : self._chars[start + TAPE_WORDS]] * rounds + cut
        return cut, rounds * self._round + self._tokens[end] - before

    def exactly(self, start: int, tokens: int) -> str:
        """Words from here on of just so many tokens, as far as words can add up to them."""
        if self._plain:
            return self.at_most(start, tokens)[0]
        cut, used = self.at_most(start, tokens - self._kept)
        return cut + self._fillers[max(tokens - used, 0)]


def _fillers(costs: Costs, most: int) -> list[str]:
    """For each number of tokens up to `most`, words that cost just that, or as little less as words can."""
    cheapest: dict[int, str] = {}
    for word, cost in zip(costs.words, costs.tokens, strict=True):
        cheapest.setdefault(cost, word)
    exact: list[str | None] = [""]
    for tokens in range(1, most + 1):
        ways = (
            f"{way} {word}"
            for cost, word in cheapest.items()
            if cost <= tokens and (way := exact[tokens - cost]) is not None
        )
        exact.append(min(ways, key=len, default=None))
    found = ""
    return [found := way if way is not None else found for way in exact]
