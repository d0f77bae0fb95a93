"""Files of prompts: the shapes that data sets come in, and every way in which a file can be bad."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from loadtest.prompts import files
from loadtest.prompts.files import read_records
from loadtest.prompts.prepare import prepare
from loadtest.prompts.prompt import Prompt
from loadtest.prompts.shape import PromptShape
from serving.errors import Refused

TALKS = [
    {
        "id": f"t{number}",
        "conversations": [
            part
            for turn in range(turns)
            for part in ({"from": "human", "value": f"q{number}.{turn}"}, {"from": "gpt", "value": f"a{number}.{turn}"})
        ],
    }
    for number, turns in enumerate((1, 3, 2))
]


def written(tmp_path: Path, content: str | bytes, name: str = "mine.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def asked(path: Path, requests: int, **shape: Any) -> list[Prompt]:
    prompts = prepare(PromptShape(file=str(path), **shape), 1).prompts
    return [prompts.prompt_of(index) for index in range(requests)]


def talk(prompt: Prompt) -> str:
    return " ".join(f"{message['role'][0]}:{message['content']}" for message in prompt.messages)


def test_lines_of_prompts_are_asked_in_their_order_and_again_from_the_start(tmp_path: Path):
    lines = [
        {"prompt": "one", "max_tokens": 9},
        {"prompt": "two", "expect": "TWO", "source": "a key that we do not know"},
        {"prompt": "three", "expect_any": ["3", "three"], "ignore_case": False},
    ]
    path = written(tmp_path, "\n".join(map(json.dumps, lines)))
    found = asked(path, 4)
    assert [talk(prompt) for prompt in found] == ["u:one", "u:two", "u:three", "u:one"]
    assert [prompt.max_tokens for prompt in found] == [9, None, None, 9]
    assert [(prompt.expect, prompt.expect_any, prompt.ignore_case) for prompt in found[1:3]] == [
        (("TWO",), (), True),
        ((), ("3", "three"), False),
    ]
    assert found[0].id == found[3].id == "file-0"
    assert prepare(PromptShape(file=str(path)), 1).prompts.distinct == 3


def test_lines_of_messages_are_asked_whole_up_to_the_users_last(tmp_path: Path):
    roles = ["system", "user", "assistant", "user", "assistant"]
    line = {"messages": [{"role": role, "content": str(number)} for number, role in enumerate(roles)]}
    (found,) = asked(written(tmp_path, json.dumps(line)), 1)
    assert talk(found) == "s:0 u:1 a:2 u:3"


@pytest.mark.parametrize("indent", [None, 2], ids=["one-line", "pretty"])
def test_of_a_recorded_talk_its_first_turn_is_asked(tmp_path: Path, indent: int | None):
    found = asked(written(tmp_path, json.dumps(TALKS, indent=indent), "talks.json"), 3)
    assert [talk(prompt) for prompt in found] == ["u:q0.0", "u:q1.0", "u:q2.0"]


def test_lines_of_recorded_talks_are_read_too(tmp_path: Path):
    found = asked(written(tmp_path, "\n".join(map(json.dumps, TALKS))), 3)
    assert [talk(prompt) for prompt in found] == ["u:q0.0", "u:q1.0", "u:q2.0"]


def test_as_conversations_each_turn_is_asked_with_the_recorded_answers_before_it(tmp_path: Path):
    path = written(tmp_path, json.dumps(TALKS), "talks.json")
    found = asked(path, 6, conversations={"at_once": 2})
    assert [prompt.id for prompt in found] == ["file-0.0", "file-1.0", "file-2.0", "file-1.1", "file-2.1", "file-1.2"]
    assert talk(found[3]) == "u:q1.0 a:a1.0 u:q1.1"
    assert talk(found[5]) == "u:q1.0 a:a1.0 u:q1.1 a:a1.1 u:q1.2"
    assert [prompt.id for prompt in asked(path, 4, conversations={"turns": 1})] == [
        "file-0.0",
        "file-1.0",
        "file-2.0",
        "file-0.0",
    ]


def test_what_is_expected_is_expected_of_the_last_turn_only(tmp_path: Path):
    path = written(tmp_path, json.dumps(TALKS[2] | {"expect": ["yes"]}))
    first, last = asked(path, 2, conversations={})
    assert (first.expect, last.expect) == ((), ("yes",))
    assert asked(path, 1)[0].expect == ()


def test_entries_in_which_nobody_asks_anything_are_passed_over(tmp_path: Path):
    lines: list[dict[str, Any]] = [
        {"conversations": []},
        {"conversations": [{"from": "gpt", "value": "hello"}]},
        {"prompt": "  "},
        {"conversations": [{"from": "gpt", "value": "hello"}, {"from": "human", "value": "hi"}]},
    ]
    assert [talk(prompt) for prompt in asked(written(tmp_path, "\n".join(map(json.dumps, lines))), 1)] == ["u:hi"]


def test_shuffled_entries_are_all_asked_in_an_order_of_the_seed(tmp_path: Path):
    path = written(tmp_path, "\n".join(json.dumps({"prompt": str(number)}) for number in range(50)))

    def order(seed: int) -> list[str]:
        prompts = prepare(PromptShape(file=str(path), shuffle=True), seed).prompts
        return [prompts.prompt_of(index).text for index in range(50)]

    assert order(1) == order(1) != order(2)
    assert sorted(order(1), key=int) == [str(number) for number in range(50)] != order(1)


def test_blank_lines_a_byte_order_mark_and_carriage_returns_do_no_harm(tmp_path: Path):
    path = written(tmp_path, b'\xef\xbb\xbf\r\n{"prompt": "one"}\r\n\r\n{"prompt": "zw\xc3\xb6lf"}\r\n')
    assert [prompt.text for prompt in asked(path, 2)] == ["one", "zwölf"]
    array = written(tmp_path, b'\xef\xbb\xbf [\r\n{"prompt": "one"} , {"prompt": "zw\xc3\xb6lf"}\r\n]\r\n')
    assert [prompt.text for prompt in asked(array, 2)] == ["one", "zwölf"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param("", "holds no prompt: give", id="empty"),
        pytest.param("\n \n", "holds no prompt: give", id="blank"),
        pytest.param("[]", "holds no prompt: give", id="empty-array"),
        pytest.param('{"conversations": []}', "holds no prompt: give", id="nobody-asks"),
        pytest.param('{"prompt": "a"}\n{"prompt": "b', "line 2 is not one whole JSON object: mend it", id="cut-line"),
        pytest.param('{\n"prompt": "a"\n}', "line 1 is not one whole JSON object", id="pretty-object"),
        pytest.param('[{"prompt": "a"},\n{"prompt": "b', "line 2 is not whole: the file is cut short", id="cut-array"),
        pytest.param('[{"prompt": "a"},\n', "line 2: the array has no end", id="cut-after-comma"),
        pytest.param('[{"prompt": "a"}', "line 1: the array has no end", id="cut-before-comma"),
        pytest.param('[{"prompt": "a"}\n{"prompt": "b"}]', "line 2: a comma", id="comma-missing"),
        pytest.param(
            '[{"prompt": "a"},\n{"prompt" "b"},\n{"prompt": "c"}]', "entry on line 2 is not JSON", id="wrong-in-array"
        ),
        pytest.param("prompt,answer\na,b", "line 1 is neither JSONL nor a JSON array", id="csv"),
        pytest.param("\n\n'a'", "line 3 is neither JSONL nor", id="not-json-later"),
        pytest.param(b'{"prompt": "a"}\n{"prompt": "\xff"}', "line 2 is not UTF-8: convert", id="latin-1"),
        pytest.param(b'[{"prompt": "\xff"}]', "not UTF-8, from about line 1 on: convert", id="latin-1-array"),
        pytest.param('{"prompt": "a"}'.encode("utf-16"), "line 1 is neither JSONL nor", id="utf-16"),
        pytest.param("[1]", "entry on line 1 is not an object: give", id="numbers"),
        pytest.param('{"text": "a"}', "entry on line 1 has no prompt: give", id="no-known-key"),
        pytest.param('{"prompt": "a", "messages": []}', "has prompt and messages: give", id="two-keys"),
        pytest.param('{"prompt": "a \\ud800"}', "has a `prompt` with half a character", id="half-a-surrogate"),
        pytest.param('{"prompt": 3}', "has a `prompt` that is not text", id="number-as-prompt"),
        pytest.param('{"messages": {}}', "has messages that are no list", id="messages-no-list"),
        pytest.param('{"messages": ["a"]}', "has in messages no object as number 1", id="message-no-object"),
        pytest.param('{"messages": [{"role": "narrator", "content": "a"}]}', "without a known `role`", id="role"),
        pytest.param('{"messages": [{"role": ["user"], "content": "a"}]}', "without a known `role`", id="role-list"),
        pytest.param('{"messages": [{"role": "user", "content": [{}]}]}', "`content` that is not text", id="picture"),
        pytest.param('{"conversations": [{"role": "user", "content": "a"}]}', "without a known `from`", id="mixed-up"),
        pytest.param('{"prompt": "a", "max_tokens": "many"}', "`max_tokens` that is not a number", id="max-tokens"),
        pytest.param('{"prompt": "a", "max_tokens": 0}', "`max_tokens` that is not a number", id="no-max-tokens"),
        pytest.param('{"prompt": "a", "expect": [3]}', "`expect` that is not a list of texts", id="expect"),
        pytest.param('{"prompt": "a", "expect": [""]}', "`expect` that is not a list of texts", id="expect-nothing"),
        pytest.param('{"prompt": "a", "ignore_case": 1}', "neither true nor false", id="ignore-case"),
        pytest.param('{"prompt": ' + "[" * 100_000, "line 1 is not one whole JSON object", id="deep-line"),
        pytest.param("[" * 100_000, "line 1", id="deep-array"),
        pytest.param('{"prompt": ' + "9" * 5_000 + "}", "line 1 is not one whole JSON object", id="huge-number"),
    ],
)
def test_a_bad_file_is_refused_in_one_line_that_names_it_and_quotes_no_prompt(
    tmp_path: Path, content: str | bytes, said: str
):
    path = written(tmp_path, content)
    with pytest.raises(Refused) as refused:
        read_records(path, 100)
    message = str(refused.value)
    assert said in message
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 200


def test_a_file_that_is_not_there_or_a_directory_is_refused(tmp_path: Path):
    with pytest.raises(Refused, match=r"absent\.jsonl: No such file or directory: give the path"):
        read_records(tmp_path / "absent.jsonl", 1)
    with pytest.raises(Refused, match=r"Is a directory: give the path"):
        read_records(tmp_path, 1)


def test_what_lies_beyond_the_limit_is_not_even_looked_at(tmp_path: Path):
    assert len(read_records(written(tmp_path, '{"prompt": "a"}\n{"prompt": "b"}\nnonsense'), 2)) == 2
    assert len(read_records(written(tmp_path, '[{"prompt": "a"}, {"prompt": "b"}, nonsense'), 2)) == 2


@pytest.mark.parametrize("begins", [pytest.param(b"", id="jsonl"), pytest.param(b"[", id="array")])
def test_of_a_huge_file_only_what_is_wanted_comes_into_memory(tmp_path: Path, begins: bytes):
    path = tmp_path / "huge.json"
    entry = json.dumps({"prompt": "word " * 200}).encode()
    with path.open("wb") as file:
        file.write(begins + b"\n" + (entry + (b",\n" if begins else b"\n")) * 200)
        file.truncate(2**30)  # the rest of the gibibyte is a hole
    tracemalloc.start()
    try:
        assert len(read_records(path, 100)) == 100
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
        with pytest.raises(Refused, match=r"line 20\d"):
            read_records(path, 1_000)
        assert tracemalloc.get_traced_memory()[1] < 128 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("begins", [pytest.param('{"prompt": "', id="line"), pytest.param('[{"prompt": "', id="entry")])
def test_an_entry_without_end_is_given_up_at_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begins: str):
    monkeypatch.setattr(files, "MOST_ENTRY", 2**20)
    with pytest.raises(Refused, match=r"line 1 is longer than 1 MiB"):
        read_records(written(tmp_path, begins + "a" * (5 * 2**20)), 10)


def test_more_text_than_memory_should_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "MOST_KEPT", 2**20)
    lines = "\n".join([json.dumps({"prompt": "a" * 2**18})] * 10)
    with pytest.raises(Refused, match=r"5 entries are more than 1 Mi characters: lower limit"):
        read_records(written(tmp_path, lines), 10)


def test_entries_are_read_across_the_edges_of_what_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "READ_SIZE", 7)
    texts = ['ü€😀"\\ ' * size for size in range(1, 30)]
    path = written(tmp_path, json.dumps([{"prompt": text} for text in texts], ensure_ascii=False, indent=1))
    assert [record.messages[0]["content"] for record in read_records(path, 100)] == texts
