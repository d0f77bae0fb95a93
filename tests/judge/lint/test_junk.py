"""Whatever stands in a document, judging ends, says something or nothing, and changes nothing."""

from __future__ import annotations

import copy
import datetime
import json
import math
import random
import sys
from typing import Any

import pytest
import yaml

from serving.judge.lint import judge_manifests
from serving.verdict import Finding
from tests.judge.lint.mutate import HERE, bundle

Place = tuple[Any, Any]  # a container and a key in it

SOURCES = sorted(
    path.relative_to(HERE).as_posix() for folder in ("bases", "field") for path in (HERE / folder).glob("*.yaml")
)
SEED = 20261123
ROUNDS = 1200  # bundles judged over all sources
WOUNDS = 4  # nodes replaced in each of them


def nested(depth: int, around: Any) -> Any:
    """Maps and lists in turn."""
    for level in range(depth):
        around = {"spec": around} if level % 2 else [around]
    return around


JUNK: list[Any] = [
    None,
    "",
    "junk",
    "-1",
    "1e400",
    "25%",
    "²",  # a digit to str.isdigit, and no number to int
    "{{ .Values.image }}",
    "a:b:c@d/e://f;g",
    "WG381: why; WG999",
    "--" + "x" * 100_000,
    "9" * 5_000,  # more digits than int() reads from text
    "(" * 2_000,
    '{"a": ' * 2_000,
    0,
    -1,
    10**400,
    1.5,
    math.nan,
    math.inf,
    True,
    False,
    [],
    {},
    [None],
    ["--port", 8080, None, {}, [[]], 1.5, True],
    [{"name": None}, {"name": ["a"]}, {"name": {}}, "text"],
    {3: 2, None: 3, True: [], (1, 2): {}},
    {"matchLabels": [], "matchExpressions": [{"key": [], "operator": {}, "values": 3}]},
    nested(200, "end"),
    [{"name": str(number), "value": "v"} for number in range(500)],
    datetime.date(2026, 11, 23),  # what a YAML reader makes of a bare date
    b"\xff\x00",
    {"a", "b"},
]


def documents_of(source: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all((HERE / source).read_text()) if one]


def places(value: Any) -> list[Place]:
    """Every place in a tree, by container and key."""
    found: list[Place] = []
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    for key in keys:
        found.append((value, key))
        found += places(value[key])
    return found


def wounded(documents: list[dict[str, Any]], chance: random.Random) -> list[str]:
    """Replaces nodes by junk; says which, for whoever must find out why a test failed."""
    done = []
    for _ in range(WOUNDS):
        container, key = chance.choice([place for document in documents for place in places(document)])
        number = chance.randrange(len(JUNK) + 1)
        if number < len(JUNK):
            container[key] = copy.deepcopy(JUNK[number])
            done.append(f"{key} <- {JUNK[number]!r}"[:80])
        elif isinstance(container, dict):
            container[3] = container.pop(key)
            done.append(f"{key} under a key that is no text")
    return done


@pytest.mark.parametrize("source", SOURCES)
def test_junk_anywhere_is_judged_and_not_stumbled_over(source: str):
    chance = random.Random(f"{SEED} {source}")
    good = documents_of(source)
    for _ in range(ROUNDS // len(SOURCES) + 1):
        documents = copy.deepcopy(good)
        done = wounded(documents, chance)
        try:
            report = judge_manifests(bundle(documents), source)
        except Exception as error:
            raise AssertionError(f"{type(error).__name__} after {done}") from error
        assert all(isinstance(each, Finding) and "\n" not in each.remedy for each in report.findings)


def test_judging_changes_nothing_and_says_the_same_again():
    documents = [document for source in SOURCES for document in documents_of(source)]
    before = copy.deepcopy(documents)
    first = judge_manifests(bundle(documents), "all")
    assert judge_manifests(bundle(documents), "all") == first
    assert documents == before


def crowd(number: int, per_namespace: int) -> list[dict[str, Any]]:
    """So many documents: endpoints of the good bundles, each under a name of its own, some in each namespace."""
    kinds = [documents_of("bases/kserve.yaml"), documents_of("bases/deployment.yaml")]
    found: list[dict[str, Any]] = []
    while len(found) < number:
        index = len(found)
        text = json.dumps(kinds[index % 2]).replace("qwen", f"q{index}")
        found += json.loads(text.replace('"namespace": "llm"', f'"namespace": "n{index // per_namespace}"'))
    return found[:number]


def work(documents: list[dict[str, Any]]) -> int:
    """How many lines of code judging runs: work as no machine, slow or busy, makes it more."""
    lines = 0

    def count(frame: object, event: str, argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    made, before = bundle(documents), sys.gettrace()
    sys.settrace(count)
    try:
        judge_manifests(made, "crowd")
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.timeout(300)
@pytest.mark.parametrize("per_namespace", [20, 800], ids=["a few in each namespace", "all in one namespace"])
def test_four_times_the_documents_take_four_times_the_work(per_namespace: int):
    few, many = (work(crowd(number, per_namespace)) for number in (200, 800))
    assert many < 4.2 * few  # where each were compared with each, sixteen times
