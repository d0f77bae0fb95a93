"""What a plain YAML scalar means to Kubernetes: its own parser's reading, which is neither YAML 1.1's nor 1.2's.

kubectl reads YAML through sigs.k8s.io/yaml, a fork of go-yaml v2, and hands JSON to the API server: `yes`, `on` and `y`
are booleans, `0777` is octal, `1:30` and dates are text, whole floats become integers. Knows nothing of documents.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from typing import Final

TRUE: Final = ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON")
FALSE: Final = ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF")
NULL: Final = ("", "~", "null", "Null", "NULL")
NO_NUMBER: Final = re.compile(r"\.(?:nan|NaN|NAN)|[-+]?\.(?:inf|Inf|INF)")
WORDS: Final[Mapping[str, bool | None]] = (
    dict.fromkeys(TRUE, True) | dict.fromkeys(FALSE, False) | dict.fromkeys(NULL, None)
)
WHOLE: Final = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
INT64: Final = 2**63
LONGEST_NUMBER: Final = 200  # digits; longer ones are read in quadratic time and are no number anyway
TAG: Final = "tag:yaml.org,2002:"

TYPES: Final[Mapping[str, type]] = {"int": int, "float": float, "bool": bool, "null": type(None)}


def resolve(text: str) -> str | bool | int | float | None:
    """What an untagged, unquoted scalar says. Raises ValueError for what JSON cannot hold: NaN and infinity.

    >>> [resolve(text) for text in ("yes", "n", "0777", "08", "1_000", "1:30", "2026-01-01", "1e3", "~")]
    [True, False, 511, 8, 1000, '1:30', '2026-01-01', 1000, None]
    """
    if text in WORDS:
        return WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if NO_NUMBER.fullmatch(text):
        raise ValueError(f"{text} is no number that Kubernetes can hold: quote it, or leave it out")
    plain = text if text[0] == "." else text.replace("_", "")
    if len(plain) > LONGEST_NUMBER:
        return text
    if WHOLE.fullmatch(plain):
        return _json_number(_whole(plain))
    if FLOAT.fullmatch(plain):
        number = float(plain)
        return text if math.isinf(number) else _json_number(number)
    return text


def resolve_tagged(tag: str, text: str) -> str | bool | int | float | None:
    """What a scalar with a tag says. Unknown tags are ignored and leave text. Raises ValueError where both disagree."""
    name = tag.removeprefix(TAG)
    if name == "binary":
        try:
            return base64.b64decode(text, validate=False).decode()
        except (binascii.Error, ValueError) as error:
            raise ValueError("!!binary: not base64 of text: write the text, or use binaryData") from error
    wanted = TYPES.get(name)
    if wanted is None or tag == name:
        return text
    value = resolve(text)
    if not isinstance(value, wanted) and not (wanted is float and type(value) is int):
        raise ValueError(f"{text[:40]!r} is not of its tag !!{name}: leave the tag out")
    return value


def key_text(value: str | bool | int | float | None) -> str:
    """A key as JSON has it: text. Raises ValueError for null, which Kubernetes refuses as a key."""
    if isinstance(value, str):
        return value
    if value is None:
        raise ValueError("null is no key: quote it, or give the key a name")
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.8g}" if isinstance(value, float) else str(value)


def _whole(plain: str) -> int:
    try:
        return int(plain, 0)
    except ValueError:  # Python refuses the octals that begin with a bare 0
        return int(plain, 8)


def _json_number(number: float) -> int | float:
    """A number after its way through JSON: whole where it fits 64 bits, else a float."""
    if -INT64 <= number < INT64:
        return int(number) if number == int(number) else number
    return float(number)
