"""Finds the line of a path in a document's text: `spec.template.spec.containers[0].image` of a finding.

Only for documents that have findings, and only then: the reader keeps texts, and nothing is parsed twice for nothing.
Never raises: where a path is not in the text, as a default or a merged part is not, its nearest ancestor stands for it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import yaml
from yaml import events

BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what ends a line in YAML
STEP: Final = re.compile(r'\["(?P<key>[^"]*)"\]|\[(?P<number>\d+)\]')


@dataclass(slots=True)
class Node:
    """A line, counted from 0, and what stands below it: by its key, or by its number in a list."""

    line: int
    below: dict[str | int, Node] = field(default_factory=dict)


class Lines:
    """The lines of one text, whose documents begin at `starts` (counted from 1)."""

    def __init__(self, text: str, starts: Sequence[int]) -> None:
        self._text = text
        self._starts = sorted(set(starts))
        self._trees: dict[int, Node] = {}

    @cached_property
    def _offsets(self) -> list[int]:
        return [0, *(each.end() for each in BREAK.finditer(self._text))]

    def find(self, start: int, path: str) -> int:
        """The line of a path in the document that begins at line `start`."""
        if start not in self._trees:
            self._trees[start] = _tree(self._part(start))
        return start + _nearest(self._trees[start], path).line

    def _part(self, start: int) -> str:
        offsets, following = self._offsets, bisect_right(self._starts, start)
        end = offsets[self._starts[following] - 1] if following < len(self._starts) else len(self._text)
        return self._text[offsets[min(start, len(offsets)) - 1] : end]


def _nearest(node: Node, path: str) -> Node:
    while path:
        step = STEP.match(path)
        if step is not None:
            key: str | int | None = step["key"] if step["number"] is None else int(step["number"])
            path = path[step.end() :]
        else:  # a key may have dots in it
            path = path.removeprefix(".")
            keys = (each for each in node.below if isinstance(each, str) and each and path.startswith(each))
            key = max((each for each in keys if path[len(each) :][:1] in ("", ".", "[")), key=len, default=None)
            path = path[len(key or "") :]
        if key is None or key not in node.below:
            return node
        node = node.below[key]
    return node


def _tree(text: str) -> Node:
    """The first document of a text, or the first item where it begins as a list's."""
    root = Node(0)
    try:
        parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        _read(parser, root)
    except (yaml.YAMLError, RecursionError):  # cut out of its list, it need not end well
        pass
    return root.below.get(0, root) if not any(isinstance(key, str) for key in root.below) else root


def _read(parser: Any, root: Node) -> None:
    stack: list[tuple[Node, bool]] = []  # what is open, and whether it is a mapping
    key: list[str | None] = []  # the one that waits for its value, of each that is open
    while True:
        event = parser.get_event()
        kind = type(event)
        if kind is events.MappingEndEvent or kind is events.SequenceEndEvent:
            stack.pop()
            key.pop()
            continue
        if kind is events.DocumentEndEvent or kind is events.StreamEndEvent:
            return
        if kind is events.StreamStartEvent or kind is events.DocumentStartEvent:
            continue
        if not stack:
            node = root
        else:
            parent, mapping = stack[-1]
            name = key[-1]
            if not mapping:
                node = parent.below[len(parent.below)] = Node(event.start_mark.line)
            elif name is None:
                key[-1] = name = event.value if kind is events.ScalarEvent else ""
                parent.below[name] = Node(event.start_mark.line)
                continue
            else:
                node = parent.below[name]
                key[-1] = None
        if kind is events.MappingStartEvent or kind is events.SequenceStartEvent:
            stack.append((node, kind is events.MappingStartEvent))
            key.append(None)
