"""Decides which pictures a load report shows: distributions, latency and outcomes over time, load, streams in flight.

Each plot is a title, a legend and one chart. A failed request has no latency: it is drawn at the top edge, in red.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from loadtest.chart import Axis, Chart, Point, number
from loadtest.document import in_flight
from serving.expectations import Slo
from serving.facts.samples import of_request, samples
from serving.facts.traffic import Outcome, RequestSeen, Traffic

MOST_POINTS: Final = 2_000
CURVE_POINTS: Final = 400
BINS: Final = 40
OUTCOME_CSS: Final = {
    Outcome.OK: "ok",
    Outcome.HTTP_ERROR: "c1",
    Outcome.STREAM_ERROR: "c2",
    Outcome.TRUNCATED: "c3",
    Outcome.TIMEOUT: "c4",
    Outcome.CENSORED: "c5",
    Outcome.NOT_SENT: "c6",
}


@dataclass(frozen=True)
class Plot:
    """A chart with its title, what to know about it, and its legend of (CSS class, text)."""

    title: str
    note: str
    legend: tuple[tuple[str, str], ...]
    svg: str


def plots(traffic: Traffic, slos: Sequence[Slo]) -> list[Plot]:
    """The pictures of a run, in the order in which they are read. Those without any data are left out."""
    span = max([traffic.end.elapsed_s, traffic.plan.load.duration_s or 0.0, *(r.scheduled_s for r in traffic.requests)])
    found = [
        _distribution("Time to first token, and whole answer", ("ttft", "ttft_wire", "e2e"), traffic, slos),
        _distribution("Gap per token, and between chunks", ("itl", "icl"), traffic, slos),
        _latency_over_time(traffic, span),
        _outcomes(traffic, span),
        _rates(traffic, span),
        _in_flight(traffic, span),
    ]
    return [plot for plot in found if plot is not None]


def _distribution(title: str, metrics: Sequence[str], traffic: Traffic, slos: Sequence[Slo]) -> Plot | None:
    series = {metric: sorted(samples(metric, traffic.window)) for metric in metrics}
    finite = [value for values in series.values() for value in values if not math.isinf(value)]
    if not finite:
        return None
    limits = [slo for slo in slos if slo.metric in metrics and slo.at_most_ms is not None]
    high = max([*finite, *(slo.at_most_ms for slo in limits if slo.at_most_ms is not None)])
    chart = Chart(Axis(min(finite), high, "milliseconds", log=True), Axis(0, 100, "% of all"), title)
    legend: list[tuple[str, str]] = []
    for css, (metric, values) in reversed(list(zip("abc", series.items(), strict=False))):  # the first on top
        if not values:
            continue
        stride = max(1, len(values) // CURVE_POINTS)
        chosen = sorted({*range(0, len(values), stride), len(values) - 1})
        points = [(values[rank], 100 * (rank + 1) / len(values)) for rank in chosen if not math.isinf(values[rank])]
        chart.line([(points[0][0], 0.0), *points] if points else [], css, step=True)
        legend.insert(0, (css, f"{metric} (n={len(values)})"))
    for slo in limits:
        if slo.at_most_ms is not None:
            css = "abc"[metrics.index(slo.metric)]
            chart.limit(slo.at_most_ms, css, f"{slo.metric} {slo.statistic} <= {number(slo.at_most_ms)}")
    return Plot(
        title,
        "Share of all that took at most so long; failed requests keep a curve below 100 %.",
        tuple(legend),
        chart.svg(),
    )


def _latency_over_time(traffic: Traffic, span: float) -> Plot | None:
    title = "Latency over time"
    by_metric = {
        metric: [(r.scheduled_s, value) for r in traffic.requests if (value := of_request(metric, r)) is not None]
        for metric in ("ttft", "e2e")
    }
    finite = [value for points in by_metric.values() for _, value in points if not math.isinf(value)]
    if not finite:
        return None
    y = Axis(min(finite), max(finite), "milliseconds", log=True)
    chart = Chart(_time(span), y, title)
    for css, points in zip("ac", by_metric.values(), strict=True):
        chart.dots(_thinned([point for point in points if not math.isinf(point[1])]), css)
    failed = [(r.scheduled_s, y.high) for r in traffic.requests if not r.ok]
    chart.dots(_thinned(failed), "bad")
    legend = (("a", "ttft"), ("c", "e2e"), ("bad", f"failed ({len(failed)})"))
    note = "At the time each request was scheduled." + _warmup(traffic)
    return Plot(title, note, legend, chart.svg())


def _outcomes(traffic: Traffic, span: float) -> Plot | None:
    if not traffic.requests:
        return None
    title, width = "Outcomes over time", span / BINS
    bins = [dict.fromkeys(Outcome, 0) for _ in range(BINS)]
    for request in traffic.requests:
        bins[min(int(request.scheduled_s / width), BINS - 1)][request.outcome] += 1
    tallest = max(sum(counts.values()) for counts in bins)
    chart = Chart(_time(span), Axis(0, tallest, f"requests per {width:.2g} s"), title)
    for place, counts in enumerate(bins):
        low = 0
        for outcome, count in counts.items():
            if count:
                chart.bar(place * width, (place + 1) * width, low, low + count, OUTCOME_CSS[outcome])
                low += count
    seen = [outcome for outcome in Outcome if any(counts[outcome] for counts in bins)]
    legend = tuple((OUTCOME_CSS[o], f"{o.value} ({sum(counts[o] for counts in bins)})") for o in seen)
    return Plot(title, "By the time each request was scheduled." + _warmup(traffic), legend, chart.svg())


def _rates(traffic: Traffic, span: float) -> Plot | None:
    if not traffic.requests:
        return None
    title = "Offered and achieved load"
    ways: dict[str, Callable[[RequestSeen], float | None]] = {
        "scheduled": lambda r: r.scheduled_s,
        "sent": lambda r: r.sent_s,
        "answered well": lambda r: r.end_s if r.ok else None,
    }
    totals = {
        name: sorted(at for request in traffic.requests if (at := way(request)) is not None)
        for name, way in ways.items()
    }
    chart = Chart(_time(span), Axis(0, len(traffic.requests), "requests so far"), title)
    for css, times in reversed(list(zip("abc", totals.values(), strict=True))):
        stride = max(1, len(times) // CURVE_POINTS)
        chosen = sorted({*range(0, len(times), stride), max(len(times) - 1, 0)}) if times else []
        chart.line(
            [(0.0, 0.0), *((times[rank], rank + 1.0) for rank in chosen), (span, float(len(times)))], css, step=True
        )
    legend = tuple((css, f"{name} ({len(times)})") for css, (name, times) in zip("abc", totals.items(), strict=True))
    return Plot(
        title, "Lines that part are a backlog: above is what was asked, below what was done.", legend, chart.svg()
    )


def _in_flight(traffic: Traffic, span: float) -> Plot | None:
    series = in_flight(traffic.requests)
    if not series:
        return None
    title, peak = "Streams in flight", max(count for _, count in series)
    stride = max(1, len(series) // MOST_POINTS)
    points: list[Point] = [(0.0, 0.0), *((at, float(count)) for at, count in series[::stride])]
    chart = Chart(_time(span), Axis(0, peak, "streams"), title)
    chart.line([*points, (span, float(series[-1][1]))], "a", step=True)
    return Plot(title, f"From the first byte sent to the end. Peak {peak}.", (("a", "open streams"),), chart.svg())


def _time(span: float) -> Axis:
    return Axis(0, span, "seconds since the start of the run")


def _warmup(traffic: Traffic) -> str:
    warmup_s = traffic.plan.load.warmup_s
    return f" The first {warmup_s:g} s are warm-up and do not count." if warmup_s else ""


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    return points[:: max(1, math.ceil(len(points) / MOST_POINTS))]
