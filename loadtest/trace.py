"""Reads a recording of arrivals: Mooncake's JSONL, or Azure's columns as CSV or JSONL; found out from its first line.

It keeps what the file says: times count from the first row, and are divided by the replay's speed and never else
touched. A file that is cut short, wrong or out of order is refused in one line that names the file and the line.
"""

from __future__ import annotations

import csv
import json
import math
from array import array
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from loadtest.load import MOST_REQUESTS, MOST_S, TraceFile
from loadtest.schedule import Length
from serving.errors import Refused

MOST_TOKENS: Final = 10_000_000
MOST_TIME: Final = 1e15
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MOONCAKE: Final = ("timestamp", "input_length", "output_length")
AZURE: Final = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")

Reader = Callable[[str], tuple[float, Length]]


@dataclass(frozen=True)
class Trace:
    """What is to be replayed: when, in seconds from its first row at the replay's speed, and how long each one is."""

    due_s: array[float]
    lengths: tuple[Length, ...]


def read_trace(wanted: TraceFile) -> Trace:
    """The trace in this file, or the beginning of it that was asked for. Raises Refused with one line."""
    try:
        with Path(wanted.file).open(encoding="utf-8", newline="") as lines:
            return parse_trace(lines, wanted)
    except OSError as error:
        raise Refused(f"trace {wanted.file}: {error.strerror}: give the path of a JSONL or CSV file") from error
    except UnicodeDecodeError as error:
        raise Refused(f"trace {wanted.file}: not UTF-8: give JSONL or CSV text, not compressed") from error


def parse_trace(lines: Iterable[str], wanted: TraceFile) -> Trace:
    """The trace that these lines hold. Raises Refused, naming the file and the line, for the first that is wrong."""
    due_s, lengths = array("d"), list[Length]()
    row: Reader | None = None
    first_us = before_us = 0.0
    for number, line in enumerate(lines, start=1):
        try:
            if not line.strip():
                continue
            if row is None:
                row, header = _reader(line)
                if header:
                    continue
            at_us, length = row(line)
            if not lengths:
                first_us = before_us = at_us
            if at_us < before_us:
                raise ValueError(f"{(before_us - at_us) / 1e6:g} s before the row above: sort the file by time")
            before_us, due = at_us, (at_us - first_us) / 1e6 / wanted.speed
            if wanted.duration_s is not None and due >= wanted.duration_s:
                break
            if due > MOST_S:
                raise ValueError(
                    f"{due / 86_400:.3g} days after the first row, and a run has {MOST_S // 86_400}: are its times "
                    "milliseconds (Mooncake) or seconds (Azure)? Else set trace.speed or trace.duration_s"
                )
            if len(lengths) == MOST_REQUESTS:
                raise ValueError(f"more than {MOST_REQUESTS:,} requests: set trace.requests or trace.duration_s")
        except ValueError as error:
            raise Refused(f"trace {wanted.file}: line {number}: {error}") from error
        due_s.append(due)
        lengths.append(length)
        if len(lengths) == wanted.requests:
            break
    if not lengths:
        raise Refused(f"trace {wanted.file}: holds no request: give a JSONL or CSV file with one a line")
    return Trace(due_s, tuple(lengths))


def _reader(line: str) -> tuple[Reader, bool]:
    """What reads the rows of a file that begins with this line, and whether the line is a header."""
    line = line.removeprefix("\ufeff")
    if line.lstrip().startswith("{"):
        return (_azure if AZURE[0] in _json(line) else _mooncake), False
    names = _cells(line)
    if any(name not in names for name in AZURE):
        raise ValueError(f"neither a JSON object nor a CSV header with {', '.join(AZURE)}")
    return partial(_azure, names=names), True


def _azure(line: str, names: list[str] | None = None) -> tuple[float, Length]:
    if names is None:
        body = _json(line)
    else:
        cells = _cells(line)
        if len(cells) != len(names):
            raise ValueError(f"has {len(cells)} columns of {len(names)}: it is cut short or not of this file")
        body = dict(zip(names, cells, strict=True))
    at, prompt, output = _columns(body, AZURE)
    return _moment_us(at), Length(_tokens(prompt, AZURE[1]), _tokens(output, AZURE[2]))


def _mooncake(line: str) -> tuple[float, Length]:
    body = _json(line)
    at_ms, prompt, output = _columns(body, MOONCAKE)
    hash_ids = body.get("hash_ids") or []
    if not isinstance(hash_ids, list) or not all(type(name) is int for name in hash_ids):
        raise ValueError("hash_ids must be a list of whole numbers")
    length = Length(_tokens(prompt, MOONCAKE[1]), _tokens(output, MOONCAKE[2]), tuple(hash_ids))
    return _number(at_ms, MOONCAKE[0]) * 1000, length


def _columns(body: dict[str, Any], names: tuple[str, ...]) -> list[Any]:
    for name in names:
        if name not in body:
            raise ValueError(f"no {name}: each row needs {', '.join(names)}")
    return [body[name] for name in names]


def _json(line: str) -> dict[str, Any]:
    try:
        body = json.loads(line.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise ValueError("cut short or not JSON: give one object a line") from error
    if not isinstance(body, dict):
        raise ValueError("not a JSON object: give one a line")
    return body


def _cells(line: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], strict=True))]
    except csv.Error as error:
        raise ValueError(f"not CSV: {error}: it is cut short or not of this file") from error


def _moment_us(value: object) -> float:
    """Microseconds, whole where they can be: from a number of seconds, or a date and time (UTC unless it says)."""
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                pass
            else:
                return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH) // timedelta(microseconds=1)
    return _number(value, AZURE[0]) * 1_000_000


def _number(value: object, name: str) -> float:
    """A finite number; a whole one stays whole, so that differences are exact."""
    number: float = math.nan
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        with suppress(ValueError):
            number = float(value) if isinstance(value, str) else value
    if not -MOST_TIME <= number <= MOST_TIME:
        raise ValueError(f"{name} is {_shown(value)}, which is no time")
    return number


def _tokens(value: object, name: str) -> int:
    text = isinstance(value, str) and value.isascii() and value.isdigit()
    number = int(str(value)) if text and len(str(value)) < 10 else value
    if type(number) is not int or not 1 <= number <= MOST_TOKENS:
        raise ValueError(f"{name} is {_shown(value)}: give a whole number of tokens, 1 or more")
    return number


def _shown(value: object) -> str:
    return repr(value)[:40]
