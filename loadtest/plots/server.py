"""What the servers, the GPUs and the harness itself said while the load ran, on the time axis of the requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from loadtest.plots.figure import PALETTE, Plot, title
from loadtest.plots.time import Time, envelope
from serving.facts.series import Series, rates
from serving.facts.telemetry import METRICS, Telemetry


@dataclass(frozen=True)
class Chart:
    """Which metrics share a picture. A factor turns shares into per cent; counters are shown as rates."""

    name: str
    title: str
    unit: str
    metrics: tuple[str, ...]
    factor: float = 1.0


CHARTS: Final = (
    Chart("engine", "Engine: running and waiting", "requests", ("running", "waiting")),
    Chart("kv", "Engine: KV cache in use", "%", ("kv_cache_usage",), 100.0),
    Chart("evictions", "Engine: preemptions and refusals", "per second", ("preemptions", "admission_rejections")),
    Chart("gpu", "GPU memory", "GiB", ("gpu_used_mib", "gpu_free_mib"), 1 / 1024),
    Chart("gpu-use", "GPU: time in which a kernel ran", "%", ("gpu_util",), 100.0),
    Chart("lag", "The harness itself: lag of its event loop", "milliseconds", ("harness_lag_ms",)),
    Chart("cpu", "The harness itself: processor", "cores", ("harness_cpu",)),
    Chart("resident", "The harness itself: memory", "MiB", ("harness_resident_mib",)),
)


def telemetry_over_time(telemetry: Telemetry, time: Time) -> list[Plot | None]:
    """A picture for each group of figures that was seen, and when sources did not answer."""
    return [*(_drawn(chart, telemetry, time) for chart in CHARTS), _missed(telemetry, time)]


def _drawn(chart: Chart, telemetry: Telemetry, time: Time) -> Plot | None:
    found = [
        (metric, source, series)
        for metric in chart.metrics
        for (source, given), series in sorted(telemetry.series.items(), key=lambda entry: entry[0])
        if given == metric
    ]
    seen = [(metric, source, shown) for metric, source, series in found if (shown := _shown(metric, series, time))]
    if not seen:
        return None
    plot = Plot(
        chart.name,
        chart.title,
        "; ".join(METRICS[metric].about for metric in chart.metrics if any(metric == each for each, _, _ in seen))
        + ".",
        time.axis(),
        {"title": title(chart.unit), "rangemode": "tozero"},
        height=160,
        keyed=False,
        shapes=time.bands(),
    )
    sources = sorted({source for _, source, _ in seen})
    single = len(sources) == 1
    for metric, source, series in seen:
        place = chart.metrics.index(metric)
        color = PALETTE[(place if single else sources.index(source)) % len(PALETTE)]
        at, values = envelope(np.asarray(series.at_s), np.asarray(series.values) * chart.factor)
        text = metric if single else source if len(chart.metrics) == 1 else f"{metric}, {source}"
        plot.line(time.shown(at), values, text, color, dashed=not single and place > 0)
    return plot


def _shown(metric: str, series: Series, time: Time) -> Series | None:
    counter = METRICS[metric].shape == "counter"
    kept = (rates(series) if counter else series).between(0.0, time.span_s)
    if counter and not any(kept.values):
        return None  # nothing of the kind happened, which the table says
    return kept if kept.values else None


def _missed(telemetry: Telemetry, time: Time) -> Plot | None:
    names = [source for source in telemetry.missed if telemetry.missed[source]]
    if not names:
        return None
    y = {"tickvals": list(range(len(names))), "ticktext": [""] * len(names), "range": [-0.7, len(names) - 0.3]}
    plot = Plot(
        "missed",
        "Telemetry that is missing",
        "When a source did not answer.",
        time.axis(),
        y,
        height=70 + 14 * min(len(names), 10),
        shapes=time.bands(),
    )
    for place, name in enumerate(names):
        at = _distinct([at for at, _ in telemetry.missed[name]], time)
        text = f"{name} ({len(telemetry.missed[name]):,})"
        plot.dots(
            time.shown(at), [place] * len(at), text, PALETTE[place % len(PALETTE)],
            symbol="x", size=7, opacity=1, hover="no answer",
        )  # fmt: skip
    return plot


def _distinct(at_s: Sequence[float], time: Time) -> list[float]:
    """One time for each place that an eye can tell apart."""
    return list({int(at / time.span_s * 800): at for at in at_s}.values())
