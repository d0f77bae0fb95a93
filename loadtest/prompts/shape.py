"""What a profile may say of its prompts: closed, frozen, units in the names. No I/O: a file is named here, not read.

One of `words`, `tokens` and `file` says where the texts come from; the other keys say how requests use them.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, model_validator

from serving.expectations import Expectation

MOST_TOKENS: Final = 10_000_000
LONG_TAIL: Final = 16
DEFAULT_WORDS: Final = 48
Tokens = Annotated[int, Field(ge=1, le=MOST_TOKENS)]


class Uniform(Expectation):
    """Every length between two, both included, is as likely as any other."""

    at_least: Tokens
    at_most: Tokens

    @model_validator(mode="after")
    def _ordered(self) -> Uniform:
        if self.at_least > self.at_most:
            raise ValueError("at_least is more than at_most")
        return self


class Lognormal(Expectation):
    """Many short ones and a few long ones, as people write. `mean` is of the lengths, `sigma` of their logarithm."""

    mean: float = Field(ge=1, le=MOST_TOKENS, allow_inf_nan=False)
    sigma: float = Field(gt=0, le=3, allow_inf_nan=False, description="0.5 spreads little, 1.2 is a long tail.")
    at_most: Tokens | None = Field(default=None, description="Longer draws are cut to this. None: 16 times the mean.")

    @model_validator(mode="after")
    def _ordered(self) -> Lognormal:
        if self.at_most is not None and self.at_most < self.mean:
            raise ValueError("at_most is less than the mean")
        return self

    @property
    def longest(self) -> int:
        """No draw is longer."""
        return self.at_most if self.at_most is not None else round(LONG_TAIL * self.mean)


class Lengths(Expectation):
    """Tokens of each prompt, as the server counts them: its chat template is part of them.

    Written as a number, as `{uniform: ...}`, as `{lognormal: ...}`, or as the word `trace`: those of the trace that the
    load replays.
    """

    fixed: Tokens | None = None
    uniform: Uniform | None = None
    lognormal: Lognormal | None = None
    trace: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, typed: Any) -> Any:
        if isinstance(typed, int) and not isinstance(typed, bool):
            return {"fixed": typed}
        if typed == "trace":
            return {"trace": True}
        if not isinstance(typed, dict | Lengths):
            raise ValueError("give a number of tokens, {uniform: ...}, {lognormal: ...}, or the word trace")
        return typed

    @model_validator(mode="after")
    def _one_law(self) -> Lengths:
        if (self.fixed is not None) + (self.uniform is not None) + (self.lognormal is not None) + self.trace != 1:
            raise ValueError("give exactly one of a number, uniform, lognormal and trace")
        return self

    @property
    def least(self) -> int | None:
        """No draw is shorter; None where that is not said."""
        return self.fixed if self.uniform is None else self.uniform.at_least

    @property
    def most(self) -> int | None:
        """No draw is longer; None where a trace says."""
        if self.lognormal is not None:
            return self.lognormal.longest
        return self.fixed if self.uniform is None else self.uniform.at_most


class Conversations(Expectation):
    """Each request is one turn of a conversation, and carries the turns before it with their answers.

    The answers in the history are scripted (or the file's), never the server's own: those would make a run depend on
    what the model said, and each turn wait for the one before it, so that a slow server would be asked less.
    """

    turns: int | None = Field(
        default=None, ge=1, le=1_000, description="Turns of each. None: all that a file has; 4 for synthetic ones."
    )
    at_once: int = Field(
        default=8, ge=1, le=10_000, description="Conversations under way together: their turns take turns."
    )
    answer_tokens: Tokens = Field(default=64, description="About the length of a scripted answer in the history.")


def _texts(typed: Any) -> Any:
    return [typed] if isinstance(typed, str) else typed


Texts = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_texts)]


class Question(Expectation):
    """A question whose answer is known. `expect` lists what the answer must all contain, `expect_any` alternatives."""

    ask: str = Field(min_length=1)
    expect: Texts = ()
    expect_any: Texts = ()
    ignore_case: bool = True
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000, description="None: the profile's.")

    @model_validator(mode="after")
    def _has_an_answer(self) -> Question:
        if not self.expect and not self.expect_any:
            raise ValueError("give expect or expect_any: without them no answer is wrong")
        return self


class Golden(Expectation):
    """Questions with known answers, mixed among the others: is what the server says sane while it is under load?"""

    share: float = Field(gt=0, le=1, allow_inf_nan=False, description="Of all requests, e.g. 0.02 for 2 %.")
    questions: tuple[Question, ...] = Field(min_length=1)


class PromptShape(Expectation):
    """The prompts of a run. No two requests begin alike, except as `distinct`, a shared prefix or a file says.

    Without words, tokens and file: 48 words, or where the load replays a trace, its lengths (the profile sees to it).
    """

    words: int | None = Field(
        default=None, ge=4, le=1_000_000, description="Length of each in words: about its tokens."
    )
    tokens: Lengths | None = Field(default=None, description="Length of each in tokens, as the server counts.")
    file: str | None = Field(
        default=None, pattern=r"^[^\x00]+$", description="JSONL, or a JSON array as ShareGPT has it."
    )
    limit: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Read no more entries of the file than this. None: 10,000."
    )
    shuffle: bool = Field(default=False, description="Take the file's entries in an order drawn from the seed.")
    distinct: int | None = Field(default=None, ge=1, description="So many different prompts, taken in turn.")
    shared_prefix_share: float | None = Field(
        default=None, gt=0, lt=1, description="Share of each prompt that others begin with too, e.g. 0.5."
    )
    shared_prefix_tokens: Tokens | None = Field(
        default=None, description="Tokens that others begin with too, the chat template not counted."
    )
    prefixes: int = Field(default=1, ge=1, le=10_000, description="How many different shared prefixes there are.")
    conversations: Conversations | None = None
    golden: Golden | None = None

    @model_validator(mode="after")
    def _one_source(self) -> PromptShape:
        if len([source for source in (self.words, self.tokens, self.file) if source is not None]) > 1:
            raise ValueError("give only one of words, tokens and file")
        if self.file is None and (self.limit is not None or self.shuffle):
            raise ValueError("limit and shuffle are about a file: give file too, or leave them out")
        recorded = self.file is not None or (self.tokens is not None and self.tokens.trace)
        if recorded and (self.distinct is not None or self._shares):
            raise ValueError("distinct and a shared prefix are for synthetic prompts of other lengths: leave them out")
        if self.tokens is not None and self.tokens.trace and self.conversations is not None:
            raise ValueError("a trace has no conversations: give tokens as a number, uniform or lognormal")
        return self

    @model_validator(mode="after")
    def _prefix_fits(self) -> PromptShape:
        if self.shared_prefix_share is not None and self.shared_prefix_tokens is not None:
            raise ValueError("give shared_prefix_share or shared_prefix_tokens, not both")
        if self.prefixes > 1 and not self._shares:
            raise ValueError("prefixes needs shared_prefix_share or shared_prefix_tokens")
        if self.shared_prefix_tokens is not None:
            if self.tokens is None:
                raise ValueError("shared_prefix_tokens needs tokens; with words, give shared_prefix_share")
            if self.tokens.least is not None and self.shared_prefix_tokens >= self.tokens.least:
                raise ValueError(f"shared_prefix_tokens leaves nothing of {self.tokens.least} tokens: make it smaller")
        return self

    @property
    def _shares(self) -> bool:
        return self.shared_prefix_share is not None or self.shared_prefix_tokens is not None
