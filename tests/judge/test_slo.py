"""The gates of a load test: what passes, what fails, and what may not be judged at all."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from serving.codes import HARNESS_ON_TIME, RUN_OBSERVED, SLO_MET
from serving.expectations import Confidence, HarnessBounds, Slo
from serving.facts.traffic import Outcome, RequestSeen
from serving.judge.slo import good, good_mask, goodput, judge_traffic
from serving.verdict import Finding, Report, Verdict
from tests.loadtest.runs import failed, request, traffic

PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN


def slo(metric: Any, statistic: Any, limit_ms: float) -> Slo:
    return Slo(metric=metric, statistic=statistic, at_most_ms=limit_ms)


GOODPUT = Slo(metric="goodput", at_least_share=0.9)
ERRORS = Slo(metric="error_rate", at_most_share=0.1)


def judge(
    requests: list[RequestSeen], *slos: Slo, lag_ms: float = 50.0, confidence: Confidence = "none", **run: Any
) -> Report:
    return judge_traffic(traffic(*requests, **run), slos, HarnessBounds(schedule_lag_p99_ms=lag_ms), confidence)


def gate(requests: list[RequestSeen], *slos: Slo, **run: Any) -> Finding:
    """The finding of the first gate."""
    return next(found for found in judge(requests, *slos, **run).findings if found.code is SLO_MET)


def gates(requests: list[RequestSeen], *slos: Slo, **run: Any) -> list[Finding]:
    return [found for found in judge(requests, *slos, **run).findings if found.code is SLO_MET]


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
    judged = gates(requests, GOODPUT, ERRORS)
    assert [finding.verdict for finding in judged] == [FAIL, FAIL]
    assert [finding.observed for finding in judged] == ["0.8000 (80 of 100)", "0.2000 (20 of 100)"]


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
    assert {finding.verdict for finding in report.findings if finding.code is SLO_MET} == {UNKNOWN}
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
        assert bool(finding.remedy) == (finding.verdict in (FAIL, UNKNOWN)), finding


def sure(requests: list[RequestSeen], gated: Slo, confidence: Confidence = 0.95) -> Finding:
    return gate(requests, gated, confidence=confidence)


@pytest.mark.parametrize(("statistic", "needed"), [("p50", 5), ("p90", 29), ("p95", 59), ("p99", 299)])
def test_a_pass_needs_as_many_samples_as_its_confidence_does(statistic: str, needed: int):
    """Wilks' numbers: the largest of so many lies above the quantile with 95 %."""
    requests = [request(index) for index in range(300)]
    short = sure(requests[: needed - 1], slo("ttft", statistic, 1e6))
    assert short.verdict is UNKNOWN
    assert "1 more" in short.why or "needs at least" in short.why
    assert sure(requests[:needed], slo("ttft", statistic, 1e6)).verdict is PASS


@pytest.mark.parametrize(
    ("slow", "verdict"), [(0, PASS), (4, PASS), (5, UNKNOWN), (10, UNKNOWN), (15, UNKNOWN), (16, FAIL), (40, FAIL)]
)
def test_a_gate_passes_or_fails_only_when_it_is_sure(slow: int, verdict: Verdict):
    """Of 200 requests, 5 % over: P(at most 4) = 2.6 %, P(at most 5) = 6.2 %; P(at least 16) = 4.4 %, of 15 7.8 %."""
    requests = [request(index, ttft_s=0.5 if index < slow else 0.1) for index in range(200)]
    found = sure(requests, slo("ttft", "p95", 200))
    assert found.verdict is verdict


