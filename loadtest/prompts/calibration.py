"""Learns what words cost in tokens on one server, by letting it count a few texts; needs no tokenizer here. Pure.

The counting function is all that it knows of the server. What it learns is tried on prompts of the run itself: lengths
that do not come out are reported as approximated, never as exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from loadtest.prompts.prompt import Message, Prompt, assistant, user
from loadtest.prompts.vocabulary import OPENERS, TAIL, WORDS, Costs

MEASURED_ALONE: Final = 64  # words, where they do not all cost one token
ASSUMED_TEMPLATE: Final = 10
FEWEST_WORDS: Final = 8
TOGETHER: Final = 4  # times that all of them are counted in one text, to see whether they add up
TOLERANCE_TOKENS: Final = 1
TOLERANCE_SHARE: Final = 0.01

Count = Callable[[Sequence[Message]], int | None]
Sample = Callable[[Costs], Sequence[Prompt]]


@dataclass(frozen=True)
class Calibration:
    """What was learnt, and how well it holds.

    `worst_error_tokens` is the largest difference between asked and counted among the prompts that were tried; None
    where none could be. `approximated` says that lengths may be off by more than 1 token or 1 %, and `why`.
    """

    costs: Costs
    approximated: bool
    why: str = ""
    worst_error_tokens: int | None = None
    calls: int = 0


ASSUMED: Final = Costs(lead=ASSUMED_TEMPLATE + 3, pair=ASSUMED_TEMPLATE + 6)


def assumed(why: str) -> Calibration:
    """One token a word and a small chat template: what is left where no server counts."""
    return Calibration(ASSUMED, approximated=True, why=why)


def calibrate(count: Count, sample: Sample, *, conversations: bool = False, alone: int = MEASURED_ALONE) -> Calibration:
    """Learn the costs behind `count`, which returns what a server counts for a chat, or None where it does not tell.

    `sample` gives prompts of the run as they would be with these costs; they are counted too. `alone` is how many words
    to count one by one where it is needed: about the number of calls.
    """
    calls = 0

    def counted(*messages: Message) -> int | None:
        nonlocal calls
        calls += 1
        return count(messages)

    lead = _lead(counted)
    if lead is None:
        return replace(assumed("the server counts no tokens"), calls=calls)
    costs = _words(counted, lead, alone)
    if costs is None:
        return replace(assumed("what the server counts does not follow from the words"), calls=calls)
    if conversations:
        costs = _pair(counted, costs)
    errors = []
    asked = [(prompt.asked_tokens, prompt.messages) for prompt in sample(costs)]
    for length, messages in asked:
        found = counted(*messages)
        if length is not None and found is not None:
            errors.append((abs(found - length), length))
    worst = max((error for error, _ in errors), default=None)
    why = ""
    if len(errors) < len(asked) or not asked:
        why = f"only {len(errors)} of {len(asked)} prompts of the run could be counted"
    elif any(error > max(TOLERANCE_TOKENS, TOLERANCE_SHARE * length) for error, length in errors):
        why = f"lengths differ by up to {worst} tokens: this tokenizer does not count word by word"
    return Calibration(costs, bool(why), why, worst, calls)


def _lead(counted: Callable[..., int | None]) -> Costs | None:
    """The template's cost, and the openers that share it."""
    leads = {}
    for opener in OPENERS:
        found = counted(user(opener + TAIL))
        if found is None:
            return None
        leads[opener] = found
    ((lead, _),) = Counter(leads.values()).most_common(1)
    return Costs(openers=tuple(opener for opener in OPENERS if leads[opener] == lead), lead=lead)


def _words(counted: Callable[..., int | None], known: Costs, alone: int) -> Costs | None:
    """What the words cost: one each, if so many are counted for all; else each of a few by itself."""

    def cost(*words: str) -> int:
        found = counted(user(" ".join((known.openers[0], *words)) + TAIL))
        return 0 if found is None else found - known.lead

    if cost(*WORDS) == len(WORDS):  # none costs less than one, so each costs one
        return known
    single = {word: cost(word) for word in dict.fromkeys((*known.openers, *WORDS[:alone]))}
    single = {word: tokens for word, tokens in single.items() if tokens > 0}
    openers = tuple(opener for opener in known.openers if opener in single)
    if len(single) < FEWEST_WORDS or not openers:
        return None
    many = [*single] * TOGETHER
    scale = cost(*many) / sum(single[word] for word in many)
    if not 0.1 < scale < 10:
        return None
    return Costs(tuple(single), tuple(single.values()), openers, known.lead, scale=scale)


def _pair(counted: Callable[..., int | None], costs: Costs) -> Costs:
    text = user(costs.openers[0] + TAIL)
    found = counted(text, assistant(costs.openers[-1] + TAIL), text)
    return replace(costs, pair=costs.lead + 3 if found is None else found - costs.lead)
