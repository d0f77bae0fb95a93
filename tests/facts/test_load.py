"""What the load was, on arrivals whose law is known and on requests small enough to count."""

from __future__ import annotations

import math
import random

import pytest

from serving.facts.columns import Columns, columns
from serving.facts.load import arrivals, cold_penalty, in_flight, tokens
from tests.loadtest.runs import failed, request, traffic


def leaving(times: list[float]) -> Columns:
    return columns([request(index, scheduled_s=at, tokens=1) for index, at in enumerate(times)])


def poisson(seed: int, n: int, rate: float = 10.0) -> list[float]:
    rng, at, found = random.Random(seed), 0.0, []
    for _ in range(n):
        at += rng.expovariate(rate)
        found.append(at)
    return found


def test_constant_arrivals_do_not_vary():
    found = arrivals(leaving([index / 10 for index in range(1000)]))
    assert found.n == 1000
    assert found.rate_per_s == pytest.approx(10.0)
    assert found.cv == pytest.approx(0.0, abs=1e-6)
    assert found.dispersion == pytest.approx(0.0, abs=0.02)


def test_poisson_arrivals_vary_as_poisson_does():
    found = arrivals(leaving(poisson(1, 20_000)))
    assert found.cv == pytest.approx(1.0, abs=0.03)
    assert found.dispersion == pytest.approx(1.0, abs=0.1)


def test_workers_that_all_draw_the_same_arrivals_are_found_out_by_the_dispersion():
    found = arrivals(leaving(sorted(poisson(1, 5_000) * 4)))
    assert found.dispersion == pytest.approx(4.0, abs=0.5)


def test_the_time_a_connection_took_is_not_the_harnesss():
    requests = [
        request(index, sent_s=index + 0.9, connect_s=0.9 if index % 2 else 0.0, ttft_s=2.0) for index in range(300)
    ]
    straight = [request(index, sent_s=index + 0.9, connect_s=0.9, ttft_s=2.0) for index in range(300)]
    assert arrivals(columns(straight)).cv == pytest.approx(0.0, abs=1e-9)
    assert arrivals(columns(requests)).cv == pytest.approx(0.9, abs=0.01)


def test_too_few_arrivals_have_no_law():
    assert arrivals(leaving([1.0, 2.0])).cv is None
    assert arrivals(leaving(poisson(1, 99))).dispersion is None
    assert arrivals(columns([failed(index, sent_s=None) for index in range(9)])).n == 0


def test_streams_in_flight_are_those_sent_and_not_yet_ended():
    rows = columns(
        [
            request(0, sent_s=0.0, end_s=3.0),
            request(1, sent_s=1.0, end_s=2.0),
            request(2, sent_s=2.0, end_s=3.0),
            failed(3, sent_s=None),
        ]
    )
    at, count = in_flight(rows)
    assert (at.tolist(), count.tolist()) == ([0.0, 1.0, 2.0, 3.0], [1, 2, 2, 0])
    assert in_flight(columns([]))[1].tolist() == []


def test_the_cached_share_is_of_the_prompts_whose_cache_was_told():
    requests = [
        request(0, prompt_tokens=100, cached_tokens=80, completion_tokens=5),
        request(1, prompt_tokens=100, cached_tokens=0, completion_tokens=None),
        request(2, prompt_tokens=50, cached_tokens=None, completion_tokens=7, end_s=8.0),
    ]
    found = tokens(columns(requests))
    assert (found.prompt, found.output, found.cached_share, found.uncounted) == (250, 12, 0.4, 1)
    assert found.output_per_s == 12 / 8.0
    assert tokens(columns(requests[2:])).cached_share is None
    assert tokens(columns([])).output_per_s is None


def test_the_first_wave_is_what_was_due_before_the_first_answer_ended():
    first = request(0, ttft_s=2.0, end_s=3.0)
    wave = [request(index, ttft_s=ttft) for index, ttft in ((1, 1.0), (2, 0.8), (3, 0.6))]
    steady = [request(index, ttft_s=0.1) for index in range(4, 30)]
    found = cold_penalty(traffic(*steady, *wave, first, warmup_s=2.0))
    assert found is not None
    assert found.wave == 4
    assert found.first_penalty == pytest.approx(20.0)
    assert found.first_wave_penalty == pytest.approx(8.0)


def test_a_cold_start_that_failed_has_an_infinite_penalty_and_no_steady_state_has_none():
    steady = [request(index, ttft_s=0.1) for index in range(1, 9)]
    found = cold_penalty(traffic(failed(0, end_s=0.5), *steady))
    assert found is not None
    assert found.first_penalty == math.inf
    assert cold_penalty(traffic(request(0, end_s=5.0), request(1))) is None
    assert cold_penalty(traffic()) is None
