"""The gates of a load test: what passes, what fails, and what may not be judged at all."""

from __future__ import annotations

from typing import Any

import pytest

from serving.codes import HARNESS_ON_TIME, RUN_OBSERVED, SLO_MET
from serving.expectations import HarnessBounds, Slo
from serving.facts.traffic import Outcome, RequestSeen
from serving.judge.slo import good, goodput, judge_traffic
from serving.verdict import Finding, Report, Verdict
from tests.loadtest.runs import failed, request, traffic

PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN


def slo(metric: Any, statistic: Any, limit_ms: float) -> Slo:
    return Slo(metric=metric, statistic=statistic, at_most_ms=limit_ms)


GOODPUT = Slo(metric="goodput", at_least_share=0.9)
ERRORS = Slo(metric="error_rate", at_most_share=0.1)


def judge(requests: list[RequestSeen], *slos: Slo, lag_ms: float = 50.0, **run: Any) -> Report:
    return judge_traffic(traffic(*requests, **run), slos, HarnessBounds(schedule_lag_p99_ms=lag_ms))


def gate(requests: list[RequestSeen], *slos: Slo, **run: Any) -> Finding:
    """The finding of the first gate."""
    return next(found for found in judge(requests, *slos, **run).findings if found.code is SLO_MET)


def found(report: Report, code: object) -> Finding:
    return next(finding for finding in report.findings if finding.code is code)


FAST = [request(index, ttft_s=0.1) for index in range(100)]
MIXED = [request(index, ttft_s=0.1 if index < 95 else 0.5) for index in range(100)]


@pytest.mark.parametrize(
    ("requests", "gated", "verdict", "observed"),
    [
        pytest.param(FAST, slo("ttft", "p95", 200), PASS, "100.0 ms (n=100)", id="p95-within"),
        pytest.param(MIXED, slo("ttft", "p95", 200), PASS, "100.0 ms (n=100)", id="p95-exactly-95-of-100"),
        pytest.param(MIXED, slo("ttft", "p99", 200), FAIL, "500.0 ms (n=100)", id="p99-over"),
        pytest.param(MIXED, slo("ttft", "max", 499), FAIL, "500.0 ms (n=100)", id="max-over"),
        pytest.param(MIXED, slo("ttft", "mean", 121), PASS, "120.0 ms (n=100)", id="mean-within"),
        pytest.param(MIXED, slo("ttft", "mean", 119), FAIL, "120.0 ms (n=100)", id="mean-over"),
        pytest.param(FAST, slo("itl", "p99", 11), PASS, "10.0 ms (n=400)", id="itl-pools-tokens"),
        pytest.param(FAST, GOODPUT, PASS, "1.0000 (100 of 100)", id="goodput"),
        pytest.param(FAST, ERRORS, PASS, "0.0000 (0 of 100)", id="no-errors"),
    ],
)
def test_a_gate_compares_the_exact_statistic_with_its_limit(
    requests: list[RequestSeen], gated: Slo, verdict: Verdict, observed: str
):
    finding = gate(requests, gated)
    assert (finding.verdict, finding.observed) == (verdict, observed)


def test_failed_requests_make_latency_worse_and_never_better():
    requests = [*FAST[:90], *(failed(index) for index in range(90, 100))]
    finding = gate(requests, slo("ttft", "p95", 200))
    assert (finding.verdict, finding.observed) == (FAIL, "no answer (n=100, 10 failed)")
    assert gate(requests, slo("ttft", "p90", 200)).verdict is PASS
    assert gate(requests, slo("ttft", "mean", 1e9)).verdict is FAIL


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.OK])
def test_every_outcome_but_ok_counts_against_goodput_and_as_an_error(outcome: Outcome):
    requests = [*FAST[:80], *(failed(index, outcome=outcome) for index in range(80, 100))]
    report = judge(requests, GOODPUT, ERRORS)
    assert [finding.verdict for finding in report.findings[2:]] == [FAIL, FAIL]
    assert [finding.observed for finding in report.findings[2:]] == ["0.8000 (80 of 100)", "0.2000 (20 of 100)"]


@pytest.mark.parametrize(("statistic", "needed"), [("p50", 2), ("p90", 10), ("p95", 20), ("p99", 100)])
def test_too_few_samples_for_a_quantile_are_unknown_never_a_pass(statistic: str, needed: int):
    gated = slo("ttft", statistic, 1e6)
    assert gate(FAST[: needed - 1], gated).verdict is UNKNOWN
    assert gate(FAST[:needed], gated).verdict is PASS


