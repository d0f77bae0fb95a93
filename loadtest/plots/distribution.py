"""The distributions: which share of all took at most so long, with the gates' limits. By exact quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from loadtest.plots.figure import LEAST_MS, PALETTE, Plot, log_axis, title
from loadtest.plots.time import evenly
from serving.expectations import Slo
from serving.facts.columns import Columns, columns
from serving.facts.measured import Measured
from serving.facts.samples import measured
from serving.facts.traffic import RequestSeen, Traffic

CURVE_POINTS: Final = 400
SLOWEST: Final = 100
FASTEST: Final = 100  # times as fast as the median is as good as nothing: chunks that came together have no gap at all
SHARES: Final = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99, "max": 1.0}
NOTE: Final = "Share of all that took at most so long; failed requests keep a curve below 100 %."
HOVER: Final = "%{y:.2f} % within %{x:,.4~g} ms"


def distributions(traffic: Traffic, slos: Sequence[Slo]) -> list[Plot | None]:
    """To the first token and the end, and between tokens."""
    rows = columns(traffic.window)
    between = ("itl" if measured("itl", rows).n else "icl", "tpot", "stall")
    return [
        _distribution("answer", "To the first token, and to the end", ("ttft", "e2e", "ttft_wire"), rows, slos),
        _distribution("between", "Between tokens", between, rows, slos),
    ]


def arms(traffic: Traffic) -> Plot | None:
    """The sides of an A/B run, over each other; nothing when there are none."""
    sides: dict[str, list[RequestSeen]] = {}
    for request in traffic.window:
        if request.arm:
            sides.setdefault(request.arm, []).append(request)
    if len(sides) < 2:
        return None
    names = sorted(sides)
    rows = {name: columns(sides[name]) for name in names}
    curves = {(metric, name): measured(metric, rows[name]) for metric in ("ttft", "e2e") for name in names}
    plot = _empty("arms", " against ".join(names).capitalize(), list(curves.values()), [])
    if plot is not None:
        for (metric, name), found in curves.items():
            color = PALETTE[("ttft", "e2e").index(metric)]
            _curve(plot, found, f"{metric}, {name}", color, dashed=name == names[0])
    return plot


def _distribution(name: str, about: str, metrics: Sequence[str], rows: Columns, slos: Sequence[Slo]) -> Plot | None:
    curves = {metric: measured(metric, rows) for metric in metrics}
    limits = [(slo, slo.at_most_ms) for slo in slos if slo.metric in metrics and slo.at_most_ms is not None]
    plot = _empty(name, about, list(curves.values()), [limit for _, limit in limits])
    if plot is None:
        return None
    for color, (metric, found) in zip(PALETTE, curves.items(), strict=False):
        _curve(plot, found, metric, color, dashed=metric == "ttft_wire")
    for slo, limit in limits:
        text = f"{slo.metric} {slo.statistic} ≤ {limit:,g} ms"
        plot.limit(limit, SHARES.get(slo.statistic), text, PALETTE[metrics.index(slo.metric)])
    return plot


def _empty(name: str, about: str, curves: Sequence[Measured], limits: Sequence[float]) -> Plot | None:
    finite = [values for found in curves if len(values := found.values[np.isfinite(found.values)])]
    if not finite:
        return None
    low = min(max(float(values.min()), float(np.median(values)) / FASTEST) for values in finite)
    high = max(float(values.max()) for values in finite)
    x = log_axis(min([low, *limits]), max([high, *limits]), "milliseconds")
    y = {"range": [0, 101], "title": title("% of all"), "tick0": 0, "dtick": 25}
    return Plot(name, about, NOTE, x, y, height=330, wide=False)


def _curve(plot: Plot, found: Measured, text: str, color: str, *, dashed: bool) -> None:
    """Exact quantiles, evenly by rank, and every one of the slowest."""
    answered = found.n - found.failed
    if not answered:
        return
    ranks = 1 + np.union1d(evenly(answered, CURVE_POINTS), np.arange(max(0, answered - SLOWEST), answered))
    x = np.array([max(found.at(int(place)), LEAST_MS) for place in ranks])
    y = 100 * ranks / found.n
    plot.line([x[0], *x], [0.0, *y], f"{text} (n={found.n:,})", color, step=True, dashed=dashed, hover=HOVER)
