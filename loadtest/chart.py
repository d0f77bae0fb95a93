"""Draws one chart as inline SVG: axes, lines, dots, stacked bars. No script, no font, nothing from outside.

Colours are CSS classes, so that the page decides them for light and dark. It knows nothing of load tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 14, 42
Point = tuple[float, float]
STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


class Axis:
    """A linear or logarithmic range, and its round ticks. A logarithmic axis starts above 0."""

    def __init__(self, low: float, high: float, label: str, *, log: bool = False) -> None:
        self.log, self.label = log, label
        if log:
            low = max(low, 1e-3)
            high = max(high, low * 1.01)
            self.low, self.high = _round_down(low), _round_up(high)
        else:
            self.low, self.high = low, high if high > low else low + 1.0

    def place(self, value: float) -> float:
        """Where a value lies, from 0 to 1; beyond the ends it lies at the end."""
        if self.log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)

    def ticks(self) -> list[float]:
        """Round values within the range, at most about eight."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            per_decade = (1, 2, 5) if len(decades) <= 4 else (1,)
            found = [factor * 10.0**decade for decade in decades for factor in per_decade]
        else:
            rough = (self.high - self.low) / 6
            scale = 10.0 ** math.floor(math.log10(rough))
            step = next(scale * factor for factor in STEPS if scale * factor >= rough)
            first = math.ceil(self.low / step - 1e-9)
            found = [step * number for number in range(first, first + 12)]
        return [tick for tick in found if self.low * (1 - 1e-9) <= tick <= self.high * (1 + 1e-9)]


class Chart:
    """One chart. Add series in drawing order, then take `svg()`. `about` is read out to who cannot see it."""

    def __init__(self, x: Axis, y: Axis, about: str) -> None:
        self._x, self._y, self._about = x, y, about
        self._marks: list[str] = []

    def line(self, points: Sequence[Point], css: str, *, step: bool = False) -> None:
        """A line through the points; with `step`, each value holds until the next one."""
        path: list[str] = []
        for number, (x, y) in enumerate(points):
            if number == 0:
                path.append(f"M{self._at(x, y)}")
            else:
                path += [f"L{self._at(x, points[number - 1][1])}"] * step + [f"L{self._at(x, y)}"]
        if path:
            self._marks.append(f'<path class="line {css}" d="{"".join(path)}"/>')

    def dots(self, points: Iterable[Point], css: str) -> None:
        """A dot at each point: one path of zero-length strokes, which keeps thousands of them small."""
        path = "".join(f"M{self._at(x, y)}h0" for x, y in points)
        if path:
            self._marks.append(f'<path class="dots {css}" d="{path}"/>')

    def bar(self, left: float, right: float, low: float, high: float, css: str) -> None:
        """One bar, or a part of a stacked one."""
        x0, y0 = self._xy(left, high)
        x1, y1 = self._xy(right, low)
        width, height = max(x1 - x0 - 1, 0.5), y1 - y0
        self._marks.append(f'<rect class="{css}" x="{x0:.1f}" y="{y0:.1f}" width="{width:.1f}" height="{height:.1f}"/>')

    def limit(self, x: float, css: str, label: str) -> None:
        """A vertical line with a label, for a limit on the x axis."""
        at, _ = self._xy(x, self._y.low)
        anchor, text_x = ("end", at - 4) if at > WIDTH * 0.7 else ("start", at + 4)
        self._marks.append(
            f'<path class="limit {css}" d="M{at:.1f},{TOP}V{HEIGHT - BOTTOM}"/>'
            f'<text class="{css}" x="{text_x:.1f}" y="{TOP + 10}" text-anchor="{anchor}">{escape(label)}</text>'
        )

    def svg(self) -> str:
        """The chart as one element, as wide as its place."""
        frame = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{escape(self._about)}</title>']
        for tick in self._x.ticks():
            x, y = self._xy(tick, self._y.low)
            frame.append(f'<path class="grid" d="M{x:.1f},{TOP}V{y:.1f}"/>')
            frame.append(f'<text x="{x:.1f}" y="{y + 15:.1f}" text-anchor="middle">{number(tick)}</text>')
        for tick in self._y.ticks():
            x, y = self._xy(self._x.low, tick)
            frame.append(f'<path class="grid" d="M{x:.1f},{y:.1f}H{WIDTH - RIGHT}"/>')
            frame.append(f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{number(tick)}</text>')
        middle = (LEFT + WIDTH - RIGHT) / 2
        frame.append(f'<text x="{middle:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(self._x.label)}</text>')
        height = (TOP + HEIGHT - BOTTOM) / 2
        frame.append(
            f'<text x="14" y="{height:.0f}" text-anchor="middle" transform="rotate(-90 14 {height:.0f})">'
            f"{escape(self._y.label)}</text>"
        )
        return "".join([*frame, *self._marks, "</svg>"])

    def _xy(self, x: float, y: float) -> Point:
        across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return LEFT + self._x.place(x) * across, HEIGHT - BOTTOM - self._y.place(y) * up

    def _at(self, x: float, y: float) -> str:
        across, down = self._xy(x, y)
        return f"{across:.1f},{down:.1f}"


def number(value: float) -> str:
    """A short number for a tick.

    >>> [number(value) for value in (0.0, 0.5, 20.0, 1500.0, 20000.0)]
    ['0', '0.5', '20', '1,500', '20,000']
    """
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:g}"


def _round_down(value: float) -> float:
    decade = 10.0 ** math.floor(math.log10(value))
    return max(factor * decade for factor in (1, 2, 5) if factor * decade <= value * (1 + 1e-9))


def _round_up(value: float) -> float:
    decade = 10.0 ** math.floor(math.log10(value))
    return min(factor * decade for factor in (1, 2, 5, 10) if factor * decade >= value * (1 - 1e-9))
