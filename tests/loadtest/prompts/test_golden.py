"""Questions with known answers: mixed in at their share, and judged by what the answer contains."""

from __future__ import annotations

import pytest

from loadtest.prompts.prepare import prepare
from loadtest.prompts.prompt import Prompt, sane, user
from loadtest.prompts.shape import PromptShape

SHAPE = PromptShape.model_validate(
    {
        "words": 20,
        "golden": {
            "share": 0.1,
            "questions": [
                {"ask": "What is the capital of France?", "expect": "Paris", "max_tokens": 12},
                {"ask": "What is two and two?", "expect_any": ["4", "four"]},
            ],
        },
    }
)


@pytest.mark.parametrize(
    ("expected", "answer", "verdict"),
    [
        pytest.param({}, "anything", None, id="nothing-expected"),
        pytest.param({"expect": ("Paris",)}, "It is PARIS.", True, id="whatever-case"),
        pytest.param({"expect": ("Paris",), "ignore_case": False}, "It is PARIS.", False, id="the-case-counts"),
        pytest.param({"expect": ("Paris", "Seine")}, "Paris on the Seine", True, id="all-of-them"),
        pytest.param({"expect": ("Paris", "Seine")}, "Paris", False, id="one-missing"),
        pytest.param({"expect": ("Paris",)}, "", False, id="no-answer"),
        pytest.param({"expect_any": ("4", "four")}, "Four.", True, id="one-of-several"),
        pytest.param({"expect_any": ("4", "four")}, "five", False, id="none-of-several"),
        pytest.param({"expect": ("sum",), "expect_any": ("4",)}, "4", False, id="both-are-wanted"),
        pytest.param({"expect": ("Straße",)}, "STRASSE", True, id="folded-not-lowered"),
    ],
)
def test_an_answer_is_sane_when_it_contains_what_it_should(
    expected: dict[str, tuple[str, ...]], answer: str, verdict: bool | None
):
    prompt = Prompt("golden-0", (user("?"),))
    for name, value in expected.items():
        setattr(prompt, name, value)
    assert sane(prompt, answer) is verdict


def test_questions_take_their_share_of_the_requests_and_every_one_is_asked():
    prompts = prepare(SHAPE, 1).prompts
    found = [prompts.prompt_of(index) for index in range(5_000)]
    golden = [prompt for prompt in found if prompt.expect or prompt.expect_any]
    assert 0.08 < len(golden) / len(found) < 0.12
    assert {prompt.id for prompt in golden} == {"golden-0", "golden-1"}
    assert {prompt.max_tokens for prompt in golden} == {12, None}
    assert {prompt.text for prompt in golden if prompt.id == "golden-0"} == {"What is the capital of France?"}


def test_questions_do_not_fall_into_step_with_anything_that_alternates():
    prompts = prepare(SHAPE, 1).prompts
    even = sum(prompts.prompt_of(index).id.startswith("golden") for index in range(0, 5_000, 2))
    odd = sum(prompts.prompt_of(index).id.startswith("golden") for index in range(1, 5_000, 2))
    assert 0.7 < even / odd < 1.4


def test_what_is_no_question_is_what_it_would_have_been_without_them():
    plain = prepare(PromptShape(words=20), 1).prompts
    mixed = prepare(SHAPE, 1).prompts
    others = [index for index in range(200) if not mixed.prompt_of(index).id.startswith("golden")]
    assert len(others) > 100
    assert all(mixed.prompt_of(index) == plain.prompt_of(index) for index in others)
