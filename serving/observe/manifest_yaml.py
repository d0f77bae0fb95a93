"""Reads YAML and JSON text into documents as kubectl reads them, each with its line; never executes a tag.

Refuses, in one line with file and line: bad syntax, a key given twice, an alias inside itself, aliases that stand for
more than a million nodes. Works on the parser's events, not on PyYAML's nodes: half the time, and the lines are known.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, Protocol, cast

import yaml
from yaml import events

from serving.errors import Refused
from serving.observe.manifest_scalar import key_text, resolve, resolve_tagged

MOST_ALIASED: Final = 1_000_000  # nodes that aliases stand for, in one text
DEEPEST: Final = 200  # levels; Kubernetes' own types have some 30, and whoever walks documents may recurse
TEMPLATE: Final = "{{"
TEMPLATE_REMEDY: Final = "it looks like a template: give the chart's directory instead, or render it first"


class _Parser(Protocol):
    def get_event(self) -> Any: ...


def _parser(text: str) -> _Parser:
    """libyaml where PyYAML was built with it (10 times as fast), else PyYAML's own."""
    return cast(_Parser, getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text))


@dataclass
class Parsed:
    """One document of a text: what it says, the line where it begins, and those of `items` if it has some."""

    body: Any
    line: int
    item_lines: list[int] = field(default_factory=list)


def parse(text: str, where: str) -> list[Parsed]:
    """The documents of a text, without empty ones. Raises Refused; `where` names the text in its message."""
    builder = _Builder(text, where)
    try:
        return [each for each in builder.documents() if each.body is not None]
    except yaml.YAMLError as error:
        if text.lstrip().startswith("{"):
            return _json_stream(text, where, error)
        raise _refused(error, text, where) from error
    except RecursionError as error:  # PyYAML's own scanner, on brackets within brackets
        raise Refused(f"{where}: nested too deeply: no Kubernetes object has more than {DEEPEST} levels") from error


_KEY: Final = object()  # a mapping waits for a key
_MERGE: Final = object()  # the key `<<`


class _Frame:
    """A collection that is being read."""

    __slots__ = ("anchor", "box", "count", "key", "merged")

    def __init__(self, box: dict[str, Any] | list[Any], anchor: str | None, count: int) -> None:
        self.box = box
        self.anchor = anchor
        self.count = count
        self.key: Any = _KEY
        self.merged: set[str] = set()


