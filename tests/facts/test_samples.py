"""What each metric means, on requests small enough to work out by hand."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from serving.facts.columns import columns
from serving.facts.samples import (
    METRICS,
    PER_REQUEST,
    measured,
    of_request,
    per_request,
    summary,
)
from serving.facts.traffic import Outcome, RequestSeen
from tests.loadtest.runs import failed, request

# Due at 10 s, sent at 10.5 s, chunks at 11, 11.2, 11.3 and 12 s with 2, 1, 3 and 2 tokens, done at 12.1 s.
LATE = request(
    scheduled_s=10.0,
    sent_s=10.5,
    connect_s=0.2,
    headers_s=10.6,
    content_s=11.3,
    chunk_s=(11.0, 11.2, 11.3, 12.0),
    chunk_tokens=(2, 1, 3, 2),
    completion_tokens=8,
    end_s=12.1,
)


def samples(metric: str, requests: list[RequestSeen]) -> list[float]:
    """Every sample of a metric, one by one."""
    found = measured(metric, requests)
    values = found.values if found.weights is None else found.values.repeat(found.weights)
    listed: list[float] = values.tolist()
    return listed


@pytest.mark.parametrize(
    ("metric", "milliseconds"),
    [
        pytest.param("ttft", 1000.0, id="ttft-from-the-schedule"),
        pytest.param("ttft_wire", 500.0, id="ttft-wire-from-sending"),
        pytest.param("e2e", 2100.0, id="e2e-from-the-schedule-to-done"),
        pytest.param("tpot", 1000.0 / 7, id="tpot-over-tokens-minus-one"),
        pytest.param("stall", 700.0, id="stall-is-the-longest-gap"),
        pytest.param("ttfo", 1300.0, id="ttfo-after-the-reasoning-from-the-schedule"),
        pytest.param("tth", 100.0, id="tth-from-sending"),
        pytest.param("ntpot", 2100.0 / 8, id="ntpot-over-all-tokens"),
    ],
)
def test_per_request_latencies(metric: str, milliseconds: float):
    assert of_request(metric, LATE) == pytest.approx(milliseconds, abs=5e-4)
    assert samples(metric, [LATE]) == pytest.approx([milliseconds], abs=5e-4)


def test_icl_is_one_sample_a_gap():
    assert samples("icl", [LATE]) == pytest.approx([200.0, 100.0, 700.0])


def test_itl_shares_a_gap_over_its_tokens_and_never_counts_zeros():
    assert samples("itl", [LATE]) == pytest.approx([200.0, 100 / 3, 100 / 3, 100 / 3, 350.0, 350.0])


def test_itl_hands_the_gap_of_a_chunk_without_a_new_token_on():
    seen = request(chunk_s=(1.0, 1.1, 1.3), chunk_tokens=(1, 0, 1))
    assert samples("itl", [seen]) == pytest.approx([300.0])


def test_itl_needs_exact_token_counts():
    uncounted = request(chunk_tokens=None)
    assert samples("itl", [uncounted]) == []
    assert measured("itl", [uncounted]).missing == 4
    assert len(samples("icl", [uncounted])) == 4


@pytest.mark.parametrize("metric", PER_REQUEST)
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
    with pytest.raises(ValueError, match="not a per-request metric"):
        measured("latency", [request()])


def test_schedule_lag_is_the_harness_alone_without_the_time_a_connection_took():
    assert samples("schedule_lag", [LATE]) == pytest.approx([300.0])
    assert samples("schedule_lag", [request(sent_s=None)]) == []


def test_a_summary_keeps_failures_as_infinite():
    found = summary(samples("ttft", [request(0), request(1, ttft_s=0.3), failed(2)]))
    assert found is not None
    assert (found.n, found.failed, found.max, found.mean) == (3, 1, math.inf, math.inf)
    assert found.p50 == pytest.approx(300.0)
    assert summary([]) is None


def by_hand(seen: RequestSeen) -> list[float]:
    """The gap of each token of one request, walking from chunk to chunk."""
    found: list[float] = []
    waited = 0.0
    for gap, tokens in zip(seen.gaps_ms, (seen.tokens_per_chunk or ())[1:], strict=True):
        waited += gap
        found += [waited / max(tokens, 1)] * tokens
        waited = 0.0 if tokens else waited
    return found


def many(seed: int, n: int = 300) -> list[RequestSeen]:
    """Requests of every kind: any number of chunks, with none, one or several tokens each, failed, or uncounted."""
    rng = random.Random(seed)
    made = []
    for index in range(n):
        chunks = rng.choice([0, 1, 2, 3, 9])
        at = [index + 0.5 + sum(rng.random() for _ in range(upto)) for upto in range(1, chunks + 1)]
        tokens: Any = rng.choice([None, 1, 3, tuple(rng.choice([0, 0, 1, 4]) for _ in at)])
        ending: dict[str, Any] = {
            "outcome": rng.choice([Outcome.OK, Outcome.OK, Outcome.TRUNCATED]),
            "end_s": index + 20.0,
        }
        counts = rng.choice([None, 0, 1, 2, 40])
        content = rng.choice([None, index + 1.0])
        made.append(
            request(
                index, chunk_s=tuple(at), chunk_tokens=tokens, completion_tokens=counts, content_s=content, **ending
            )
        )
    return made


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_token_gaps_of_many_requests_are_those_of_each_by_hand(seed: int):
    requests = many(seed)
    expected = [gap for seen in requests if seen.tokens_per_chunk is not None and seen.chunks for gap in by_hand(seen)]
    assert len(expected) > 100
    assert samples("itl", requests) == pytest.approx(expected, abs=2e-3)
    assert samples("icl", requests) == pytest.approx([gap for seen in requests for gap in seen.gaps_ms], abs=1e-3)


@pytest.mark.parametrize("metric", PER_REQUEST)
def test_a_column_holds_what_each_request_says_of_itself(metric: str):
    requests = many(4)
    one_by_one = [math.nan if (found := of_request(metric, seen)) is None else found for seen in requests]
    assert per_request(metric, columns(requests)).tolist() == pytest.approx(one_by_one, abs=2e-3, nan_ok=True)


def test_what_could_not_be_counted_is_missing_and_what_does_not_exist_is_undefined():
    requests = [request(0), request(1, tokens=1), request(2, completion_tokens=None), failed(3)]
    found = measured("tpot", requests)
    assert (found.n, found.failed, found.undefined, found.missing) == (2, 1, 1, 1)
    assert (measured("stall", requests).undefined, measured("stall", requests).missing) == (1, 0)
    assert measured("tth", [request(headers_s=None)]).missing == 1


def test_tokens_of_a_request_that_were_not_told_apart_are_missing_samples():
    assert measured("itl", [request(tokens=5, completion_tokens=80, chunk_tokens=None)]).missing == 79
    assert measured("itl", [request(tokens=5, completion_tokens=None, chunk_tokens=None)]).missing == 4


def test_samples_are_whole_microseconds_so_that_a_limit_can_be_met_exactly():
    assert samples("icl", [request(itl_s=0.0101)]) == [10.1] * 4
    assert samples("ttft", [request(5, ttft_s=0.1)]) == [100.0]


def test_a_run_without_requests_has_no_samples():
    for metric in METRICS:
        assert samples(metric, []) == []
