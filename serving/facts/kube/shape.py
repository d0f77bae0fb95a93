"""Reads values out of documents that anybody may have written: what has the wrong type reads as nothing.

Never as an error: the Kubernetes API rejects a wrong type by itself, and a judge only must not stumble over it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})
SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
LARGEST: Final = 2**63  # the API's numbers are 64 bits wide


def as_map(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else EMPTY


def as_maps(value: object) -> list[Mapping[str, Any]]:
    """The mappings in a list; whatever else it holds is left out.

    >>> as_maps([{"name": "a"}, "b"])
    [{'name': 'a'}]
    """
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def as_texts(value: object) -> list[str]:
    """The scalars of a list as text: a YAML writer's `- 8080` is the argument "8080", `- true` is "true".

    >>> as_texts(["--port", 8080, True, None, {}])
    ['--port', '8080', 'true']
    """
    return [as_text(item) for item in value if isinstance(item, str | int | float)] if isinstance(value, list) else []


def as_text(value: object) -> str:
    """A scalar as text, as Kubernetes would write it; anything else is the empty string."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and not -LARGEST <= value < LARGEST:
        return ""
    return str(value) if isinstance(value, str | int | float) else ""


def as_whole(value: object) -> int | None:
    """A whole number, or None for anything else (a boolean is no number, nor is what 64 bits cannot hold).

    >>> as_whole(3), as_whole(True), as_whole("3")
    (3, None, None)
    """
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if -LARGEST <= value < LARGEST else None


def as_count(text: str) -> int | None:
    """The number that plain digits spell, or None for any other text, and for more digits than a count can have.

    >>> as_count("8080"), as_count("http"), as_count("-1"), as_count("9" * 20)
    (8080, None, None, None)
    """
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def as_seconds(text: str) -> float | None:
    """The number that a plain decimal spells, or None for any other text.

    >>> as_seconds("2.5"), as_seconds("-1"), as_seconds("5s")
    (2.5, None, None)
    """
    return float(text) if SECONDS.fullmatch(text.strip()) else None


def dig(value: object, path: str) -> Any:
    """What stands at a dotted path of mappings, or None.

    >>> dig({"spec": {"template": {"spec": 1}}}, "spec.template.spec")
    1
    """
    for key in path.split("."):
        value = as_map(value).get(key)
    return value


def text_map(value: object) -> dict[str, str]:
    """A mapping of text to text, such as labels; what is neither is left out."""
    return {str(key): as_text(item) for key, item in as_map(value).items() if isinstance(item, str | int | float)}
