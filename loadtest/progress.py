"""How a run fares, on stderr: rewritten in place on a terminal, a new line every few seconds elsewhere.

It reads the run and never touches it, but for `say`, whose lines would otherwise land in the middle of its own. It runs
in the process that sends, so it looks seldom and draws little.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable
from typing import Any, Final, TextIO

import gevent

from loadtest.live import Figures, Looker
from loadtest.run import Run

EVERY_S: Final = 5.0
TERMINAL_EVERY_S: Final = 1.0
BETWEEN: Final = "  "
WIDEST: Final = 120


class Progress:
    """Shows a run while the context is open."""

    def __init__(self, run: Run, stream: TextIO = sys.stderr) -> None:
        self._run, self._stream, self._looker = run, stream, Looker(run)
        self._live = _live(stream)
        self._said = run.say

    def __enter__(self) -> None:
        if self._live is not None:
            self._live.start()
            self._run.say = self._say
        self._greenlet = gevent.spawn(self._show)

    def __exit__(self, *error: object) -> None:
        self._greenlet.kill()
        self._run.say = self._said
        if self._live is not None:
            self._draw()
            self._live.stop()  # which gives the cursor back

    def line(self) -> str:
        """All of it in one line."""
        return BETWEEN.join(text for text, _ in self.parts())

    def parts(self) -> list[tuple[str, str]]:
        """What there is to say, and in which style."""
        figures, recent = self._looker.look(), self._run.recent
        if figures is None:
            return [("starting", "dim")]
        parts = [(figures.phase, "bold")] if figures.phase else []
        parts += [(_time(figures), ""), *((text, "") for text in _load(figures))]
        parts.append((f"{recent.failures} failed", "red" if recent.failures else "dim"))
        if (goodput := recent.goodput) is not None:
            parts.append((f"goodput {goodput:.1%}", "" if goodput > 0.9 else "yellow"))
        if (ttft := recent.ttft_ms(0.5, 0.99)) is not None:
            parts.append((f"TTFT p50 {_ms(ttft[0])} p99 {_ms(ttft[1])}", ""))
        return [*parts, ("stopping", "yellow")] if figures.stopping else parts

    def _show(self) -> None:
        while True:
            gevent.sleep(EVERY_S if self._live is None else TERMINAL_EVERY_S)
            self._draw()

    def _draw(self) -> None:
        try:
            if self._live is None:
                self._stream.write(f"{self.line()}\n")
                self._stream.flush()
            else:
                self._live.update(self._text(self._live.console.width), refresh=True)
        except OSError:
            return

    def _text(self, width: int) -> Any:
        from rich.text import Text

        text = Text(no_wrap=True, overflow="ellipsis")
        for number, row in enumerate(rows(self.parts(), min(width, WIDEST))):
            text.append("\n" if number else "")
            for place, (said, style) in enumerate(row):
                text.append(BETWEEN if place else "").append(said, style=style)
        return text

    def _say(self, line: str) -> None:
        """A line of the run's, above the figures."""
        if self._live is not None:
            self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)


def rows(parts: Iterable[tuple[str, str]], width: int) -> list[list[tuple[str, str]]]:
    """The parts in as few rows as hold them; one that is too wide for any has a row of its own."""
    found: list[list[tuple[str, str]]] = []
    used = width
    for part in parts:
        if used + len(BETWEEN) + len(part[0]) > width:
            found.append([])
            used = -len(BETWEEN)
        found[-1].append(part)
        used += len(BETWEEN) + len(part[0])
    return found


def _live(stream: TextIO) -> Any:
    """A display that is rewritten in place; None where the stream cannot have one."""
    if not stream.isatty() or os.environ.get("TERM") in (None, "", "dumb", "unknown"):
        return None
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream)  # it heeds NO_COLOR, COLUMNS and the terminal's size
    return Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)


def _time(figures: Figures) -> str:
    if figures.end_s is None:
        return f"{figures.elapsed_s:.0f} s"
    rest = f"{figures.left_s or 0:.0f} s to go"
    if not figures.left_s or figures.started == figures.planned:
        rest = "waiting for the last streams" if figures.in_flight else "all sent"
    return f"{figures.elapsed_s:.0f} of {figures.end_s:.0f} s, {rest}"


def _load(figures: Figures) -> Iterable[str]:
    yield f"{figures.started}{'' if figures.planned is None else f'/{figures.planned}'} started"
    if figures.achieved_per_s is not None:
        offered = "" if figures.offered_per_s is None else f" of {figures.offered_per_s:.1f}"
        yield f"sent {figures.achieved_per_s:.1f}{offered}/s"
    yield f"{figures.in_flight} in flight"


def _ms(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.0f} ms"
