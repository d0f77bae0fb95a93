"""The pictures: what they show agrees with the records, and a large run's keep what stands out."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from loadtest.plots import Plot, plots
from serving.expectations import Slo
from serving.facts.series import Series
from serving.facts.telemetry import Source, Telemetry
from serving.facts.traffic import Outcome, Phase, Traffic
from tests.loadtest.rich import PHASES, rich, telemetry
from tests.loadtest.runs import failed, request, traffic

SLOS = (Slo(metric="ttft", statistic="p95", at_most_ms=300), Slo(metric="e2e", statistic="p99", at_most_ms=2_500))
RICH = rich()
SLOW = 7_701  # stands where an even choice of 20,000 passes over it
LARGE = traffic(
    *(
        request(n, ttft_s=9.0 if n == SLOW else 0.1 + n % 97 / 1000, tokens=3, scheduled_s=n / 100)
        for n in range(20_001)
    ),
    *(failed(n, scheduled_s=n / 1000) for n in range(20_001, 26_000)),
)


def drawn(run: Traffic, seen: Telemetry | None = None) -> dict[str, Plot]:
    return {plot.name: plot for plot in plots(run, SLOS, seen)}


def numbers(value: Any) -> list[float]:
    """Plotly's base64 arrays as numbers."""
    if isinstance(value, dict):
        return list(np.frombuffer(base64.b64decode(value["bdata"]), np.dtype(value["dtype"])).astype(float))
    return [float(each) for each in value]


def trace(plot: Plot, text: str) -> tuple[list[float], list[float]]:
    (key,) = (key for key in plot.legend if key.text.startswith(text))
    data = plot.figure()["data"][key.traces[0]]
    return numbers(data["x"]), numbers(data["y"])


def test_a_run_with_everything_has_every_picture_in_reading_order():
    names = list(drawn(RICH, telemetry()))
    assert names == [
        "answer", "between", "arms",
        "latency", "outcomes", "rates", "in-flight", "tokens-out",
        "engine", "kv", "evictions", "gpu", "lag", "cpu", "missed",
    ]  # fmt: skip
    assert drawn(traffic()) == {}


def test_a_curve_is_made_of_exact_quantiles():
    run = traffic(*(request(n, ttft_s=(n + 1) / 100) for n in range(100)))
    x, y = trace(drawn(run)["answer"], "ttft (")
    assert x[1:] == pytest.approx([10.0 * n for n in range(1, 101)])
    assert y[1:] == pytest.approx(list(range(1, 101)))
    assert x[0] == pytest.approx(10.0)
    assert y[0] == 0


def test_failed_requests_keep_a_curve_below_all():
    run = traffic(*(request(n) for n in range(30)), *(failed(n) for n in range(30, 40)))
    _, y = trace(drawn(run)["answer"], "ttft (n=40)")
    assert max(y) == pytest.approx(75)


def test_the_limits_of_the_gates_are_drawn_where_a_curve_must_have_passed():
    figure = drawn(RICH)["answer"].figure()
    limits = [shape["x0"] for shape in figure["layout"]["shapes"]]
    assert limits == [300, 2_500]
    assert [note["text"] for note in figure["layout"]["annotations"]] == ["ttft p95 ≤ 300 ms", "e2e p99 ≤ 2,500 ms"]
    diamonds = [data for data in figure["data"] if data["mode"] == "markers"]
    assert [(data["x"], data["y"]) for data in diamonds] == [([300], [95]), ([2_500], [99])]
    assert figure["layout"]["xaxis"]["type"] == "log"


def test_the_limit_of_a_mean_is_a_line_without_a_place_on_it():
    (plot,) = (
        plot for plot in plots(RICH, [Slo(metric="ttft", statistic="mean", at_most_ms=300)]) if plot.name == "answer"
    )
    figure = plot.figure()
    assert [shape["x0"] for shape in figure["layout"]["shapes"]] == [300]
    assert "markers" not in {data["mode"] for data in figure["data"]}


def test_latency_stands_at_the_scheduled_time_and_failures_at_the_upper_edge():
    plot = drawn(RICH)["latency"]
    x, y = trace(plot, "ttft")
    answered = [seen for seen in RICH.requests if seen.ok]
    assert sorted(x) == pytest.approx(sorted(seen.scheduled_s for seen in answered))
    x, edge = trace(plot, "failed")
    assert len(set(edge)) == 1
    assert edge[0] > max(y)
    lost = {round(seen.scheduled_s, 6) for seen in RICH.requests if not seen.ok}
    assert {round(at, 6) for at in x} <= lost


