"""Writes the ledger: each record is on its way to the disk before the next one, so a crash loses none that ended.

The format is `serving.facts.traffic`'s. Nothing else writes into a ledger.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from serving.errors import CannotAct
from serving.facts.traffic import RequestSeen, RunEnd, RunPlan, line_of


class Ledger:
    """An open ledger. Raises CannotAct with one line when the disk refuses, keeping what was written before."""

    def __init__(self, path: Path, plan: RunPlan) -> None:
        self._path = path
        self.records = 0
        try:
            self._file = path.open("xb", buffering=0)  # nothing waits in a buffer that a crash would empty
        except OSError as error:
            raise CannotAct(f"cannot write {path}: {error.strerror}: give another --out") from error
        try:
            self._write(line_of(plan))
        except CannotAct:
            self._file.close()
            raise

    def add(self, request: RequestSeen, line: str | None = None) -> None:
        """Write the record of one request; `line` is its line where another process has made that."""
        self._write(line_of(request) if line is None else line)
        self.records += 1

    def finish(self, end: RunEnd) -> None:
        """Write the last line, without which a ledger is not whole."""
        self._write(line_of(end))

    def _write(self, line: str) -> None:
        rest = f"{line}\n".encode()
        try:
            while rest:  # a disk that is nearly full takes a part
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise CannotAct(
                f"cannot write {self._path}: {error.strerror}: make room; {self.records} requests are kept"
            ) from error

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
