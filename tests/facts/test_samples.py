"""What each metric means, on requests small enough to work out by hand."""

from __future__ import annotations

import math

import pytest

from serving.facts.samples import of_chunks, of_request, samples, schedule_lag, summary
from serving.facts.traffic import Outcome
from tests.loadtest.runs import failed, request

# Due at 10 s, sent at 10.5 s, chunks at 11, 11.2, 11.3 and 12 s with 2, 1, 3 and 2 tokens, done at 12.1 s.
LATE = request(
    scheduled_s=10.0,
    sent_s=10.5,
    connect_s=0.2,
    chunk_s=(11.0, 11.2, 11.3, 12.0),
    chunk_tokens=(2, 1, 3, 2),
    completion_tokens=8,
    end_s=12.1,
)


@pytest.mark.parametrize(
    ("metric", "milliseconds"),
    [
        pytest.param("ttft", 1000.0, id="ttft-from-the-schedule"),
        pytest.param("ttft_wire", 500.0, id="ttft-wire-from-sending"),
        pytest.param("e2e", 2100.0, id="e2e-from-the-schedule-to-done"),
        pytest.param("tpot", 1000.0 / 7, id="tpot-over-tokens-minus-one"),
        pytest.param("stall", 700.0, id="stall-is-the-longest-gap"),
    ],
)
def test_per_request_latencies(metric: str, milliseconds: float):
    assert of_request(metric, LATE) == pytest.approx(milliseconds)


def test_icl_is_one_sample_a_gap():
    assert of_chunks("icl", LATE) == pytest.approx([200.0, 100.0, 700.0])


def test_itl_shares_a_gap_over_its_tokens_and_never_counts_zeros():
    assert of_chunks("itl", LATE) == pytest.approx([200.0, 100 / 3, 100 / 3, 100 / 3, 350.0, 350.0])


def test_itl_hands_the_gap_of_a_chunk_without_a_new_token_on():
    seen = request(chunk_s=(1.0, 1.1, 1.3), chunk_tokens=(1, 0, 1))
    assert of_chunks("itl", seen) == pytest.approx([300.0])


def test_itl_needs_exact_token_counts():
    assert of_chunks("itl", request(chunk_tokens=None)) == []
    assert len(of_chunks("icl", request(chunk_tokens=None))) == 4


@pytest.mark.parametrize("metric", ["ttft", "ttft_wire", "e2e", "tpot", "stall"])
@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.OK])
def test_a_request_that_failed_was_never_answered_whatever_it_received(metric: str, outcome: Outcome):
    assert of_request(metric, request(outcome=outcome, reason="x")) == math.inf


@pytest.mark.parametrize(
    "seen",
    [request(tokens=1), request(completion_tokens=None)],
    ids=["one-token", "no-usage"],
)
def test_tpot_is_undefined_without_two_counted_tokens(seen):
    assert of_request("tpot", seen) is None
    assert samples("tpot", [seen]) == []


def test_a_stall_needs_two_chunks():
    assert of_request("stall", request(tokens=1)) is None


def test_a_metric_by_another_name_is_a_mistake():
    with pytest.raises(ValueError, match="not a per-request metric"):
        of_request("latency", request())
    with pytest.raises(ValueError, match="not a chunk metric"):
        of_chunks("ttft", request())


def test_schedule_lag_is_the_harness_alone_without_the_time_a_connection_took():
    assert schedule_lag([LATE]) == pytest.approx([300.0])
    assert schedule_lag([request(sent_s=None)]) == []


def test_a_summary_keeps_failures_as_infinite():
    found = summary(samples("ttft", [request(0), request(1, ttft_s=0.3), failed(2)]))
    assert found is not None
    assert (found.n, found.failed, found.max, found.mean) == (3, 1, math.inf, math.inf)
    assert found.p50 == pytest.approx(300.0)
    assert summary([]) is None