def test_a_large_run_is_thinned_and_keeps_every_failure_and_the_slowest():
    plot = drawn(LARGE)["latency"]
    x, y = trace(plot, "ttft (20,001")
    assert len(x) < 2_000
    assert max(y) == pytest.approx(9_000)
    assert x[y.index(max(y))] == pytest.approx(SLOW / 100)
    x, _ = trace(plot, "failed (5,999)")
    assert len(x) < 1_000
    figure = plot.figure()
    (marks,) = (data["customdata"] for data in figure["data"] if data.get("customdata"))
    assert sum(int(mark.split()[0]) for mark in marks) == 5_999
    size = sum(len(json.dumps(plot.figure())) for plot in drawn(LARGE).values())
    assert size < 500_000


def test_a_thinned_curve_still_reaches_the_slowest():
    x, y = trace(drawn(LARGE)["answer"], "ttft (n=26,000)")
    assert len(x) < 700
    assert max(x) == pytest.approx(9_000)
    assert max(y) == pytest.approx(100 * 20_001 / 26_000)


def test_outcomes_add_up_to_all_requests():
    plot = drawn(RICH)["outcomes"]
    total = sum(sum(numbers(data["y"])) for data in plot.figure()["data"])
    assert total == len(RICH.requests)
    good, late = (sum(trace(plot, text)[1]) for text in ("good", "ended well"))
    assert good + late == sum(seen.ok for seen in RICH.requests)
    assert good == sum(seen.ok and (seen.first_s or 9) - seen.scheduled_s <= 0.3 for seen in RICH.requests)
    for outcome in list(Outcome)[1:]:
        counted = sum(seen.outcome is outcome for seen in RICH.requests)
        assert f"{outcome.value} ({counted})" in {key.text for key in plot.legend}


def test_offered_and_sent_part_where_requests_were_held_back():
    plot = drawn(RICH)["rates"]
    x, offered = trace(plot, "offered")
    _, sent = trace(plot, "sent")
    widths = np.diff(x)
    assert float(np.dot(offered[:-1], widths)) == pytest.approx(len(RICH.requests))
    held = sum(seen.sent_s is None for seen in RICH.requests)
    assert float(np.dot(sent[:-1], widths)) == pytest.approx(len(RICH.requests) - held)
    assert held > 0
    closed = replace(RICH, plan=replace(RICH.plan, load=replace(RICH.plan.load, mode="closed_loop")))
    assert "offered" not in [key.text for key in drawn(closed)["rates"].legend]


def test_a_moment_at_the_end_is_no_rate_of_its_own():
    """A run of 30.01 s has a last bin of 0.01 s: the answer that ended in it did not come at 100 a second."""
    run = traffic(*(request(n, ttft_s=0.2) for n in range(30)), request(30, scheduled_s=29.5, chunk_s=(29.7, 30.005)))
    found = drawn(replace(run, end=replace(run.end, elapsed_s=30.01)))
    for name, text in (("rates", "good"), ("tokens-out", "output")):
        x, rates = trace(found[name], text)
        assert max(rates) <= {"rates": 6, "tokens-out": 30}[name]
        assert float(np.dot(rates[:-1], np.diff(x))) == pytest.approx({"rates": 31, "tokens-out": 152}[name])


@pytest.mark.parametrize("most", [pytest.param(1, id="one"), pytest.param(20, id="many")])
def test_chunks_that_came_together_do_not_squeeze_the_curves_into_a_corner(most: int):
    """Their gaps are next to nothing, and a logarithmic axis would give most of its length to them."""
    apart = [request(n, itl_s=0.010 + n / 10_000, tokens=21) for n in range(30)]
    together = [request(n, chunk_s=(n + 0.1, n + 0.1, n + 0.100001, n + 0.12)) for n in range(30, 30 + most)]
    plot = drawn(traffic(*apart, *together))["between"]
    assert 0.05 < 10 ** plot.x["range"][0] < 10
    x, y = trace(plot, "itl")
    assert min(x) == 0.001  # zero has no place on it
    assert max(y) == 100


def test_a_single_trace_has_a_legend_unless_its_title_tells_all():
    found = drawn(traffic(*(failed(n) for n in range(9))))
    assert [key.text for key in found["latency"].keys] == ["failed (9)"]
    assert [key.text for key in found["outcomes"].keys] == ["http_error (9)"]
    assert drawn(RICH)["in-flight"].keys == []


def test_every_axis_has_a_unit():
    for plot in drawn(RICH, telemetry()).values():
        assert plot.x.get("ticksuffix", "").strip() in ("s", "min", "h") if plot.wide else plot.x["title"]["text"]
        assert plot.name == "missed" or plot.y["title"]["text"], plot.name


