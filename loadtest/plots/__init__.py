"""Decides which pictures a load report shows, and draws them with plotly: distributions, time series, telemetry.

A figure is data and layout for plotly.js; the page inlines the library once. Colours are CSS variables (`var(--a)`),
which the page's script fills in for light and dark. Only `loadtest.report` imports this package, when a run is over:
plotly costs no run anything. Large runs are thinned, and what stands out is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.plots.distribution import arms, distributions
from loadtest.plots.figure import Plot
from loadtest.plots.load import load_over_time
from loadtest.plots.requests import requests_over_time
from loadtest.plots.server import telemetry_over_time
from loadtest.plots.time import Time
from serving.expectations import Slo
from serving.facts.telemetry import Telemetry
from serving.facts.traffic import Traffic

__all__ = ["Plot", "plots"]


def plots(traffic: Traffic, slos: Sequence[Slo], telemetry: Telemetry | None = None) -> list[Plot]:
    """The pictures of a run, in the order in which they are read. Those without any data are left out."""
    time = Time.of(traffic)
    drawn = [*distributions(traffic, slos), arms(traffic)]
    if traffic.requests:
        drawn += [*requests_over_time(traffic, slos, time), *load_over_time(traffic, slos, time)]
    if telemetry is not None:
        drawn += telemetry_over_time(telemetry, time)
    found = [plot for plot in drawn if plot is not None]
    for last in [plot for plot in found if plot.wide][-1:]:
        last.x |= time.axis(labelled=True)
    return found
