"""Finds the series selectors of a PromQL query: metric names and label matchers. No full parser: a careful scanner.

It knows strings, comments, label lists of `by` and its like, ranges and functions, so that none of them passes for a
metric. What it cannot make sense of it leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

TOKEN: Final = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    |(?P<number>(?:0[xX][0-9a-fA-F]+|\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?|\.\d+)[a-zA-Z0-9]*)
    |(?P<word>[a-zA-Z_:][a-zA-Z0-9_:.]*)
    |(?P<sign>=~|!~|!=|==|>=|<=|.)""",
    re.VERBOSE | re.DOTALL,
)
LISTS: Final = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
WORDS: Final = LISTS | {"and", "or", "unless", "atan2", "offset", "bool", "inf", "nan", "start", "end"}
AGGREGATORS: Final = re.compile(
    "sum|min|max|avg|group|stddev|stdvar|count|count_values|bottomk|topk|quantile|limitk|limit_ratio", re.IGNORECASE
)


@dataclass(frozen=True)
class Matcher:
    """One label matcher; `sign` is =, !=, =~ or !~."""

    label: str
    sign: str
    value: str

    @property
    def needs_label(self) -> bool:
        """Does it match no series without this label?"""
        match self.sign:
            case "=":
                return self.value != ""
            case "!=":
                return self.value == ""
            case "=~":
                return not _matches_nothing(self.value)
        return _matches_nothing(self.value)


@dataclass(frozen=True)
class Selector:
    """One selector; `metric` is empty where only a `pattern` of names says which, or nothing does."""

    metric: str
    matchers: tuple[Matcher, ...]
    pattern: str = ""


def selectors(query: str) -> list[Selector]:
    """Every series selector in a query, in order.

    >>> [(each.metric, *each.matchers) for each in selectors('sum by (pod) (rate(a_total{x="1"}[5m])) / b')]
    [('a_total', Matcher(label='x', sign='=', value='1')), ('b',)]
    """
    return list(_selectors([found for found in _tokens(query) if found[0] != "space"]))


def _tokens(query: str) -> Iterator[tuple[str, str]]:
    for found in TOKEN.finditer(query):
        yield found.lastgroup or "sign", found[0]


def _selectors(tokens: list[tuple[str, str]]) -> Iterator[Selector]:
    at = 0
    while at < len(tokens):
        kind, text = tokens[at]
        following = tokens[at + 1][1] if at + 1 < len(tokens) else ""
        at += 1
        if kind == "word" and text.lower() in LISTS and following == "(":
            at = _after(tokens, at, ")")
        elif kind == "sign" and text == "[":
            at = _after(tokens, at, "]")
        elif kind == "sign" and text == "{":
            end = _after(tokens, at, "}")
            yield _selector("", tokens[at : end - 1])
            at = end
        elif kind == "word" and following == "{":
            end = _after(tokens, at + 1, "}")
            yield _selector(text, tokens[at + 1 : end - 1])
            at = end
        elif kind == "word" and following != "(" and not _keyword(text, following):
            yield Selector(text, ())


def _keyword(text: str, following: str) -> bool:
    return (AGGREGATORS.fullmatch(text) is not None and following.lower() in ("by", "without")) or text.lower() in WORDS


def _after(tokens: list[tuple[str, str]], at: int, closing: str) -> int:
    """The place behind the next closing sign, or the end."""
    places = range(at, len(tokens))
    return next((place + 1 for place in places if tokens[place] == ("sign", closing)), len(tokens) + 1)


def _selector(metric: str, tokens: list[tuple[str, str]]) -> Selector:
    matchers = []
    pattern = ""
    for at, (kind, text) in enumerate(tokens):
        sign = tokens[at + 1][1] if at + 1 < len(tokens) else ","
        if kind == "text" and sign == "," and (at == 0 or tokens[at - 1][1] == ","):
            metric = _unquoted(text)  # {"metric.name", label="value"}
        elif sign in ("=", "!=", "=~", "!~") and at + 2 < len(tokens) and tokens[at + 2][0] == "text":
            label, value = _unquoted(text) if kind == "text" else text, _unquoted(tokens[at + 2][1])
            if label == "__name__" and sign == "=":
                metric = value
            elif label == "__name__" and sign == "=~":
                pattern = value
            elif label != "__name__":
                matchers.append(Matcher(label, sign, value))
    return Selector(metric, tuple(matchers), pattern)


def _unquoted(text: str) -> str:
    inner = text[1:-1]
    return inner if text.startswith("`") else re.sub(r"\\(.)", r"\1", inner)


def _matches_nothing(pattern: str) -> bool:
    """Does a pattern match the empty string? One that Python cannot read is taken to."""
    try:
        return re.fullmatch(pattern, "") is not None
    except (re.error, RecursionError, OverflowError):
        return True
