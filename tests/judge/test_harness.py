"""May a run be believed? Each bound of the harness, and what it makes of a run that breaks it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from serving.codes import (
    HARNESS_HAD_CPU,
    HARNESS_ONE_CLOCK,
    HARNESS_READ_ON_TIME,
    LOAD_DELIVERED,
    RUN_OBSERVED,
    Code,
)
from serving.expectations import HarnessBounds, Slo
from serving.facts.columns import columns
from serving.facts.histogram import Histogram
from serving.facts.traffic import Outcome, Traffic
from serving.judge.harness import doubt, judge_harness
from serving.judge.slo import judge_traffic
from serving.verdict import Finding, Verdict
from tests.loadtest.runs import failed, request, traffic

PASS, UNKNOWN, NOT_APPLICABLE = Verdict.PASS, Verdict.UNKNOWN, Verdict.NOT_APPLICABLE
RUN = traffic(*(request(index) for index in range(100)))


def ended(**end: Any) -> Traffic:
    """A good run with another end."""
    return Traffic(RUN.plan, RUN.requests, replace(RUN.end, **end))


def finding(run: Traffic, code: Code, **bounds: Any) -> Finding:
    judged = judge_harness(run, columns(run.window), HarnessBounds(**bounds))
    return next(found for found in judged if found.code is code)


def lags(*milliseconds: float) -> dict[str, Any]:
    found = Histogram()
    found.add_many(milliseconds)
    return found.document()


def test_a_record_that_is_missing_makes_the_run_unknown():
    short = Traffic(RUN.plan, RUN.requests[:-1], RUN.end)
    found = finding(short, RUN_OBSERVED)
    assert (found.verdict, found.why) == (UNKNOWN, "99 requests were recorded of 100 that were planned")


@pytest.mark.parametrize(
    ("end", "bounds", "verdict", "observed"),
    [
        pytest.param({"client_lag": lags(*[1.0] * 99, 900.0), "kernel_stamps": 1.0}, {}, PASS, "1.0", id="p99-not-max"),
        pytest.param({"client_lag": lags(*[1.0] * 9, 60.0), "kernel_stamps": 1.0}, {}, UNKNOWN, "60.0", id="late"),
        pytest.param(
            {"client_lag": lags(60.0), "kernel_stamps": 1.0}, {"client_lag_p99_ms": 70}, PASS, "60.0", id="own-bound"
        ),
        pytest.param(
            {"client_lag": lags(60.0), "kernel_stamps": 1.0},
            {"schedule_lag_p99_ms": 70},
            PASS,
            "60.0",
            id="as-sent",
        ),
        pytest.param({"loop_lag_ms": {"p99": 60.0}}, {}, UNKNOWN, "60.0", id="loop-lag-without-stamps"),
        pytest.param({"loop_lag_ms": {"p99": 40.0}, "kernel_stamps": 0.0}, {}, PASS, "40.0", id="loop-on-time"),
        pytest.param(
            {"client_lag": lags(2.0), "kernel_stamps": 0.995, "loop_lag_ms": {"p99": 60.0}},
            {},
            PASS,
            "2.0",
            id="stamps",
        ),
        pytest.param(
            {"client_lag": lags(2.0), "kernel_stamps": 0.5, "loop_lag_ms": {"p99": 60.0}},
            {},
            UNKNOWN,
            "60.0",
            id="a-worker-without-stamps",
        ),
        pytest.param(
            {"client_lag": lags(60.0), "kernel_stamps": 0.5, "loop_lag_ms": {"p99": 2.0}},
            {},
            UNKNOWN,
            "60.0",
            id="a-late-worker-beside-it",
        ),
        pytest.param({"client_lag": {"octave": 1}, "kernel_stamps": 1.0}, {}, UNKNOWN, "unreadable", id="nonsense"),
        pytest.param({"client_lag": lags(), "kernel_stamps": 1.0}, {}, UNKNOWN, "unreadable", id="empty"),
        pytest.param({}, {}, NOT_APPLICABLE, "not seen", id="not-recorded"),
    ],
)
def test_bytes_that_waited_for_the_harness_are_not_the_servers_stalls(
    end: dict[str, Any], bounds: dict[str, Any], verdict: Verdict, observed: str
):
    found = finding(ended(**end), HARNESS_READ_ON_TIME, **bounds)
    assert (found.verdict, found.observed.split(" ms")[0]) == (verdict, observed)


@pytest.mark.parametrize(
    ("end", "bounds", "verdict"),
    [
        pytest.param({"cpu_s": 8.0, "elapsed_s": 10.0}, {}, PASS, id="at-the-bound"),
        pytest.param({"cpu_s": 8.1, "elapsed_s": 10.0}, {}, UNKNOWN, id="over"),
        pytest.param({"cpu_s": 8.1, "elapsed_s": 10.0}, {"cpu_share": 0.9}, PASS, id="own-bound"),
        pytest.param({"cpu_s": 9.0, "core_share": 0.5, "elapsed_s": 10.0}, {}, PASS, id="busiest-worker"),
        pytest.param({"cpu_s": 9.0, "core_share": 0.85, "elapsed_s": 100.0}, {}, UNKNOWN, id="one-busy-worker"),
        pytest.param({"cpu_s": 2.0, "elapsed_s": 2.0}, {}, NOT_APPLICABLE, id="too-short-to-tell"),
        pytest.param({"cpu_s": None}, {}, NOT_APPLICABLE, id="not-recorded"),
    ],
)
def test_a_busy_harness_slows_down_what_it_measures(end: dict[str, Any], bounds: dict[str, Any], verdict: Verdict):
    assert finding(ended(**end), HARNESS_HAD_CPU, **bounds).verdict is verdict


@pytest.mark.parametrize(
    ("uncertainty_ms", "bounds", "verdict"),
    [
        pytest.param(0.4, {}, PASS, id="known"),
        pytest.param(51.0, {}, UNKNOWN, id="not-known"),
        pytest.param(51.0, {"schedule_lag_p99_ms": 60}, PASS, id="own-bound"),
    ],
)
def test_workers_whose_clocks_are_not_known_cannot_share_a_schedule(
    uncertainty_ms: float, bounds: dict[str, Any], verdict: Verdict
):
    assert finding(ended(clock_uncertainty_ms=uncertainty_ms), HARNESS_ONE_CLOCK, **bounds).verdict is verdict


def test_one_clock_is_not_asked_about():
    findings = judge_harness(RUN, columns(RUN.window), HarnessBounds())
    assert HARNESS_ONE_CLOCK not in [found.code for found in findings]


def sent_at(times: list[float]) -> Traffic:
    """Requests due every second and sent at these times."""
    return traffic(*(request(index, sent_s=at, ttft_s=30.0) for index, at in enumerate(times)))


def test_the_rate_is_held_against_the_schedules_own_and_not_against_chance():
    assert finding(sent_at([float(due) for due in range(100)]), LOAD_DELIVERED).observed == "1.0000 (n=100)"
    slow = finding(sent_at([due * 1.01 for due in range(100)]), LOAD_DELIVERED)
    assert (slow.verdict, slow.observed) == (UNKNOWN, "0.9901 (n=100)")
    assert finding(sent_at([due * 0.99 for due in range(100)]), LOAD_DELIVERED).verdict is UNKNOWN
    assert finding(sent_at([due * 1.004 for due in range(100)]), LOAD_DELIVERED).verdict is PASS
    assert finding(sent_at([due * 1.01 for due in range(100)]), LOAD_DELIVERED, rate_error_share=0.02).verdict is PASS


def test_a_short_run_may_end_by_its_schedule_lag_late():
    times = [0.0, 1.0, 2.04]
    assert finding(sent_at(times), LOAD_DELIVERED).verdict is PASS
    assert finding(sent_at(times), LOAD_DELIVERED, schedule_lag_p99_ms=10).verdict is UNKNOWN


def test_what_the_cap_held_back_counts_as_bad_and_not_against_the_harness():
    not_sent = [failed(index, Outcome.NOT_SENT, "in flight: 64", sent_s=None) for index in range(50, 100)]
    found = finding(traffic(*RUN.requests[:50], *not_sent), LOAD_DELIVERED)
    assert found.verdict is PASS
    assert "50 not sent" in found.why


def test_a_closed_loop_has_no_rate_to_keep():
    closed = traffic(request(0), mode="closed_loop")
    assert all(found.code is not LOAD_DELIVERED for found in judge_harness(closed, columns(()), HarnessBounds()))


def test_one_request_has_no_rate():
    assert finding(traffic(request(0)), LOAD_DELIVERED).verdict is NOT_APPLICABLE


@pytest.mark.parametrize(
    "run",
    [
        ended(client_lag=lags(99.0), kernel_stamps=1.0),
        ended(cpu_s=9.9, elapsed_s=10.0),
        sent_at([due * 1.0004 for due in range(100)] + [101.5]),
        Traffic(RUN.plan, RUN.requests[:-1], RUN.end),
    ],
    ids=["client-lag", "cpu", "rate", "records"],
)
def test_a_run_that_may_not_be_believed_neither_passes_nor_fails(run: Traffic):
    for limit in (1.0, 1e6):
        report = judge_traffic(run, [Slo(metric="ttft", statistic="p50", at_most_ms=limit)], HarnessBounds())
        assert report.exit_code == 3
        assert str(doubt(report.findings)) in report.findings[-1].why


def test_what_was_not_recorded_leaves_the_verdict_to_what_was():
    report = judge_traffic(RUN, [Slo(metric="ttft", statistic="p50", at_most_ms=200)], HarnessBounds())
    assert report.exit_code == 0
    assert doubt(report.findings) is None
