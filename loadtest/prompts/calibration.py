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

    costs = _words(counted, alone)
    if costs is None:
        return replace(assumed("the server counts no tokens"), calls=calls)
    if conversations:
        costs = _pair(counted, costs)
    tried = _tried(counted, sample(costs), costs)
    if tried.off:
        corrected = replace(costs, scale=costs.scale * tried.ratio)
        again = _tried(counted, sample(corrected), corrected)
        if again.worst < tried.worst or not again.off:
            costs, tried = corrected, again
    why = "no prompt of the run could be counted" if not tried.errors else ""
    if tried.off:
        why = f"lengths differ by up to {tried.worst} tokens: this tokenizer does not count word by word"
    return Calibration(costs, bool(why), why, tried.worst if tried.errors else None, calls)


def _words(counted: Callable[..., int | None], alone: int) -> Costs | None:
    leads = {}
    for opener in OPENERS:
        found = counted(user(opener + TAIL))
        if found is None:
            return None
        leads[opener] = found
    ((lead, _),) = Counter(leads.values()).most_common(1)
    openers = tuple(opener for opener in OPENERS if leads[opener] == lead)

    def cost(*words: str) -> int | None:
        found = counted(user(" ".join((openers[0], *words)) + TAIL))
        return None if found is None else found - lead

    if cost(*WORDS) == len(WORDS):  # none costs less than one, so each costs one
        return Costs(openers=openers, lead=lead)
    single = {word: tokens for word in dict.fromkeys((*openers, *WORDS[:alone])) if (tokens := cost(word))}
    single = {word: tokens for word, tokens in single.items() if tokens > 0}
    openers = tuple(opener for opener in openers if opener in single)
    if len(single) < FEWEST_WORDS or not openers:
        return None
    return Costs(tuple(single), tuple(single.values()), openers, lead)


def _pair(counted: Callable[..., int | None], costs: Costs) -> Costs:
    text = user(costs.openers[0] + TAIL)
    found = counted(text, assistant(costs.openers[-1] + TAIL), text)
    return replace(costs, pair=costs.lead + 3 if found is None else found - costs.lead)


@dataclass(frozen=True)
class _Tried:
    """The differences between counted and asked, and how many times as long as asked the words after the lead were."""

    errors: tuple[int, ...]
    off: bool
    ratio: float

    @property
    def worst(self) -> int:
        return max((abs(error) for error in self.errors), default=0)


def _tried(counted: Callable[..., int | None], prompts: Sequence[Prompt], costs: Costs) -> _Tried:
    pairs = [(prompt.asked_tokens, counted(*prompt.messages)) for prompt in prompts]
    seen = [(asked, found) for asked, found in pairs if asked is not None and found is not None]
    off = any(abs(found - asked) > max(TOLERANCE_TOKENS, TOLERANCE_SHARE * asked) for asked, found in seen)
    asked_body = sum(asked - costs.lead for asked, _ in seen)
    found_body = sum(found - costs.lead for _, found in seen)
    ratio = found_body / asked_body if asked_body > 0 and found_body > 0 else 1.0
    return _Tried(tuple(found - asked for asked, found in seen), off, ratio)
