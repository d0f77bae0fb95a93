"""Whatever way a server counts, prompts come out as long as asked, or the result says that they may not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count as numbers
from pathlib import Path

import pytest

from loadtest.prompts.calibration import calibrate
from loadtest.prompts.counting import Counter
from loadtest.prompts.prepare import Prepared, prepare
from loadtest.prompts.prompt import Message
from loadtest.prompts.shape import PromptShape
from loadtest.prompts.synthetic import Synthetic
from tests.loadtest.prompts.tokenizers_of_tests import ALL, Count, by_space, close

SHAPES = [
    pytest.param({"tokens": 256}, id="fixed"),
    pytest.param({"tokens": {"uniform": {"at_least": 150, "at_most": 900}}}, id="uniform"),
    pytest.param({"tokens": {"lognormal": {"mean": 512, "sigma": 0.6}}}, id="lognormal"),
    pytest.param({"tokens": 400, "shared_prefix_share": 0.5, "prefixes": 3}, id="shared-share"),
    pytest.param({"tokens": 400, "shared_prefix_tokens": 128}, id="shared-tokens"),
    pytest.param({"tokens": 200, "conversations": {"turns": 3, "at_once": 2}}, id="conversations"),
]


def prepared(shape: dict[str, object], count: Count, alone: int = 64) -> Prepared:
    return prepare(PromptShape.model_validate(shape), 5, Counter("test", count, alone))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [pytest.param(count, id=name) for name, count in ALL.items()])
def test_prompts_are_as_long_as_asked_for_any_way_of_counting(count: Count, shape: dict[str, object]):
    found = prepared(shape, count)
    assert found.calibration is not None
    for prompt in map(found.prompts.prompt_of, range(40)):
        assert prompt.asked_tokens is not None
        assert close(count(prompt.messages), prompt.asked_tokens)
    assert not found.calibration.approximated


@pytest.mark.parametrize("length", [60, 256, 4_000, 60_000])
def test_words_of_one_token_make_prompts_of_exactly_the_length(length: int):
    found = prepared({"tokens": length}, by_space)
    assert {by_space(found.prompts.prompt_of(index).messages) for index in range(20)} == {length}


def test_words_that_cost_different_tokens_still_make_exactly_the_length():
    found = prepared({"tokens": 777}, ALL["by-byte"])
    assert {ALL["by-byte"](found.prompts.prompt_of(index).messages) for index in range(50)} == {777}


def test_a_server_that_counts_slowly_is_asked_less():
    found = prepared({"tokens": 256}, ALL["by-word"], alone=24)
    assert found.calibration is not None
    assert found.calibration.calls < 50
    prompts = [found.prompts.prompt_of(index) for index in range(50)]
    assert {ALL["by-word"](prompt.messages) for prompt in prompts} == {256}
    assert len({prompt.text for prompt in prompts}) == 50


def test_a_server_that_counts_nothing_leaves_lengths_approximated_and_near():
    found = prepare(PromptShape.model_validate({"tokens": 256}), 5, None)
    assert found.calibration is not None
    assert found.calibration.approximated
    assert found.calibration.worst_error_tokens is None
    assert "counts no tokens" in found.calibration.why
    assert abs(by_space(found.prompts.prompt_of(0).messages) - 256) < 20


def test_counts_that_follow_from_nothing_are_approximated_and_said_to_be():
    erratic = numbers(50, 17)
    found = prepared({"tokens": 256}, lambda _: next(erratic) % 331 + 40)
    assert found.calibration is not None
    assert found.calibration.approximated
    assert found.calibration.why


def test_a_server_that_cuts_long_prompts_leaves_their_lengths_approximated():
    found = prepared({"tokens": 1_000}, lambda chat: min(by_space(chat), 800))
    assert found.calibration is not None
    assert found.calibration.approximated
    assert found.calibration.worst_error_tokens == 200
    assert "by up to 200 tokens" in found.calibration.why


def test_a_server_that_stops_counting_half_way_is_no_crash_and_no_exact_length():
    left = iter([by_space] * 30)

    def count(chat: Sequence[Message]) -> int | None:
        counted = next(left, None)
        return None if counted is None else counted(chat)

    long_ago = calibrate(lambda _: None, lambda _: ())
    assert long_ago.approximated
    assert long_ago.calls == 1
    shape = PromptShape.model_validate({"tokens": 256})
    learnt = calibrate(count, lambda costs: Synthetic(shape, 5, costs).trials())
    assert not learnt.approximated
    assert calibrate(count, lambda costs: Synthetic(shape, 5, costs).trials()).approximated


def test_the_prompts_that_are_counted_first_are_none_of_the_run():
    counted: list[str] = []

    def count(chat: Sequence[Message]) -> int:
        counted.append(chat[-1]["content"])
        return by_space(chat)

    found = prepare(PromptShape.model_validate({"tokens": 64}), 5, Counter("test", count, 64))
    beginnings = {" ".join(text.split()[:4]) for text in counted if len(text.split()) > 4}
    assert beginnings
    assert not beginnings & {" ".join(found.prompts.prompt_of(index).text.split()[:4]) for index in range(20_000)}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_embedded_models_own_tokenizer_counts_what_was_asked(embedded_model: Path, shape: dict[str, object]):
    tokenizers = pytest.importorskip("tokenizers", reason="needs the tokenizers package")
    jinja2 = pytest.importorskip("jinja2", reason="needs the loadtest extra")
    tokenizer = tokenizers.Tokenizer.from_file(str(embedded_model / "tokenizer.json"))
    config = json.loads((embedded_model / "tokenizer_config.json").read_text())
    template = jinja2.Template(config["chat_template"])

    def count(chat: Sequence[Message]) -> int:
        rendered = template.render(messages=list(chat), add_generation_prompt=True)
        return len(tokenizer.encode(rendered, add_special_tokens=False).ids)

    found = prepared(shape, count)
    assert found.calibration is not None
    assert not found.calibration.approximated
    for prompt in map(found.prompts.prompt_of, range(60)):
        assert prompt.asked_tokens is not None
        assert close(count(prompt.messages), prompt.asked_tokens)
