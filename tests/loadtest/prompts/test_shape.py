"""What a profile may say of prompts, and what it is told when it may not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from loadtest.profile import load_profile
from loadtest.prompts.prepare import prepare
from loadtest.prompts.shape import PromptShape
from serving.errors import Refused

REST = (
    "load: {arrivals: poisson, rate_rps: 2, duration_s: 10, seed: 1}\nslos: [{metric: goodput, at_least_share: 0.9}]\n"
)


def written(tmp_path: Path, prompts: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(f"{REST}prompts: {prompts}\n")
    return str(path)


@pytest.mark.parametrize(
    "prompts",
    [
        "{words: 32}",
        "{words: 32, distinct: 4}",
        "{tokens: 256}",
        "{tokens: trace}",
        "{tokens: {uniform: {at_least: 100, at_most: 300}}}",
        "{tokens: {lognormal: {mean: 512, sigma: 0.6}}, shared_prefix_share: 0.5}",
        "{tokens: 512, shared_prefix_tokens: 256, prefixes: 8}",
        "{tokens: 128, conversations: {turns: 4, at_once: 16, answer_tokens: 100}}",
        "{file: talks.json, limit: 1000, shuffle: true, conversations: {}}",
        "{tokens: 64, golden: {share: 0.05, questions: [{ask: the capital of France, expect: [Paris]}]}}",
    ],
)
def test_it_reads_what_it_should_and_survives_being_written_down(tmp_path: Path, prompts: str):
    shape = load_profile(written(tmp_path, prompts)).prompts
    assert PromptShape.model_validate(shape.model_dump()) == shape
    assert PromptShape.model_validate(yaml.safe_load(yaml.safe_dump(shape.model_dump(mode="json")))) == shape


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        pytest.param("{words: 3}", "prompts.words", id="too-few-words"),
        pytest.param("{words: 30, tokens: 30}", "only one of words, tokens and file", id="two-sources"),
        pytest.param("{token: 30}", "prompts.token: unknown key", id="unknown-key"),
        pytest.param("{tokens: 0}", "prompts.tokens.fixed", id="no-tokens"),
        pytest.param("{tokens: lots}", "give a number of tokens", id="not-a-number"),
        pytest.param("{tokens: true}", "give a number of tokens", id="a-truth"),
        pytest.param("{tokens: {uniform: {at_least: 9, at_most: 3}}}", "at_least is more", id="ends-swapped"),
        pytest.param("{tokens: {fixed: 3, uniform: {at_least: 9, at_most: 9}}}", "exactly one of", id="two-laws"),
        pytest.param("{tokens: {}}", "exactly one of", id="no-law"),
        pytest.param("{tokens: {lognormal: {mean: 9, sigma: -1}}}", "sigma", id="negative-sigma"),
        pytest.param(
            "{tokens: {lognormal: {mean: 9, sigma: 1, at_most: 5}}}", "less than the mean", id="cut-below-mean"
        ),
        pytest.param("{tokens: 99, shared_prefix_share: 50}", "shared_prefix_share", id="percent-as-share"),
        pytest.param("{tokens: 99, shared_prefix_tokens: 99}", "leaves nothing of 99", id="all-prefix"),
        pytest.param("{words: 99, shared_prefix_tokens: 9}", "needs tokens", id="prefix-in-other-units"),
        pytest.param("{words: 99, prefixes: 3}", "prefixes needs", id="prefixes-of-nothing"),
        pytest.param("{words: 99, limit: 3}", "about a file", id="limit-without-file"),
        pytest.param("{file: a.json, distinct: 3}", "are for synthetic prompts", id="file-and-distinct"),
        pytest.param("{tokens: trace, conversations: {}}", "a trace has no conversations", id="trace-and-turns"),
        pytest.param("{golden: {share: 0, questions: []}}", "prompts.golden", id="no-questions"),
        pytest.param(
            "{golden: {share: 1, questions: [{ask: why}]}}", "no answer is wrong", id="question-without-answer"
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(tmp_path: Path, prompts: str, said: str):
    with pytest.raises(Refused) as refused:
        load_profile(written(tmp_path, prompts))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_without_a_source_prompts_are_words():
    assert len(prepare(PromptShape(), 1).prompts.prompt_of(0).text.split()) == 48 + 2


def test_the_lengths_of_a_trace_without_a_trace_are_refused():
    with pytest.raises(Refused, match="replays no trace"):
        prepare(PromptShape.model_validate({"tokens": "trace"}), 1)


def test_the_command_lines_tokens_replace_words_and_file_and_leave_the_rest(tmp_path: Path):
    changed = load_profile(written(tmp_path, "{words: 99, shared_prefix_share: 0.5}"), prompt_tokens=70).prompts
    assert changed == PromptShape.model_validate({"tokens": 70, "shared_prefix_share": 0.5})
    assert load_profile(written(tmp_path, "{file: a.json, limit: 3}"), prompt_tokens=70).prompts.file is None


def test_a_file_is_looked_for_beside_the_profile(tmp_path: Path):
    assert load_profile(written(tmp_path, "{file: talks.json}")).prompts.file == str(tmp_path / "talks.json")