def test_a_metric_that_was_not_seen_is_unknown():
    requests = [request(index, chunk_tokens=None, completion_tokens=None) for index in range(100)]
    for metric in ("itl", "tpot"):
        finding = gate(requests, slo(metric, "p50", 1e6))
        assert (finding.verdict, finding.observed) == (UNKNOWN, "no exact token counts")


def test_one_token_answers_leave_tpot_undefined_which_is_not_good():
    limit = slo("tpot", "p50", 1e6)
    assert gate([request(index, tokens=1) for index in range(50)], limit).verdict is UNKNOWN
    assert not good(request(tokens=1), [limit])
    assert good(request(tokens=2), [limit])


def test_zero_requests_are_invalid():
    report = judge([], GOODPUT, slo("ttft", "max", 1e6))
    assert (report.verdict, report.exit_code) == (UNKNOWN, 3)
    assert found(report, RUN_OBSERVED).verdict is UNKNOWN


def test_requests_in_the_warmup_alone_are_zero_requests():
    assert judge(FAST[:5], GOODPUT, warmup_s=50.0).exit_code == 3


def test_warmup_requests_do_not_count():
    requests = [*(failed(index) for index in range(10)), *FAST[10:]]
    assert gate(requests, ERRORS, warmup_s=10.0).observed == "0.0000 (0 of 90)"


def test_a_server_that_could_not_be_reached_at_all_is_invalid_and_says_why():
    requests = [failed(index, reason="no answer: connection refused", sent_s=None) for index in range(30)]
    report = judge(requests, GOODPUT)
    assert report.exit_code == 3
    assert "connection refused" in found(report, RUN_OBSERVED).why


def test_a_server_that_answers_nothing_but_errors_fails():
    assert judge([failed(index) for index in range(30)], GOODPUT).exit_code == 1


def test_a_late_harness_measured_itself_so_nothing_is_judged():
    requests = [request(index, sent_s=index + 0.2) for index in range(100)]
    report = judge(requests, GOODPUT, slo("ttft", "p50", 1.0))
    assert report.exit_code == 3
    assert found(report, HARNESS_ON_TIME).observed == "200.0 ms (n=100)"
    assert {finding.verdict for finding in report.findings[1:]} == {UNKNOWN}
    assert judge(requests, GOODPUT, lag_ms=250).exit_code == 0


def test_a_late_connection_is_the_servers_and_not_the_harnesss():
    requests = [request(index, sent_s=index + 0.2, connect_s=0.2, ttft_s=0.3) for index in range(100)]
    report = judge(requests, GOODPUT, slo("ttft", "p50", 250))
    assert found(report, HARNESS_ON_TIME).verdict is PASS
    assert report.exit_code == 1


def test_an_interrupted_run_is_not_judged_even_when_it_looks_bad():
    report = judge([failed(index) for index in range(30)], GOODPUT, interrupted="Ctrl-C")
    assert report.exit_code == 3
    assert "Ctrl-C" in found(report, RUN_OBSERVED).why


def test_goodput_holds_each_request_to_the_loosest_limit_of_a_metric_and_to_every_metric():
    limits = [slo("ttft", "p50", 100), slo("ttft", "p99", 300), slo("e2e", "p99", 250), slo("icl", "p99", 0.001)]
    requests = [
        request(0, ttft_s=0.05),
        request(1, ttft_s=0.2),  # over the p50 limit, within the p99 limit
        request(2, ttft_s=0.24),  # e2e is 280 ms
        request(3, ttft_s=0.4),
        failed(4),
    ]
    assert [good(seen, limits) for seen in requests] == [True, True, False, False, False]
    assert goodput(requests, limits) == pytest.approx(2 / 5)
    assert goodput([], limits) is None


def test_failures_that_no_gate_can_see_are_not_passed_over():
    requests = [*FAST[:50], *(failed(index) for index in range(50, 100))]
    report = judge(requests, slo("icl", "p95", 1e6))
    assert report.exit_code == 3
    assert report.findings[-1].subject == "failed requests"
    assert judge(FAST, slo("icl", "p95", 1e6)).exit_code == 0
    assert judge(requests, slo("icl", "p95", 1e6), ERRORS).exit_code == 1


def test_every_failing_and_unknown_finding_names_a_remedy():
    reports = [
        judge([], GOODPUT),
        judge([failed(index) for index in range(30)], GOODPUT, slo("ttft", "p50", 1), slo("itl", "p50", 1)),
        judge([request(0, sent_s=9.0)], GOODPUT),
        judge(FAST, GOODPUT, interrupted="Ctrl-C"),
    ]
    for finding in (finding for report in reports for finding in report.findings):
        assert bool(finding.remedy) == (finding.verdict is not PASS), finding
