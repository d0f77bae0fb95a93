"""The prompts of a file, in its order or one drawn from the seed, again from the start when all were asked. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from random import Random

from loadtest.prompts.prompt import Prompt
from loadtest.prompts.records import Record
from loadtest.prompts.shape import Conversations


class Recorded:
    """Prompts that somebody wrote. With `conversations`, each of the user's turns is a request of its own.

    Without, a request asks the whole of an entry, or the first turn of a recorded talk.
    """

    def __init__(
        self, records: Sequence[Record], seed: int, *, shuffle: bool, conversations: Conversations | None
    ) -> None:
        entries = list(range(len(records)))
        if shuffle:
            Random(seed).shuffle(entries)
        self._records = records
        self._order = (
            [(entry, -1) for entry in entries]
            if conversations is None
            else _interleaved(records, entries, conversations.turns, conversations.at_once)
        )

    @property
    def distinct(self) -> int:
        """After how many requests the prompts begin again."""
        return len(self._order)

    def prompt_of(self, index: int) -> Prompt:
        """The prompt of the request with this index."""
        entry, turn = self._order[index % len(self._order)]
        record = self._records[entry]
        name = f"file-{entry}" if turn < 0 else f"file-{entry}.{turn}"
        at = record.turns[turn if turn >= 0 else (0 if record.opens else -1)]
        if at != record.turns[-1]:  # what the answer should be was said of the last turn
            return Prompt(name, record.messages[: at + 1], record.max_tokens)
        return Prompt(
            name, record.messages[: at + 1], record.max_tokens, record.expect, record.expect_any, record.ignore_case
        )


def _interleaved(
    records: Sequence[Record], entries: Sequence[int], most_turns: int | None, at_once: int
) -> list[tuple[int, int]]:
    """(entry, turn) as they are asked: `at_once` conversations take turns; one that ends makes room for the next."""
    waiting = iter(entries)
    talking = [(entry, 0) for entry in islice(waiting, at_once)]
    order = []
    while talking:
        following = []
        for entry, turn in talking:
            order.append((entry, turn))
            turns = len(records[entry].turns)
            if turn + 1 < (turns if most_turns is None else min(turns, most_turns)):
                following.append((entry, turn + 1))
            elif (new := next(waiting, None)) is not None:
                following.append((new, 0))
        talking = following
    return order
