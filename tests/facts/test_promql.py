from __future__ import annotations

import pytest

from serving.facts.promql import Matcher, selectors


@pytest.mark.parametrize(
    ("query", "metrics"),
    [
        pytest.param("vllm:num_requests_waiting", ["vllm:num_requests_waiting"], id="a bare name"),
        pytest.param("sum(a) by (le, pod)", ["a"], id="grouping behind"),
        pytest.param("sum by (le) (rate(a_bucket[5m]))", ["a_bucket"], id="grouping in front"),
        pytest.param("SUM BY (le) (a)", ["a"], id="capitals"),
        pytest.param("a / on (pod) group_left (x) b", ["a", "b"], id="vector matching"),
        pytest.param("a and b or c unless d", ["a", "b", "c", "d"], id="set operators"),
        pytest.param("max_over_time(a[1h:5m] offset 1d) > bool 0", ["a"], id="subquery and offset"),
        pytest.param("a @ start() + b @ 1609746000", ["a", "b"], id="at"),
        pytest.param("topk(5, a) * 1e3 + 0x1F - Inf", ["a"], id="numbers"),
        pytest.param("sum(a) or vector(0)", ["a"], id="a vector of a number"),
        pytest.param("a # b + c\n + d", ["a", "d"], id="a comment"),
        pytest.param('label_replace(a, "b", "$1", "c", "(.*)")', ["a"], id="strings"),
        pytest.param('{__name__="a", x="y"}', ["a"], id="the name as a label"),
        pytest.param('{"a.b", x="y"}', ["a.b"], id="the name in quotes"),
        pytest.param('{__name__=~"vllm:.+"}', [""], id="a pattern of names"),
        pytest.param('a{x="}"} + b', ["a", "b"], id="a brace in a string"),
        pytest.param("sum", ["sum"], id="a metric named like an aggregation"),
        pytest.param("", [], id="nothing"),
        pytest.param("1 + 1", [], id="no metric"),
    ],
)
def test_selectors_are_found_and_nothing_else(query: str, metrics: list[str]):
    assert [each.metric for each in selectors(query)] == metrics


@pytest.mark.parametrize(
    ("query", "matchers"),
    [
        ('a{x="1",y!~"2|3",}', [("x", "=", "1"), ("y", "!~", "2|3")]),
        ("a{x='it''s'}", [("x", "=", "it")]),
        ("a { x =~ `\\d+` }", [("x", "=~", "\\d+")]),
        (r'a{x="say \"hi\""}', [("x", "=", 'say "hi"')]),
        ('a{"utf-8 label"="1"}', [("utf-8 label", "=", "1")]),
        ("a{}", []),
        ('a{x="1"', []),
    ],
)
def test_matchers_are_read(query: str, matchers: list[tuple[str, str, str]]):
    (found,) = selectors(query)
    assert [(each.label, each.sign, each.value) for each in found.matchers][: len(matchers)] == matchers


@pytest.mark.parametrize(
    ("sign", "value", "needs"),
    [
        ("=", "qwen", True),
        ("=", "", False),
        ("!=", "qwen", False),
        ("!=", "", True),
        ("=~", "qwen.*", True),
        ("=~", ".*", False),
        ("=~", "qwen|", False),
        ("=~", "(", False),
        ("!~", "qwen", False),
        ("!~", ".*", True),
    ],
)
def test_a_matcher_needs_its_label_unless_nothing_matches_too(sign: str, value: str, needs: bool):
    assert Matcher("model", sign, value).needs_label is needs


@pytest.mark.parametrize(
    "query", ["{" * 20000, "a{" * 20000, "(" * 20000, '"' + "\\" * 20001, "[" * 20000, "a[5m" * 5000]
)
def test_what_is_no_query_ends_soon(query: str):
    assert len(selectors(query)) <= 20000
