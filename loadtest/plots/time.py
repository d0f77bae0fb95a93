"""The time axis that the pictures of a run share: its unit, its phases, and the bins that counts are taken over."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any, Final

import numpy as np

from loadtest.plots.figure import Floats, title
from serving.facts.columns import Counts
from serving.facts.traffic import Phase, Traffic

MOST_BINS: Final = 120
MOST_POINTS: Final = 1_500
UNITS: Final = ((7_200.0, 3_600.0, "hours"), (600.0, 60.0, "minutes"))
SHORT: Final = {"hours": " h", "minutes": " min", "seconds": " s"}
LETTER: Final = 7 / 300  # of the narrowest picture's width
STEPS: Final = (1, 2, 5, 10)


@dataclass(frozen=True)
class Time:
    """From 0 to `span_s` seconds, shown in a unit that suits."""

    span_s: float
    phases: tuple[Phase, ...]
    unit_s: float
    unit: str

    @classmethod
    def of(cls, traffic: Traffic) -> Time:
        """The axis of a run: until its last request was due, and its end."""
        load, phases = traffic.plan.load, traffic.phases
        due = max((request.scheduled_s for request in traffic.requests), default=0.0)
        span_s = max(traffic.end.elapsed_s, due, 1e-3)
        if not phases and load.warmup_s:
            phases = (Phase("warm-up", 0.0, load.warmup_s, counts=False), Phase("", load.warmup_s, None))
        fitting = next(((unit_s, unit) for from_s, unit_s, unit in UNITS if span_s > from_s), (1.0, "seconds"))
        return cls(span_s, phases, *fitting)

    @property
    def bin_s(self) -> float:
        """The width of a bin: 1, 2 or 5 times a power of ten seconds, so that there are not too many."""
        least = self.span_s / MOST_BINS
        decade = 10.0 ** np.floor(np.log10(least))
        return float(next(step * decade for step in STEPS if step * decade >= least * (1 - 1e-9)))

    @property
    def bins(self) -> int:
        """How many bins there are."""
        return max(1, int(np.ceil(self.span_s / self.bin_s - 1e-9)))

    @property
    def starts(self) -> Floats:
        """Where each bin begins, in the unit of the axis."""
        return self.shown(np.arange(self.bins) * self.bin_s)

    def shown(self, seconds: Any) -> Floats:
        """Seconds as the axis shows them."""
        return np.asarray(seconds, np.float64) / self.unit_s

    def counted(self, at_s: Any, weights: Any = None) -> Floats:
        """How much fell into each bin."""
        at = np.asarray(at_s, np.float64)
        places = np.clip((at / self.bin_s).astype(np.int64), 0, self.bins - 1)
        return np.bincount(places, None if weights is None else np.asarray(weights), self.bins).astype(np.float64)

    def per_second(self, at_s: Any, weights: Any = None) -> Floats:
        """The rate in each bin. One that the end cuts to less than half shares its rate with the bin before it."""
        edges = np.minimum(np.arange(self.bins + 1) * self.bin_s, self.span_s)
        counted, widths = self.counted(at_s, weights), np.diff(edges)
        found: Floats = counted / widths
        if self.bins > 1 and widths[-1] < self.bin_s / 2:
            found[-2:] = counted[-2:].sum() / widths[-2:].sum()
        return found

    def axis(self, *, labelled: bool = False) -> dict[str, Any]:
        """The x axis of every picture over time; the last one is labelled."""
        shown = {"title": title(f"{self.unit} since the start of the run")} if labelled else {}
        return {"range": [0, self.span_s / self.unit_s], "tickformat": ",~g", "ticksuffix": SHORT[self.unit], **shown}

    def bands(self) -> list[dict[str, Any]]:
        """The phases as bands behind a picture; what does not count is darker."""
        return [
            {
                "type": "rect",
                "xref": "x",
                "yref": "paper",
                "x0": start,
                "x1": end,
                "y0": 0,
                "y1": 1,
                "layer": "below",
                "line": {"width": 0},
                "fillcolor": f"var(--band-{number % 2})" if phase.counts else "var(--band-out)",
            }
            for number, (phase, start, end) in enumerate(self._spans())
        ]

    def names(self) -> list[dict[str, Any]]:
        """The phases' names above a picture, where they have room."""
        return [
            {
                "x": start,
                "y": 1,
                "yref": "paper",
                "xanchor": "left",
                "yanchor": "bottom",
                "text": escape(phase.name),
                "showarrow": False,
                "font": {"size": 10},
            }
            for phase, start, end in self._spans()
            if phase.name and len(phase.name) * LETTER <= (end - start) * self.unit_s / self.span_s
        ]

    def _spans(self) -> list[tuple[Phase, float, float]]:
        ends = [self.span_s if phase.end_s is None else phase.end_s for phase in self.phases]
        return [
            (phase, phase.start_s / self.unit_s, min(end, self.span_s) / self.unit_s)
            for phase, end in zip(self.phases, ends, strict=True)
            if phase.start_s < self.span_s
        ]


def evenly(count: int, most: int) -> Counts:
    """At most so many indices of `count`, evenly, the last one included."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64)) if count else np.zeros(0, np.int64)


def envelope(at_s: Floats, values: Floats, most: int = MOST_POINTS) -> tuple[Floats, Floats]:
    """A series thinned to about `most` points that keeps each stretch's least and largest value."""
    if len(values) <= most:
        return at_s, values
    kept: set[int] = {0, len(values) - 1}
    for part in np.array_split(np.arange(len(values)), most // 2):
        kept |= {int(part[values[part].argmin()]), int(part[values[part].argmax()])}
    chosen = np.array(sorted(kept))
    return at_s[chosen], values[chosen]
