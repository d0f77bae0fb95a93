"""One picture: plotly's figure, and the title, note and legend that the page sets in HTML around it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PALETTE: Final = ("a", "c", "b", "d", "e", "f")
MOST_KEYS: Final = 16
LEAST_MS: Final = 1e-3  # a logarithmic axis has no zero
GRID: Final = {
    "gridcolor": "var(--grid)",
    "linecolor": "var(--edge)",
    "zeroline": False,
    "ticks": "",
    "automargin": False,
}


@dataclass(frozen=True)
class Key:
    """A legend's entry: the CSS variable of its colour, its text, whether it is drawn dotted, and its traces."""

    color: str
    text: str
    dashed: bool
    traces: tuple[int, ...]


@dataclass
class Plot:
    """A picture that is built up trace by trace. `wide` ones share the time axis and are drawn below each other.

    One that is not `keyed` needs no legend for a single trace: its title and its note say what that is.
    """

    name: str
    title: str
    note: str
    x: dict[str, Any]
    y: dict[str, Any]
    height: int = 190
    wide: bool = True
    keyed: bool = True
    shapes: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    legend: list[Key] = field(default_factory=list)
    traces: list[Any] = field(default_factory=list)

    def line(
        self,
        x: Floats | Sequence[float],
        y: Floats | Sequence[float],
        text: str,
        color: str,
        *,
        step: bool = False,
        dashed: bool = False,
        width: float = 1.8,
        hover: str = "%{y:,.4~g}",
    ) -> None:
        """A line through the points; with `step`, each value holds until the next one."""
        style = {"color": f"var(--{color})", "width": width, "shape": "hv" if step else "linear"}
        style |= {"dash": "dot"} if dashed else {}
        self._add(go.Scatter(x=_array(x), y=_array(y), mode="lines", line=style), text, color, hover, dashed=dashed)

    def dots(
        self, x: Floats | Sequence[float], y: Floats | Sequence[float], text: str, color: str, **style: Any
    ) -> None:
        """A marker at each point; `hover`, and `marks`, a text for each, tell more."""
        hover, marks = style.pop("hover", "%{y:,.4~g} ms"), style.pop("marks", None)
        marker = {"color": f"var(--{color})", "size": 4, "opacity": 0.7, **style}
        trace = go.Scatter(x=_array(x), y=_array(y), mode="markers", marker=marker, customdata=marks)
        self._add(trace, text, color, hover)

    def bars(self, x: Floats, y: Floats, text: str, color: str, width: float) -> None:
        """A part of the stacked bars that begin at each x."""
        trace = go.Bar(
            x=_array(x), y=_array(y), offset=0, width=width, marker={"color": f"var(--{color})", "line": {"width": 0}}
        )
        self._add(trace, text, color, "%{y:,}")

    def limit(self, x: float, share: float | None, text: str, color: str) -> None:
        """A limit on the x axis; the mark at a share is what a curve must pass on its left. A mean has none."""
        line = {"color": f"var(--{color})", "width": 1.2, "dash": "dash"}
        self.shapes.append({"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 100, "line": line})
        if share is not None:
            marker = {"color": f"var(--{color})", "size": 9, "symbol": "diamond"}
            at = {"x": [x], "y": [100 * share], "mode": "markers", "marker": marker, "name": escape(text)}
            self.traces.append(go.Scatter(**at, hovertemplate=f"{escape(text)}<extra></extra>", cliponaxis=False))
        self.notes.append(
            {
                "x": float(np.log10(x)),
                "y": 0.02,
                "yref": "paper",
                "yanchor": "bottom",
                "xanchor": "right",
                "xshift": -2,
                "bgcolor": "var(--card)",
                "borderpad": 0,
                "text": escape(text),
                "textangle": -90,
                "showarrow": False,
                "font": {"color": f"var(--{color})", "size": 11},
            }
        )

    @property
    def about(self) -> str:
        """What is read out to who cannot see the picture."""
        return f"{self.title}. {self.note} Shown: {', '.join(key.text for key in self.legend)}."

    @property
    def more(self) -> int:
        """How many entries the legend leaves out."""
        return max(0, len(self.legend) - MOST_KEYS)

    @property
    def keys(self) -> list[Key]:
        """The legend, as far as it is shown."""
        return self.legend[:MOST_KEYS] if self.keyed or len(self.legend) > 1 else []

    def figure(self) -> dict[str, Any]:
        """The figure as plain data for plotly.js, checked by plotly: arrays of numbers come as base64."""
        layout = {
            "template": "none",
            "height": self.height,
            "margin": {
                "l": 56,
                "r": 20,
                "t": 18 if self.wide and self.notes else 8,
                "b": 38 if self.x.get("title") else 22,
                "pad": 0,
            },
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif", "size": 11, "color": "var(--dim)"},
            "hoverlabel": {"bgcolor": "var(--card)", "bordercolor": "var(--edge)", "font": {"color": "var(--ink)"}},
            "hovermode": "closest",
            "showlegend": False,
            "barmode": "stack",
            "bargap": 0,
            "xaxis": GRID | self.x,
            "yaxis": GRID | self.y,
            "shapes": self.shapes,
            "annotations": self.notes,
        }
        made: dict[str, Any] = json.loads(go.Figure(self.traces, layout).to_json(engine="json"))
        return made

    def _add(self, trace: Any, text: str, color: str, hover: str, *, dashed: bool = False) -> None:
        trace.hovertemplate = f"{escape(text)}: {hover}<extra></extra>"
        trace.name = escape(text)
        self.legend.append(Key(color, text, dashed, (len(self.traces),)))
        self.traces.append(trace)


def title(text: str) -> dict[str, Any]:
    """An axis' title."""
    return {"text": text, "standoff": 6, "font": {"size": 11}}


def log_axis(low: float, high: float, text: str) -> dict[str, Any]:
    """A logarithmic axis over these milliseconds, a little wider than they are."""
    low, high = max(low, LEAST_MS), max(high, LEAST_MS)
    room = max(0.04 * float(np.log10(high / low)), 0.02)
    ends = [float(np.log10(low)) - room, float(np.log10(high)) + room]
    steps: dict[str, Any] = {"dtick": "D2"} if ends[1] - ends[0] < 2.2 else {"dtick": 1}
    if ends[1] - ends[0] < 0.5:
        steps = {"nticks": 6}
    return {"type": "log", "range": ends, "tickformat": ",~g", "title": title(text), **steps}


def _array(values: Floats | Sequence[float]) -> Floats:
    return np.asarray(values, np.float64)
