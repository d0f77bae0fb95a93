"""The load over time: what was due and what was sent, what was open, and what came back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from loadtest.plots.figure import Floats, Plot, title
from loadtest.plots.time import Time, envelope
from serving.expectations import Slo
from serving.facts.columns import columns
from serving.facts.load import in_flight
from serving.facts.traffic import RequestSeen, Traffic
from serving.judge.slo import good_mask

BATCH: Final = 10_000  # requests whose chunks are looked at together


def load_over_time(traffic: Traffic, slos: Sequence[Slo], time: Time) -> list[Plot | None]:
    """Rates, streams in flight, and output tokens."""
    return [_rates(traffic, slos, time), _in_flight(traffic, time), _tokens(traffic, time)]


def _rates(traffic: Traffic, slos: Sequence[Slo], time: Time) -> Plot:
    open_loop = traffic.plan.load.mode != "closed_loop"
    plot = Plot(
        "rates",
        "Offered and achieved load",
        "Where sent lies below offered, the harness or its cap held requests back."
        if open_loop
        else "A closed loop offers as much as is answered.",
        time.axis(),
        {"title": title("requests/s"), "rangemode": "tozero"},
        shapes=time.bands(),
    )
    at = _ends(time)
    rows = columns(traffic.requests)
    good = good_mask(rows, slos)
    rates = [
        ("good, at their end", "pass", 1.8, rows.end_s[good]),
        ("sent", "a", 1.8, rows.sent_s[~np.isnan(rows.sent_s)]),
    ]
    if open_loop:
        rates.insert(0, ("offered", "dim", 3.0, rows.scheduled_s))
    for text, color, width, times in rates:
        if len(times):
            found = time.per_second(times)
            plot.line(at, [*found, found[-1]], text, color, step=True, width=width)
    return plot


def _in_flight(traffic: Traffic, time: Time) -> Plot | None:
    times, streams = in_flight(columns(traffic.requests))
    if not len(times):
        return None
    at = np.concatenate([[0.0], times, [time.span_s]])
    count = np.concatenate([[0.0], streams, streams[-1:]])
    peak = int(count.max())
    plot = Plot(
        "in-flight",
        "Streams in flight",
        f"From the first byte sent to the end; {peak:,} at most.",
        time.axis(),
        {"title": title("streams"), "rangemode": "tozero"},
        height=160,
        keyed=False,
        shapes=time.bands(),
    )
    at, count = envelope(at, count)
    plot.line(time.shown(at), count, "open streams", "a", step=True)
    return plot


def _tokens(traffic: Traffic, time: Time) -> Plot | None:
    answered = [request for request in traffic.requests if request.first_s is not None]
    if not answered:
        return None
    rates = np.zeros(time.bins)
    for start in range(0, len(answered), BATCH):
        rates += time.per_second(*arrivals(answered[start : start + BATCH]))
    exact = all(request.chunk_tokens is not None for request in answered)
    spread = "" if exact else " Where the server did not tell, an answer's tokens are spread evenly over its chunks."
    plot = Plot(
        "tokens-out",
        "Output tokens",
        f"As they arrived.{spread}",
        time.axis(),
        {"title": title("tokens/s"), "rangemode": "tozero"},
        height=160,
        keyed=False,
        shapes=time.bands(),
    )
    plot.line(_ends(time), [*rates, rates[-1]], "output tokens", "c", step=True)
    return plot


def arrivals(answered: Sequence[RequestSeen]) -> tuple[Floats, Floats]:
    """When each chunk of these requests came, and how many tokens it brought."""
    rows = columns(answered)
    counts = rows.gap_counts.astype(np.int64) + 1
    firsts = np.cumsum(counts) - counts
    steps = np.zeros(int(counts.sum()))
    later = np.ones(len(steps), np.bool_)
    later[firsts] = False
    steps[later] = rows.gaps_ms / 1e3
    passed = np.cumsum(steps)
    at = np.repeat(rows.first_s - passed[firsts], counts) + passed
    carried = np.repeat([_each(request) for request in answered], counts)
    for request, start, count in zip(answered, firsts.tolist(), counts.tolist(), strict=True):
        if isinstance(request.chunk_tokens, tuple):
            carried[start : start + count] = request.chunk_tokens
    return at, carried


def _each(request: RequestSeen) -> float:
    """Tokens of a chunk where all have as many, or are taken to."""
    if isinstance(request.chunk_tokens, int):
        return float(request.chunk_tokens)
    return 1.0 if request.completion_tokens is None else request.completion_tokens / request.chunks


def _ends(time: Time) -> Floats:
    """The edges of the bins: with the last one, a step line reaches the end."""
    return time.shown([*(np.arange(time.bins) * time.bin_s), time.span_s])
