"""Synthetic prompts: lengths drawn from a law, prefixes shared as asked, and conversations with scripted answers. Pure.

What a request asks is a function of its index alone, so nothing is kept and any request can be looked at again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Final

from loadtest.prompts.draws import drawn, share
from loadtest.prompts.prompt import Message, Prompt, assistant, user
from loadtest.prompts.shape import Lengths, PromptShape
from loadtest.prompts.text import Writer
from loadtest.prompts.vocabulary import Costs
from loadtest.schedule import Length
from serving.errors import Refused

LENGTH, GROUP = 10, 11
TRIALS: Final = 3
FIRST_TRIAL: Final = 2**26  # of the numbers that texts can have, but beyond those of any run
NORMAL: Final = NormalDist()
DEFAULT_TURNS: Final = 4


def place(index: int, turns: int, at_once: int) -> tuple[int, int]:
    """Which conversation, and which of its turns, a request is: the turns of `at_once` conversations take turns.

    >>> [place(index, turns=2, at_once=3) for index in range(7)]
    [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (3, 0)]
    """
    block, within = divmod(index, turns * at_once)
    turn, slot = divmod(within, at_once)
    return block * at_once + slot, turn


def length_of(law: Lengths, seed: int, number: int) -> int:
    """The tokens asked for the prompt with this number, by a law that is not a trace."""
    if law.fixed is not None:
        return law.fixed
    if law.uniform is not None:
        low, high = law.uniform.at_least, law.uniform.at_most
        return low + drawn(seed, number, LENGTH) % (high - low + 1)
    if law.lognormal is not None:
        mean, sigma = law.lognormal.mean, law.lognormal.sigma
        normal = NORMAL.inv_cdf(share(seed, number, LENGTH))
        return min(max(round(mean * math.exp(sigma * normal - sigma * sigma / 2)), 1), law.lognormal.longest)
    raise Refused(
        "prompts.tokens is `trace`, but the load replays none that has prompt lengths: give a number of tokens"
    )


def nothing_recorded(index: int) -> None:
    """What a trace says where there is none. No lambda: prompts go to other processes."""


class Synthetic:
    """The synthetic prompts of a run. `recorded` gives what a replayed trace says of the request with an index.

    A drawn length that is too short for a beginning of its own is raised to `shortest`, which has just that. Raises
    Refused where every prompt would be, or where a trace's lengths are asked for and there is none.
    """

    def __init__(
        self, shape: PromptShape, seed: int, costs: Costs, recorded: Callable[[int], Length | None] = nothing_recorded
    ) -> None:
        self._shape, self._seed, self._costs, self._recorded = shape, seed, costs, recorded
        self._writer = Writer(costs, seed)
        self._law = shape.tokens if shape.tokens is not None else Lengths(fixed=shape.words)
        talks = shape.conversations
        self._turns = 1 if talks is None else talks.turns or DEFAULT_TURNS
        self._at_once = 1 if talks is None else talks.at_once
        self._answer = 0 if talks is None else max(round(talks.answer_tokens / costs.scale), self._writer.least)
        self._shares = shape.shared_prefix_share is not None or shape.shared_prefix_tokens is not None
        self.shortest = costs.lead + math.ceil(self._writer.least * costs.scale)
        most = self.longest
        if most is not None and most < self.shortest:
            raise Refused(
                f"prompts of {most} tokens are too short: with the chat template, a beginning of its own makes "
                f"{self.shortest}: ask for that or more"
            )

    @property
    def longest(self) -> int | None:
        """The most tokens that any single message can ask for; None where a trace says."""
        return self._law.most

    @property
    def distinct(self) -> int | None:
        """After how many requests the prompts begin again."""
        return None if self._shape.distinct is None else self._shape.distinct * self._turns

    def prompt_of(self, index: int) -> Prompt:
        """The prompt of the request with this index."""
        if self._shape.conversations is not None:
            conversation, turn = place(index, self._turns, self._at_once)
            return self._turn(self._number(conversation), turn)
        if self._law.trace and (length := self._recorded(index)) is not None:
            return self._replayed(index, length)
        return self._single(self._number(index))

    def trials(self) -> tuple[Prompt, ...]:
        """A few prompts like those of the run, to be counted before it; none of them is one of the run's."""
        numbers = range(FIRST_TRIAL, FIRST_TRIAL + TRIALS)
        if self._shape.conversations is not None:
            return tuple(
                self._turn(numbers[0] // self._turns, turn)
                for turn in sorted({0, (self._turns - 1) // 2, self._turns - 1})
            )
        if self._law.trace:
            found = [length for index in range(TRIALS) if (length := self._recorded(index)) is not None]
            tokens = [max(length.prompt_tokens, self.shortest) for length in found]
            return tuple(self._replayed(*pair) for pair in zip(numbers, (Length(n, 1) for n in tokens), strict=False))
        return tuple(self._single(number) for number in numbers)

    def _single(self, number: int) -> Prompt:
        text, length = self._question(number, number, first=True)
        asked = length if self._shape.tokens is not None else None
        return Prompt(f"synthetic-{self._seed}-{number}", (user(text),), asked_tokens=asked)

    def _replayed(self, index: int, recorded: Length) -> Prompt:
        length = max(recorded.prompt_tokens, self.shortest)
        if recorded.hash_ids:
            text = self._writer.blocks(recorded.hash_ids, self._costs.body(length))
        else:
            text = self._writer.text(index, self._costs.body(length))
        name = f"synthetic-{self._seed}-{index}"
        return Prompt(name, (user(text),), recorded.output_tokens, asked_tokens=recorded.prompt_tokens)

    def _turn(self, conversation: int, turn: int) -> Prompt:
        messages: list[Message] = []
        asked = 0
        for step in range(turn + 1):
            number = conversation * self._turns + step
            if step:
                messages.append(assistant(self._writer.text(2 * number + 1, self._answer)))
                asked += self._costs.pair + round(self._answer * self._costs.scale) - self._costs.lead
            text, length = self._question(number, 2 * number, first=step == 0)
            messages.append(user(text))
            asked += length
        return Prompt(
            f"synthetic-{self._seed}-{conversation}.{turn}",
            tuple(messages),
            asked_tokens=asked if self._shape.tokens is not None else None,
        )

    def _question(self, number: int, spelt: int, *, first: bool) -> tuple[str, int]:
        """A text of the user's and its length. Only the first of a conversation can begin with a shared prefix."""
        length = max(length_of(self._law, self._seed, number), self.shortest)
        body = self._costs.body(length)
        if not first or not self._shares:
            return self._writer.text(spelt, body), length
        if self._shape.shared_prefix_tokens is not None:
            prefix = round(self._shape.shared_prefix_tokens / self._costs.scale)
        else:
            prefix = round((self._shape.shared_prefix_share or 0.0) * (body + 1))
        group = drawn(self._seed, number, GROUP) % self._shape.prefixes
        return self._writer.text(spelt, body, prefix, group), length

    def _number(self, index: int) -> int:
        return index if self._shape.distinct is None else index % self._shape.distinct