def test_between_pass_and_fail_it_says_how_many_more_requests_would_tell():
    requests = [request(index, ttft_s=0.5 if index < 6 else 0.1) for index in range(200)]
    found = sure(requests, slo("ttft", "p95", 200))
    assert found.verdict is UNKNOWN
    assert "not enough samples: 95 % sure of between" in found.why
    more = int(found.why.rpartition("about ")[2].split()[0])
    scaled = [request(index, ttft_s=0.5 if index * 3 % 100 >= 97 else 0.1) for index in range(200 + more)]  # 3 %
    assert sure(scaled, slo("ttft", "p95", 200)).verdict is PASS
    assert sure(scaled[: (200 + more) * 3 // 4], slo("ttft", "p95", 200)).verdict is UNKNOWN
    on_the_limit = [request(index, ttft_s=0.5 if index % 20 == 0 else 0.1) for index in range(200)]
    assert "too close" in sure(on_the_limit, slo("ttft", "p95", 200)).why


def test_without_a_confidence_the_point_estimate_is_judged_and_called_so():
    requests = [request(index) for index in range(34)]
    found = gate(requests, slo("ttft", "p95", 200))
    assert (found.verdict, found.why) == (PASS, "within the limit: point estimate, at most 100.0 ms")
    assert sure(requests, slo("ttft", "p95", 200)).verdict is UNKNOWN


def test_a_gates_own_confidence_goes_before_the_profiles():
    requests = [request(index) for index in range(34)]
    own = slo("ttft", "p95", 200).model_copy(update={"confidence": "none"})
    assert sure(requests, own).verdict is PASS
    assert gate(requests, own.model_copy(update={"confidence": 0.95})).verdict is UNKNOWN
    assert gate(requests, own.model_copy(update={"confidence": 0.8})).verdict is PASS  # 1 - 0.95^34 is 82.5 %


@pytest.mark.parametrize(
    ("good_ones", "limit", "verdict"),
    [
        pytest.param(100, 0.97, PASS, id="100-of-100-is-over-97"),
        pytest.param(100, 0.98, UNKNOWN, id="and-not-surely-over-98"),
        pytest.param(97, 0.97, UNKNOWN, id="at-the-limit"),
        pytest.param(93, 0.97, FAIL, id="93-is-surely-below"),
        pytest.param(100, 1.0, PASS, id="all-is-counted"),
        pytest.param(99, 1.0, FAIL, id="and-so-is-one-that-is-not"),
    ],
)
def test_goodput_is_held_to_its_exact_binomial_bounds(good_ones: int, limit: float, verdict: Verdict):
    """0.05^(1/100) = 97.05 %; 7 bad of 100 with 3 % expected have 3.1 %, so are surely too many."""
    requests = [*FAST[:good_ones], *(failed(index) for index in range(good_ones, 100))]
    gated = Slo(metric="goodput", at_least_share=limit)
    assert sure(requests, gated).verdict is verdict
    mirrored = Slo(metric="error_rate", at_most_share=round(1 - limit, 9))
    assert sure(requests, mirrored).verdict is verdict


def test_a_share_of_none_is_counted_in_this_run_and_said_so():
    found = sure(FAST, Slo(metric="error_rate", at_most_share=0.0))
    assert (found.verdict, found.why) == (PASS, "within the limit: counted in this run, at most 0.0000")


def test_gaps_that_come_in_clusters_do_not_make_a_gate_sure():
    """Twenty requests with 100 gaps each, one of which is slow throughout: 2,000 samples, but not of 2,000 things."""
    requests = [request(index, itl_s=0.5 if index == 0 else 0.01, tokens=101) for index in range(20)]
    assert gate(requests, slo("itl", "p90", 100)).verdict is PASS
    assert sure(requests, slo("itl", "p90", 100)).verdict is UNKNOWN


def test_a_tail_of_gaps_needs_as_many_requests_as_a_tail_of_requests():
    requests = [request(index, tokens=101) for index in range(59)]
    few = sure(requests[:30], slo("itl", "p95", 100))
    assert (few.verdict, few.observed) == (UNKNOWN, "10.0 ms (n=3000)")
    assert few.why.endswith("about 29 more requests are needed")
    assert sure(requests, slo("itl", "p95", 100)).verdict is PASS


@pytest.mark.parametrize(
    ("uncounted", "limit", "verdict"),
    [
        pytest.param(0, 200, PASS, id="all-counted"),
        pytest.param(5, 200, PASS, id="five-that-may-be-slow"),
        pytest.param(6, 200, UNKNOWN, id="six-may-be-too-many"),
        pytest.param(90, 200, UNKNOWN, id="most"),
        pytest.param(4, 9, FAIL, id="too-slow-whatever-they-are"),
    ],
)
def test_a_token_count_that_is_missing_may_be_anything(uncounted: int, limit: float, verdict: Verdict):
    requests = [request(index, completion_tokens=None if index < uncounted else 5) for index in range(100)]
    found = gate(requests, slo("tpot", "p95", limit))
    assert found.verdict is verdict
    if uncounted:
        assert f"{uncounted} without a token count" in found.observed


def test_a_maximum_is_a_statement_on_this_run():
    assert sure(FAST[:5], slo("ttft", "max", 101)).why == "within the limit: the largest seen, at most 100.0 ms"


def test_a_mean_is_held_to_its_bounds():
    requests = [request(index, ttft_s=0.1 if index % 2 else 0.2) for index in range(20)]
    assert gate(requests, slo("ttft", "mean", 151)).verdict is PASS
    assert sure(requests, slo("ttft", "mean", 151)).verdict is UNKNOWN
    assert sure(requests, slo("ttft", "mean", 175)).verdict is PASS
    assert sure(requests, slo("ttft", "mean", 125)).verdict is FAIL


def test_sanity_counts_golden_answers_alone():
    gated = Slo(metric="sanity", at_least_share=0.9)
    golden = [request(index, sane=index >= 2) for index in range(20)]
    plain = [request(index) for index in range(20, 60)]
    assert gate([*golden, *plain], gated).observed == "0.9000 (18 of 20)"
    assert gate([*golden, *plain], gated).verdict is PASS
    assert gate(golden[:19], gated).verdict is FAIL
    assert sure(golden, gated).verdict is UNKNOWN
    none = gate(plain, gated)
    assert (none.verdict, none.observed) == (UNKNOWN, "no golden answers")


def test_failures_beside_golden_answers_are_not_passed_over():
    requests = [*(request(index, sane=True) for index in range(20)), failed(20)]
    assert judge(requests, Slo(metric="sanity", at_least_share=0.9)).exit_code == 3


def test_stalls_are_requests_with_a_gap_over_the_limit_or_that_failed():
    gated = Slo(metric="stall_share", over_ms=50, at_most_share=0.1)
    requests = [
        *(request(index, itl_s=0.06 if index < 5 else 0.04) for index in range(95)),
        *map(failed, range(95, 100)),
    ]
    found = gate(requests, gated)
    assert (found.verdict, found.observed, found.subject) == (PASS, "0.1000 (10 of 100)", "stall_share over 50 ms")
    assert gate(requests[1:], gated.model_copy(update={"at_most_share": 0.09})).verdict is FAIL


def test_time_to_content_waits_for_the_reasoning_to_end():
    requests = [request(index, content_s=index + 3.0) for index in range(20)]
    assert gate(requests, slo("ttfo", "p50", 2999)).verdict is FAIL
    assert gate(requests, slo("ttfo", "p50", 3000)).verdict is PASS
    assert gate([request(index) for index in range(20)], slo("ttfo", "p50", 3000)).verdict is UNKNOWN


def test_all_requests_at_once_are_as_good_as_each_by_itself():
    limits = [slo("ttft", "p95", 150), slo("tpot", "p95", 30), slo("e2e", "p99", 300)]
    requests = [
        request(index, ttft_s=0.1 + index / 1000, itl_s=0.01 + index % 7 / 200, tokens=index % 6 + 1)
        for index in range(99)
    ] + [failed(99)]
    one_by_one = [good(seen, limits) for seen in requests]
    assert good_mask(requests, limits).tolist() == one_by_one
    assert 10 < sum(one_by_one) < 90


def test_a_gate_at_the_true_quantile_is_seldom_called_either_way():
    """300 runs of 150 requests whose true p95 is the limit: pass and fail are each wrong, and each at most in 5 %."""
    rng = random.Random(23)
    limit = round(-math.log(0.05) * 100, 3)
    verdicts = []
    for _ in range(300):
        requests = [request(index, ttft_s=rng.expovariate(10.0), tokens=2) for index in range(150)]
        verdicts.append(sure(requests, slo("ttft", "p95", limit)).verdict)
    assert verdicts.count(PASS) <= 27  # 15 expected; more than 27 once in 1000
    assert verdicts.count(FAIL) <= 27
