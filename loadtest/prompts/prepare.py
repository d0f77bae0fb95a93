"""Makes the prompts of a run: reads its file, lets the server count where lengths are asked in tokens. I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtest.prompts.calibration import Calibration, assumed, calibrate
from loadtest.prompts.counting import Counter
from loadtest.prompts.files import read_records
from loadtest.prompts.golden import WithGolden
from loadtest.prompts.prompt import Prompts
from loadtest.prompts.recorded import Recorded
from loadtest.prompts.shape import DEFAULT_WORDS, PromptShape
from loadtest.prompts.synthetic import Synthetic, nothing_recorded
from loadtest.prompts.vocabulary import WORDS_ONLY, Costs
from loadtest.schedule import Length
from serving.errors import Refused

MOST_ENTRIES: Final = 10_000
Recording = Callable[[int], Length | None]


@dataclass(frozen=True)
class Prepared:
    """The prompts, and what is known of their lengths; None where no length in tokens was asked."""

    prompts: Prompts
    calibration: Calibration | None = None


def prepare(
    shape: PromptShape,
    seed: int,
    counter: Counter | None = None,
    *,
    recorded: Recording = nothing_recorded,
    max_tokens: int = 0,
    known: Calibration | None = None,
) -> Prepared:
    """The prompts of this shape. `counter` is from `counter_of`, `recorded` a schedule's `length_of`.

    `max_tokens` is the longest answer: a prompt and it must fit into the server's context. `known` is what another
    process has learnt already: with it, the prompts are that process's. Raises Refused.
    """
    if shape.words is None and shape.tokens is None and shape.file is None:
        shape = shape.model_copy(update={"words": DEFAULT_WORDS})
    if shape.file is not None:
        records = read_records(Path(shape.file), shape.limit or MOST_ENTRIES)
        found = Recorded(records, seed, shuffle=shape.shuffle, conversations=shape.conversations)
        return Prepared(_mixed(found, shape, seed))
    if shape.tokens is None:
        return Prepared(_mixed(Synthetic(shape, seed, WORDS_ONLY), shape, seed))
    calibration = known or _calibration(shape, seed, counter, recorded)
    prompts = synthetic(shape, seed, calibration.costs, recorded)
    _fits(prompts, counter, max_tokens)
    return Prepared(_mixed(prompts, shape, seed), calibration)


def synthetic(shape: PromptShape, seed: int, costs: Costs, recorded: Recording) -> Synthetic:
    """The synthetic prompts that cost this. Raises Refused where a trace's lengths are wanted and there is no trace."""
    if shape.tokens is not None and shape.tokens.trace and recorded(0) is None:
        raise Refused("prompts.tokens is `trace`, but the load replays no trace: give a number of tokens")
    return Synthetic(shape, seed, costs, recorded)


def _calibration(shape: PromptShape, seed: int, counter: Counter | None, recorded: Recording) -> Calibration:
    if counter is None:
        return assumed("the server counts no tokens")
    return calibrate(
        counter.count,
        lambda costs: synthetic(shape, seed, costs, recorded).trials(),
        conversations=shape.conversations is not None,
        alone=counter.alone,
    )


def _fits(prompts: Synthetic, counter: Counter | None, max_tokens: int) -> None:
    if counter is None or counter.context_tokens is None or prompts.longest is None:
        return
    if prompts.longest + max_tokens > counter.context_tokens:
        raise Refused(
            f"prompts of {prompts.longest} tokens with answers of {max_tokens} do not fit into the server's context of "
            f"{counter.context_tokens}: ask for less, or serve with a larger --max-model-len"
        )


def _mixed(prompts: Prompts, shape: PromptShape, seed: int) -> Prompts:
    return prompts if shape.golden is None else WithGolden(prompts, shape.golden, seed)
