from __future__ import annotations

import pytest

from serving.judge.plausible import implausible

ANSWERS = {
    "sentence": "The capital of France is Paris.",
    "one-word": "Paris",
    "one-letter": "P",
    "list": "1. Paris\n2. Lyon\n3. Nice\n\n- and so on",
    "chinese": "法国的首都是巴黎。",
    "arabic": "عاصمة فرنسا هي باريس.",
    "emoji": "Paris! 🇫🇷🗼",
    "cut-within-a-character": "La capitale de la France est Paris, bien s\ufffd",
    "short-echo": "no, no, no, it is Paris and it has been Paris for a long time",
    "underlined": "Paris\n=====\nIt is the capital and largest city of France.",
}
RUBBISH = {
    "empty": "",
    "blank": " \n\t ",
    "one-character": "!" * 32,
    "one-word": "the " * 20,
    "one-word-after-a-start": "Paris is is is is is is is is is is is is is is is",
    "two-words": "yes no " * 10,
    "no-spaces": "abababababababababab",
    "one-chinese-character": "的" * 20,
    "one-line": "I do not know.\n" * 6,
    "replacement-characters": "\ufffd" * 3 + "Par" + "\ufffd" * 4,
    "control-characters": "\x00\x01\x02Pa\x03\x04",
    "private-use": "\ue000\ue001\ue002\ue003\ue004",
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in ANSWERS.items()])
def test_what_a_person_could_have_written_is_plausible(text: str):
    assert implausible(text) is None


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in RUBBISH.items()])
def test_what_only_a_broken_engine_writes_is_not(text: str):
    why = implausible(text)
    assert why
    assert why.isprintable()


def test_a_huge_text_is_judged_in_no_time():
    assert implausible("ab" * 500 + "The quick brown fox. " * 100_000) is not None