def test_tokens_are_counted_when_their_chunk_came():
    run = traffic(
        request(0, scheduled_s=0.0, chunk_s=(1.0, 2.5, 3.5), chunk_tokens=(2, 4, 5), completion_tokens=11),
        request(1, scheduled_s=0.0, chunk_s=(1.5, 2.5), chunk_tokens=None, completion_tokens=6),
        request(2, scheduled_s=0.0, chunk_s=(2.0,), chunk_tokens=1, completion_tokens=1),
        failed(3, scheduled_s=0.0),
    )
    plot = drawn(replace(run, end=replace(run.end, elapsed_s=4.0)))["tokens-out"]
    x, rates = trace(plot, "output")
    counted = np.array(rates[:-1]) * np.diff(x)
    found = {round(at, 3): round(float(count), 6) for at, count in zip(x, counted, strict=False) if count}
    assert found == {1.0: 2, 1.5: 3, 2.0: 1, 2.5: 7, 3.5: 5}
    assert "spread evenly" in plot.note


def test_streams_in_flight_reach_their_peak():
    _, count = trace(drawn(LARGE)["in-flight"], "open streams")
    changes = sorted(
        [(seen.sent_s, 1) for seen in LARGE.requests if seen.sent_s is not None]
        + [(seen.end_s, -1) for seen in LARGE.requests if seen.end_s is not None]
    )
    assert len(count) < 4_000
    assert max(count) == max(np.cumsum([change for _, change in changes]))


def test_the_phases_are_bands_behind_every_picture_over_time():
    for plot in drawn(RICH, telemetry()).values():
        bands = [shape for shape in plot.figure()["layout"].get("shapes", ()) if shape["type"] == "rect"]
        assert len(bands) == (len(PHASES) if plot.wide else 0)
        if plot.wide:
            assert [(band["x0"], band["x1"]) for band in bands] == [(p.start_s, p.end_s) for p in PHASES]
            out = [band["fillcolor"] == "var(--band-out)" for band in bands]
            assert out == [True, False, False, False, True]


@pytest.mark.parametrize(
    ("elapsed_s", "unit", "end"),
    [
        pytest.param(30.0, "seconds", 30.0, id="seconds"),
        pytest.param(1_200.0, "minutes", 20.0, id="minutes"),
        pytest.param(36_000.0, "hours", 10.0, id="hours"),
    ],
)
def test_a_long_run_is_told_in_minutes_or_hours_on_every_axis(elapsed_s: float, unit: str, end: float):
    run = traffic(request(0), request(1, scheduled_s=elapsed_s / 2))
    run = replace(run, end=replace(run.end, elapsed_s=elapsed_s))
    seen = Telemetry(sources=(Source("e", "engine"),), series={("e", "running"): Series((0.0, elapsed_s), (1.0, 2.0))})
    found = drawn(run, seen)
    wide = [plot for plot in found.values() if plot.wide]
    assert {tuple(plot.x["range"]) for plot in wide} == {(0, end)}
    assert max(trace(found["latency"], "ttft")[0]) == pytest.approx(end / 2)
    assert max(trace(found["engine"], "running")[0]) == pytest.approx(end)
    assert wide[-1].x["title"]["text"] == f"{unit} since the start of the run"


def test_counters_are_shown_as_rates_and_telemetry_before_the_run_is_not():
    at = (-1.0, 0.0, 1.0, 2.0, 3.0)
    seen = Telemetry(
        sources=(Source("e", "engine"),),
        series={
            ("e", "preemptions"): Series(at, (5.0, 5.0, 7.0, 7.0, 10.0)),
            ("e", "waiting"): Series(at, (9.0, 1.0, 1.0, 1.0, 1.0)),
        },
    )
    found = drawn(traffic(*(request(n) for n in range(4))), seen)
    assert trace(found["evictions"], "preemptions") == ([0, 1, 2, 3], [0, 2, 0, 3])
    assert trace(found["engine"], "waiting") == ([0, 1, 2, 3], [1, 1, 1, 1])


def test_a_long_series_keeps_its_peaks():
    count = 50_000
    values = np.ones(count)
    values[31_337] = 99.0
    at = tuple(np.linspace(0, 9, count))
    seen = Telemetry(sources=(Source("e", "engine"),), series={("e", "waiting"): Series(at, tuple(values))})
    x, y = trace(drawn(traffic(*(request(n) for n in range(9))), seen)["engine"], "waiting")
    assert len(x) < 4_000
    assert max(y) == 99.0


def test_a_warm_up_without_phases_is_a_band_too():
    plot = drawn(traffic(*(request(n) for n in range(9)), warmup_s=2.0))["latency"]
    first = plot.figure()["layout"]["shapes"][0]
    assert (first["x0"], first["x1"], first["fillcolor"]) == (0, 2, "var(--band-out)")


def test_phase_names_stand_only_where_they_have_room():
    phases = (Phase("a quite long name", 0.0, 1.0), Phase("the rest", 1.0, None))
    run = traffic(*(request(n) for n in range(99)))
    run = replace(run, plan=replace(run.plan, load=replace(run.plan.load, phases=phases)))
    assert [note["text"] for note in drawn(run)["latency"].figure()["layout"]["annotations"]] == ["the rest"]
