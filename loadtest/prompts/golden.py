"""Mixes questions with known answers among other prompts, at a share. Pure: the index tells which request is one."""

from __future__ import annotations

from loadtest.prompts.draws import drawn, share
from loadtest.prompts.prompt import Prompt, Prompts, user
from loadtest.prompts.shape import Golden

CHOICE, MIX = 20, 21


class WithGolden:
    """The prompts of another source, except where a question takes their place. Drawn, so that no arm gets them all."""

    def __init__(self, others: Prompts, golden: Golden, seed: int) -> None:
        self._others, self._share, self._seed = others, golden.share, seed
        self._questions = tuple(
            Prompt(
                f"golden-{number}",
                (user(question.ask),),
                question.max_tokens,
                question.expect,
                question.expect_any,
                question.ignore_case,
            )
            for number, question in enumerate(golden.questions)
        )

    @property
    def distinct(self) -> int | None:
        """After how many requests the others begin again; the questions repeat in any case."""
        return self._others.distinct

    def prompt_of(self, index: int) -> Prompt:
        """The prompt of the request with this index."""
        if share(self._seed, index, MIX) < self._share:
            return self._questions[drawn(self._seed, index, CHOICE) % len(self._questions)]
        return self._others.prompt_of(index)