class _Builder:
    """Turns events into values. `count` counts nodes as if every alias were written out."""

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where
        self.parser = _parser(text)
        self.plain: dict[str, Any] = {}  # what each untagged plain scalar says
        self.count = 0
        self.aliased = 0

    def documents(self) -> Iterator[Parsed]:
        while True:
            event = self.parser.get_event()
            if isinstance(event, events.StreamEndEvent):
                return
            if isinstance(event, events.DocumentStartEvent):
                yield self.document()

    def document(self) -> Parsed:
        """One document; its end event is left to the caller."""
        stack: list[_Frame] = []
        anchors: dict[str, tuple[Any, int] | None] = {}  # None: still open
        parsed = Parsed(None, 0)
        plain, get = self.plain, self.parser.get_event
        while True:
            event = get()
            kind = type(event)
            if kind is events.ScalarEvent:
                self.count += 1
                if event.implicit[0]:
                    text = event.value
                    value = plain[text] if text in plain else self.scalar(event)
                    if text == "<<" and stack and stack[-1].key is _KEY and type(stack[-1].box) is dict:
                        value = _MERGE
                elif event.tag is None:
                    value = event.value
                else:
                    value = self.tagged(event)
                if event.anchor is not None:
                    anchors[event.anchor] = (value, 1)
            elif kind is events.MappingStartEvent or kind is events.SequenceStartEvent:
                self.start(event, stack, anchors, parsed)
                continue
            elif kind is events.MappingEndEvent or kind is events.SequenceEndEvent:
                frame = stack.pop()
                value = frame.box
                if frame.anchor is not None:
                    anchors[frame.anchor] = (value, self.count - frame.count)
            else:
                value = self.alias(event, anchors)
            if not stack:
                parsed.body = value
                parsed.line = parsed.line or event.start_mark.line + 1
                return parsed
            frame = stack[-1]
            if type(frame.box) is list:
                frame.box.append(value)
            elif frame.key is _KEY:
                frame.key = value if type(value) is str and value not in frame.box else self.key(event, frame, value)
            else:
                if frame.key is _MERGE:
                    self.merge(event, frame, value)
                else:
                    frame.box[frame.key] = value
                frame.key = _KEY

    def start(self, event: Any, stack: list[_Frame], anchors: dict[str, Any], parsed: Parsed) -> None:
        if len(stack) < 3:
            if not stack:
                parsed.line = event.start_mark.line + 1
            elif len(stack) == 2 and stack[0].key == "items":
                parsed.item_lines.append(event.start_mark.line + 1)
        elif len(stack) >= DEEPEST:
            self.refuse(event, f"nested deeper than {DEEPEST} levels, which no Kubernetes object is: write it flat")
        if stack and stack[-1].key is _KEY and type(stack[-1].box) is dict:
            hint = TEMPLATE_REMEDY if self.templated(event) else "quote it, or give it a name"
            self.refuse(event, f"a mapping or list stands as a key: {hint}")
        self.count += 1
        if event.anchor is not None:
            anchors[event.anchor] = None
        stack.append(_Frame({} if type(event) is events.MappingStartEvent else [], event.anchor, self.count - 1))

    def scalar(self, event: Any) -> Any:
        try:
            value = self.plain[event.value] = resolve(event.value)
        except ValueError as error:
            self.refuse(event, str(error))
        return value

    def tagged(self, event: Any) -> Any:
        try:
            return resolve_tagged(event.tag, event.value)
        except ValueError as error:
            self.refuse(event, str(error))

    def alias(self, event: Any, anchors: dict[str, tuple[Any, int] | None]) -> Any:
        name = event.anchor
        if name not in anchors:
            self.refuse(event, f"*{name} stands for nothing: define &{name} before it, or quote it")
        found = anchors[name]
        if found is None:
            self.refuse(event, f"*{name} stands inside what it stands for: write that part out")
        value, size = found
        self.count += size
        self.aliased += size
        if self.aliased > MOST_ALIASED:
            self.refuse(event, f"aliases stand for more than {MOST_ALIASED:,} nodes: write the document without them")
        return value

    def key(self, event: Any, frame: _Frame, value: Any) -> Any:
        """A key that is no text yet, or that was there before."""
        if value is _MERGE:
            return value
        if isinstance(value, dict | list):
            self.refuse(event, "a mapping or list stands as a key: quote it, or give it a name")
        try:
            key = key_text(value)
        except ValueError as error:
            self.refuse(event, str(error))
        if key in frame.box and key not in frame.merged:
            self.refuse(event, f"{key[:60]} is given twice: remove one of them")
        frame.merged.discard(key)
        return key

    def merge(self, event: Any, frame: _Frame, value: Any) -> None:
        """What `<<` brings in: the first mapping of a list wins, and all of them over what stands before."""
        parts: list[Any] = value if isinstance(value, list) else [value]
        box = cast(dict[str, Any], frame.box)
        for part in reversed(parts):
            if not isinstance(part, dict):
                self.refuse(event, "<<: takes a mapping or a list of mappings: write its keys out")
            box.update(part)
            frame.merged.update(part)

    def templated(self, event: Any) -> bool:
        """Does a template's `{{` stand in this line?"""
        lines = self.text.split("\n", event.start_mark.line + 1)
        return TEMPLATE in lines[min(event.start_mark.line, len(lines) - 1)]

    def refuse(self, event: Any, what: str) -> NoReturn:
        raise Refused(f"{self.where}:{event.start_mark.line + 1}: {what}")


def _json_stream(text: str, where: str, error: yaml.YAMLError) -> list[Parsed]:
    """JSON objects one after the other, as kubectl takes them; the YAML error stands where it is no JSON either."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
    found, place = [], 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        line = text.count("\n", 0, place) + 1
        try:
            body, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as wrong:
            if where.endswith(".json"):
                raise Refused(f"{where}:{wrong.lineno}: not JSON: {wrong.msg.lower()}: correct it there") from wrong
            raise _refused(error, text, where) from error
        except (ValueError, RecursionError) as wrong:
            said = "nested too deeply" if isinstance(wrong, RecursionError) else wrong
            raise Refused(f"{where}:{line}: in the object that begins here, {said}") from wrong
        if _deep(body):
            raise Refused(f"{where}:{line}: nested deeper than {DEEPEST} levels: write it flat")
        found.append(Parsed(body, line))
    return found


def _deep(body: object) -> bool:
    level = [body]
    for _ in range(DEEPEST + 1):
        boxes = [list(each.values()) if isinstance(each, dict) else each for each in level]
        level = [item for box in boxes if isinstance(box, list) for item in box]
    return bool(level)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"{twice[:60]} is given twice: remove one of them")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON number: write text or a number")


def _refused(error: yaml.YAMLError, text: str, where: str) -> Refused:
    """A parser's complaint as one line with its place and what to do."""
    mark = getattr(error, "problem_mark", None)
    problem = " ".join(str(getattr(error, "problem", "") or getattr(error, "reason", "") or error).split())
    line = mark.line if mark is not None else text.count("\n", 0, getattr(error, "position", 0) or 0)
    lines = text.split("\n")
    near = lines[max(0, line - 1) : line + 1]
    if any(TEMPLATE in each for each in near):
        remedy = TEMPLATE_REMEDY
    elif any(each.lstrip(" ").startswith("\t") for each in near) or "\\t" in problem:
        remedy = "indent with spaces, not with a tab"
    elif "mapping values are not allowed" in problem:
        remedy = "check the indentation, or quote a value that holds `: `"
    elif "<document start>" in problem:
        remedy = "begin each document with a line `---`"
    else:
        remedy = "check the indentation, quotes and brackets there"
    return Refused(f"{where}:{line + 1}: not YAML: {problem[:150]}: {remedy}")
