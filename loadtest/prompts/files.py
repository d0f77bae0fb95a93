"""Reads prompt files, no more of them than is wanted: JSONL by lines, a JSON array entry by entry, in bounded memory.

Everything that is wrong with a file is Refused in one line that names the file, the line and the remedy.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from loadtest.prompts.records import SHAPES, Record, WrongShape, record_of
from serving.errors import Refused

MOST_ENTRY: Final = 8 * 2**20
MOST_KEPT: Final = 512 * 2**20
READ_SIZE: Final = 2**18
BLANK: Final = " \t\r\n"
SPACE: Final = b" \t\r\n"


def read_records(path: Path, limit: int) -> tuple[Record, ...]:
    """The first `limit` entries of this file in which somebody asks something. Raises Refused."""
    records: list[Record] = []
    kept = 0
    try:
        with path.open("rb") as file:
            for line, entry in _entries(file, path):
                try:
                    record = record_of(entry)
                except WrongShape as error:
                    raise Refused(f"{path}: the entry on line {line} {error}") from error
                if record is None:
                    continue
                records.append(record)
                kept += sum(len(message["content"]) for message in record.messages)
                if kept > MOST_KEPT:
                    raise Refused(
                        f"{path}: {len(records)} entries are more than {MOST_KEPT >> 20} Mi characters: lower limit"
                    )
                if len(records) == limit:
                    break
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}: give the path of a prompt file in prompts.file") from error
    if not records:
        raise Refused(f"{path}: holds no prompt: {SHAPES}, one a line")
    return tuple(records)


def _entries(file: BinaryIO, path: Path) -> Iterator[tuple[int, Any]]:
    """Each entry with the number of the line that it begins on."""
    start = file.read(READ_SIZE).removeprefix(codecs.BOM_UTF8)
    begins = start.lstrip(SPACE)[:1]
    file.seek(0)
    if begins == b"[":
        return _array(file, path)
    if begins in (b"{", b""):
        return _lines(file, path)
    raise Refused(f"{path}: line {_line_at(start)} is neither JSONL nor a JSON array: {SHAPES}, one a line")


def _line_at(start: bytes) -> int:
    return start[: len(start) - len(start.lstrip(SPACE))].count(b"\n") + 1


def _lines(file: BinaryIO, path: Path) -> Iterator[tuple[int, Any]]:
    number = 0
    while line := file.readline(MOST_ENTRY + 1):
        number += 1
        if len(line) > MOST_ENTRY:
            raise Refused(f"{path}: line {number} is longer than {MOST_ENTRY >> 20} MiB: give one prompt a line")
        try:
            text = line.removeprefix(codecs.BOM_UTF8).decode() if number == 1 else line.decode()
            if text.strip():
                yield number, json.loads(text)
        except UnicodeDecodeError as error:
            raise Refused(f"{path}: line {number} is not UTF-8: convert the file") from error
        except (ValueError, RecursionError) as error:
            raise Refused(
                f"{path}: line {number} is not one whole JSON object: mend it, or cut the file before it"
            ) from error


def _array(file: BinaryIO, path: Path) -> Iterator[tuple[int, Any]]:
    window = _Window(file, path)
    window.skip(BLANK, "[")
    while True:
        following = window.skip(BLANK)
        if following == "]":
            return
        line = window.line
        yield line, window.value()
        if window.skip(BLANK) not in (",", "]"):
            raise Refused(f"{path}: line {window.line}: a comma or the end of the array is missing: mend it")
        if window.skip(BLANK) == ",":
            window.skip(BLANK, ",")


class _Window:
    """The part of a JSON file that is being read, and the line at which it stands."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._text, self._at, self._ended = "", 0, False
        self._json = json.JSONDecoder()
        self.line = 1

    def skip(self, blank: str, expected: str = "") -> str:
        """Pass over what is blank, and over `expected` after it; return the character that then stands here."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in blank:
                self._step(self._at + 1)
            if self._at < len(self._text):
                break
            if not self._more(READ_SIZE):
                raise Refused(
                    f"{self._path}: line {self.line}: the array has no end: the file is cut short: copy it again"
                )
        if expected:
            self._step(self._at + len(expected))
            return expected
        return self._text[self._at]

    def value(self) -> Any:
        """The JSON value that begins here."""
        while True:
            try:
                found, end = self._json.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise Refused(f"{self._path}: the entry on line {self.line} is nested too deeply") from error
            except ValueError as error:
                size = len(self._text) - self._at
                unfinished = _unfinished(error, self._text)
                if (
                    unfinished and size < MOST_ENTRY and self._more(max(size, READ_SIZE))
                ):  # doubling: parsed twice or so
                    continue
                said = f"is longer than {MOST_ENTRY >> 20} MiB" if unfinished else "is not JSON"
                said = "is not whole: the file is cut short" if unfinished and self._ended else said
                raise Refused(f"{self._path}: the entry on line {self.line} {said}: mend it, or lower limit") from error
            self._step(end)
            return found

    def _step(self, to: int) -> None:
        self.line += self._text.count("\n", self._at, to)
        self._at = to

    def _more(self, size: int) -> bool:
        if self._ended:
            return False
        read = self._file.read(size)
        self._ended = not read
        try:
            added = self._decode(read, self._ended)
        except UnicodeDecodeError as error:
            raise Refused(f"{self._path}: not UTF-8, from about line {self.line} on: convert the file") from error
        self._text, self._at = self._text[self._at :] + added, 0
        return not self._ended


def _unfinished(error: ValueError, text: str) -> bool:
    """Whether more text might mend it: the error is at the end, or in a string that has none."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.pos >= len(text) - 8 or error.msg.startswith("Unterminated string")
