"""How preparation says where it is: one callable, shown on stderr as a bar, or as lines where there is no terminal.

Stdout is never written: it belongs to the command's result.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final, TextIO

# (phase, done, total) in units of the phase's own; total 0 means that the phase cannot be measured.
Progress = Callable[[str, int, int], None]

_WIDTH: Final = 30


def silent(phase: str, done: int, total: int) -> None:
    """Show nothing."""


def on_stream(stream: TextIO = sys.stderr) -> Progress:
    """A bar that redraws itself where `stream` is a terminal; elsewhere one line per phase and per quarter of it."""
    return _bar(stream) if stream.isatty() else _lines(stream)


def _bar(stream: TextIO) -> Progress:
    shown = ""

    def show(phase: str, done: int, total: int) -> None:
        nonlocal shown
        if shown and shown != phase:
            stream.write("\n")
        shown = phase
        filled = _WIDTH * done // total if total else 0
        tail = f"[{'#' * filled:<{_WIDTH}}] {100 * done // total:3d} %" if total else "..."
        stream.write(f"\r{phase:<34} {tail}")
        if total and done >= total:
            stream.write("\n")
            shown = ""
        stream.flush()

    return show


def _lines(stream: TextIO) -> Progress:
    last: tuple[str, int] | None = None

    def show(phase: str, done: int, total: int) -> None:
        nonlocal last
        quarter = 4 * done // total if total else 0
        if last == (phase, quarter):
            return
        last = (phase, quarter)
        stream.write(f"{phase}: {25 * quarter} %\n" if total else f"{phase} ...\n")
        stream.flush()

    return show
