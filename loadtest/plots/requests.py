"""Every request at the time for which it was scheduled: how long it took, and how it ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np

from loadtest.plots.figure import Floats, Plot, log_axis, title
from loadtest.plots.time import Time, evenly
from serving.expectations import Slo
from serving.facts.columns import Columns, Counts, columns
from serving.facts.samples import per_request
from serving.facts.traffic import Outcome, RequestSeen, Traffic
from serving.judge.slo import good_mask

MOST_DOTS: Final = 1_500
SLOWEST: Final = 200
MARKS: Final = 800  # places along the upper edge for what failed
OUTCOMES: Final = {
    Outcome.HTTP_ERROR: "c1",
    Outcome.STREAM_ERROR: "c2",
    Outcome.TRUNCATED: "c3",
    Outcome.TIMEOUT: "c4",
    Outcome.CENSORED: "c5",
    Outcome.NOT_SENT: "c6",
}


def requests_over_time(traffic: Traffic, slos: Sequence[Slo], time: Time) -> list[Plot | None]:
    """Latency of each request, and the outcomes in each bin."""
    return [_latency(traffic, slos, time), _outcomes(traffic, slos, time)]


def _latency(traffic: Traffic, slos: Sequence[Slo], time: Time) -> Plot | None:
    rows = columns(traffic.requests)
    seen = {metric: _points(metric, rows) for metric in ("ttft", "e2e")}
    values = np.concatenate([took for _, took in seen.values()])
    failed = [request for request in traffic.requests if not request.ok]
    low, high = (float(values.min()), float(values.max())) if len(values) else (1.0, 1000.0)
    top = high * (high / max(low, 1e-3)) ** 0.09 * 1.05 if failed else high
    plot = Plot(
        "latency",
        "Latency of each request",
        "At the time it was scheduled. Failed ones, which have no latency, stand at the upper edge.",
        time.axis(),
        log_axis(low, top, "milliseconds"),
        height=260,
        shapes=time.bands(),
        notes=time.names(),
    )
    for color, (metric, (at, took)) in zip("ac", seen.items(), strict=True):
        if len(at):
            kept = _thinned(took)
            shown = "" if len(kept) == len(at) else f", {len(kept):,} of them shown"
            plot.dots(time.shown(at[kept]), took[kept], f"{metric} ({len(at):,}{shown})", color)
    for slo in slos:
        if slo.metric in seen and slo.at_most_ms is not None:
            line = {"color": f"var(--{'ac'[list(seen).index(slo.metric)]})", "width": 1, "dash": "dash"}
            shape = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": slo.at_most_ms, "y1": slo.at_most_ms}
            plot.shapes.append(shape | {"line": line})
    if failed:
        due, marks = _merged(failed, time)
        plot.dots(
            time.shown(due), [top] * len(due), f"failed ({len(failed):,})", "fail",
            marks=marks, symbol="x", size=7, opacity=1, hover="%{customdata}",
        )  # fmt: skip
    return plot


def _points(metric: str, rows: Columns) -> tuple[Floats, Floats]:
    took = per_request(metric, rows)
    seen = np.isfinite(took)
    return rows.scheduled_s[seen], took[seen]


def _thinned(took: Floats) -> Counts:
    """Evenly over the requests, and the slowest whatever happens."""
    if len(took) <= MOST_DOTS:
        return np.arange(len(took))
    return np.union1d(evenly(len(took), MOST_DOTS), np.argsort(took)[-SLOWEST:])


def _merged(failed: Sequence[RequestSeen], time: Time) -> tuple[list[float], list[str]]:
    """Every failed request: those that no eye could tell apart share a mark, which counts them."""
    width = time.span_s / MARKS
    places: dict[int, list[RequestSeen]] = defaultdict(list)
    for request in failed:
        places[int(request.scheduled_s / width)].append(request)
    at, marks = [], []
    for place in sorted(places):
        found = places[place]
        counts = {outcome: sum(r.outcome is outcome for r in found) for outcome in OUTCOMES}
        at.append(found[0].scheduled_s)
        marks.append(", ".join(f"{count} {outcome.value}" for outcome, count in counts.items() if count))
    return at, marks


def _outcomes(traffic: Traffic, slos: Sequence[Slo], time: Time) -> Plot:
    rows = columns(traffic.requests)
    met, ok = good_mask(rows, slos), np.array([request.ok for request in traffic.requests])
    groups: list[tuple[str, str, Floats]] = [
        ("good", "pass", rows.scheduled_s[met]),
        ("ended well, over a limit", "late", rows.scheduled_s[ok & ~met]),
    ]
    for outcome, color in OUTCOMES.items():
        ended = np.array([request.outcome is outcome for request in traffic.requests])
        groups.append((outcome.value, color, rows.scheduled_s[ended]))
    plot = Plot(
        "outcomes",
        "Goodput and outcomes",
        "Requests by the time they were scheduled; good ones met every limit of the gates.",
        time.axis(),
        {"title": title(f"per {time.bin_s:g} s"), "rangemode": "tozero"},
        shapes=time.bands(),
    )
    for text, color, at in groups:
        if len(at):
            width = time.bin_s / time.unit_s
            plot.bars(time.starts, time.counted(at), f"{text} ({len(at):,})", color, width)
    return plot
