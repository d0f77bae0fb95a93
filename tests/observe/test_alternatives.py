"""Sets of charts and kustomizations that one cluster can hold: no object twice, nobody left out, nothing left over."""

from __future__ import annotations

import random

import pytest

from serving.facts.kube.manifests import Document
from serving.observe.alternatives import clashes, compatible, notes


def made(**makers: str) -> dict[str, list[Document]]:
    return {
        maker: [
            Document(maker, number, 1, {"kind": "A", "apiVersion": "v1", "metadata": {"name": name}})
            for number, name in enumerate(names)
        ]
        for maker, names in makers.items()
    }


CASES = {
    "none": ({}, []),
    "strangers": ({"one": "a", "two": "b"}, [["one", "two"]]),
    "overlays": ({"dev": "ab", "prod": "ac", "pool": "d"}, [["dev", "pool"], ["prod", "pool"]]),
    "two-groups": (
        {"dev": "a", "prod": "a", "job": "b", "gang": "b", "train": "b"},
        [["dev", "job"], ["prod", "gang"], ["dev", "train"]],
    ),
    "in-a-row": ({"one": "a", "two": "ab", "three": "b"}, [["one", "three"], ["two"]]),
    "itself": ({"one": "aa"}, [["one"]]),
}


@pytest.mark.parametrize(("makers", "expected"), CASES.values(), ids=CASES)
def test_each_set_is_as_large_as_can_be(makers: dict[str, str], expected: list[list[str]]) -> None:
    assert compatible(clashes(made(**makers))) == expected


def test_any_makers_are_all_judged_and_no_set_has_an_object_twice() -> None:
    chance = random.Random(7)
    for _ in range(200):
        makers = {f"m{number}": "".join(chance.sample("abcdef", chance.randint(0, 3))) for number in range(6)}
        found = compatible(clashes(made(**makers)))
        assert {maker for one in found for maker in one} == set(makers)
        for one in found:
            names = [name for maker in one for name in makers[maker]]
            assert len(names) == len(set(names))
            assert all(maker in one or set(names) & set(makers[maker]) for maker in makers)


def test_each_group_has_a_note() -> None:
    clashing = clashes(made(dev="a", prod="a", pool="d", job="b", gang="bc", train="c"))
    assert list(notes(clashing)) == [
        "alternatives, judged apart: dev, prod (more than one makes A/a)",
        "alternatives, judged apart: job, gang, train (more than one makes A/b)",
    ]
    many = clashes(made(**{f"m{number}": "a" for number in range(6)}))
    assert list(notes(many)) == ["alternatives, judged apart: m0, m1, m2, m3 and 2 more (more than one makes A/a)"]
