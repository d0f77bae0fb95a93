"""Is a candidate no worse? Arms and runs whose true difference is known."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serving.codes import NOT_WORSE, RUNS_ALIKE
from serving.expectations import Margin, Slo
from serving.facts.saved_run import SavedRun
from serving.facts.traffic import Outcome, Phase, RequestSeen, Traffic
from serving.judge.compare import Change, Comparison, differences, judge_arms, judge_runs, percent
from serving.verdict import Finding, Verdict
from tests.loadtest.runs import request, traffic

PASS, FAIL, UNKNOWN, NOT_APPLICABLE = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN, Verdict.NOT_APPLICABLE


def requests(seed: int, n: int, arms: dict[str, float], failing: float = 0.0) -> list[RequestSeen]:
    """Requests of arms in turn, each so many times as slow; the load swells and ebbs, and all are slower with it."""
    rng = np.random.default_rng(seed)
    names = list(arms)
    made = []
    for index in range(n):
        arm = names[index % len(names)]
        slow = arms[arm] * math.exp(0.2 * math.sin(index / 100))
        first_ms = 100 * slow * math.exp(0.3 * rng.standard_normal())
        gaps = array("f", (10 * slow * np.exp(0.2 * rng.standard_normal(4))).tolist())
        bad = bool(rng.random() < failing) and arm != "baseline"
        made.append(
            request(
                index,
                outcome=Outcome.TIMEOUT if bad else Outcome.OK,
                first_s=index + first_ms / 1e3,
                gaps_ms=gaps,
                end_s=index + (first_ms + sum(gaps)) / 1e3,
                arm=arm,
            )
        )
    return made


def two_arms(seed: int, n: int, slow: float = 1.0, **more: Any) -> Traffic:
    return traffic(*requests(seed, 2 * n, {"baseline": 1.0, "candidate": slow}, **more))


def saved(seed: int, n: int, slow: float = 1.0, name: str = "run", **more: Any) -> SavedRun:
    return SavedRun(name, traffic(*requests(seed, n, {"": slow}, **more)))


def margin(metric: Any = "ttft", statistic: Any = "p95", at_most: float = 0.1) -> Margin:
    return Margin(metric=metric, statistic=statistic, at_most_worse_share=at_most)


def of(comparison: Comparison, subject: str) -> Finding:
    return next(found for found in comparison.report.findings if found.subject == subject)


def change(comparison: Comparison, subject: str) -> Change:
    return next(found for found in comparison.changes if found.subject == subject)


def test_equal_arms_pass_in_nearly_every_run():
    verdicts = Counter(judge_arms(two_arms(seed, 600), (), [margin(at_most=0.15)]).report.verdict for seed in range(40))
    assert verdicts[PASS] >= 38
    assert verdicts[FAIL] == 0


def test_an_arm_that_is_a_fifth_slower_fails_and_never_passes():
    margins = [margin("tpot", "p95", 0.1), margin("ttft", "p50", 0.1)]
    verdicts = Counter(judge_arms(two_arms(seed, 600, 1.2), (), margins).report.verdict for seed in range(20))
    assert verdicts[FAIL] == 20


def test_an_arm_just_at_the_margin_seldom_passes():
    """Its true ratio is the margin, so each pass is wrong: 3 expected of 60, more than 8 once in 200."""
    verdicts = Counter(
        judge_arms(two_arms(seed, 300, 1.1), (), [margin("ttft", "p50", 0.1)]).report.verdict for seed in range(60)
    )
    assert verdicts[PASS] <= 8
    assert verdicts[FAIL] <= 8


def test_too_few_requests_are_unknown_even_when_they_look_equal():
    median = of(judge_arms(two_arms(1, 39), (), [margin(statistic="p50", at_most=0.9)]), "ttft p50")
    assert (median.verdict, median.why) == (UNKNOWN, "needs at least 40 requests on each side")
    tail = of(judge_arms(two_arms(1, 190), (), [margin(at_most=0.9)]), "ttft p95")
    assert (tail.verdict, tail.why) == (UNKNOWN, "p95 needs at least 200 independent samples on each side")
    assert of(judge_arms(two_arms(1, 990), (), [margin(statistic="p99", at_most=0.9)]), "ttft p99").verdict is UNKNOWN
    assert of(judge_arms(two_arms(1, 1010), (), [margin(statistic="p99", at_most=0.9)]), "ttft p99").verdict is PASS


def test_a_tail_of_gaps_is_not_compared_by_a_few_requests():
    rng = np.random.default_rng(2)
    made = [replace(r, gaps_ms=array("f", rng.uniform(10, 12, 40).tolist())) for r in two_arms(1, 299).requests]
    few, enough = (judge_arms(traffic(*made[skip:]), (), [margin("itl", "p99")]) for skip in (2, 0))
    assert of(few, "itl p99").why == "p99 needs samples of at least 299 requests on each side"
    assert of(enough, "itl p99").verdict is PASS


def test_what_both_arms_suffered_together_is_no_difference_between_them():
    both = two_arms(3, 600)
    paired = change(judge_arms(both, (), [margin()]), "tpot p50")
    halves = [
        replace(both, requests=tuple(r for r in both.requests if r.arm == arm)) for arm in ("baseline", "candidate")
    ]
    plans = [replace(half.plan, load=replace(half.plan.load, planned=600)) for half in halves]
    runs = [
        SavedRun(str(at), replace(half, plan=plan)) for at, (half, plan) in enumerate(zip(halves, plans, strict=True))
    ]
    alone = change(judge_runs(runs[0], runs[1], (), [margin()]), "tpot p50")
    assert alone.worse == paired.worse
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)


def test_failures_of_the_candidate_are_infinite_latencies_and_lost_goodput():
    comparison = judge_arms(two_arms(5, 600, failing=0.1), (), [margin(), margin("goodput", "share", 0.01)])
    assert of(comparison, "ttft p95").verdict is FAIL
    assert change(comparison, "ttft p95").candidate == math.inf
    assert of(comparison, "goodput").verdict is FAIL


def test_failures_on_both_sides_tell_nothing_of_the_tail():
    made = [replace(r, outcome=Outcome.TIMEOUT) if r.index % 10 < 2 else r for r in two_arms(5, 600).requests]
    comparison = judge_arms(traffic(*made), (), [margin()])
    assert of(comparison, "ttft p95").verdict is UNKNOWN


def test_goodput_is_by_the_slos_and_by_success_without_any():
    slos = [Slo(metric="ttft", statistic="p95", at_most_ms=120)]
    both = two_arms(5, 600, 1.2)
    assert change(judge_arms(both, ()), "goodput").worse == 0
    lost = change(judge_arms(both, slos, [margin("goodput", "share", 0.02)]), "goodput")
    expected = [
        np.mean([r.first_s is not None and r.first_s - r.scheduled_s <= 0.12 for r in both.requests if r.arm == arm])
        for arm in ("baseline", "candidate")
    ]
    assert (lost.baseline, lost.candidate) == pytest.approx(tuple(expected))
    assert lost.verdict is FAIL


def test_perfect_goodput_of_few_requests_proves_no_small_margin():
    """0 of 100 bad may be up to 3 % bad: resampling what was seen would never show it."""
    small = judge_arms(two_arms(1, 100), (), [margin("goodput", "share", 0.01)])
    assert of(small, "goodput").verdict is UNKNOWN
    assert of(judge_arms(two_arms(1, 600), (), [margin("goodput", "share", 0.01)]), "goodput").verdict is PASS


def test_token_gaps_without_counts_are_not_compared():
    made = [replace(r, chunk_tokens=None) for r in two_arms(5, 600).requests]
    found = of(judge_arms(traffic(*made), (), [margin("itl")]), "itl p95")
    assert (found.verdict, found.why) == (UNKNOWN, "no exact token counts")


@pytest.mark.parametrize("arm", ["baseline", "candidate"])
def test_an_arm_that_is_missing_is_unknown(arm: str):
    made = [replace(r, arm=arm) for r in two_arms(5, 300).requests]
    report = judge_arms(traffic(*made), (), [margin()]).report
    assert report.exit_code == 3
    assert "no request of the arm" in report.findings[0].why
    assert {found.verdict for found in report.findings} == {UNKNOWN}


def test_a_run_that_may_not_be_believed_is_not_compared():
    late = [replace(r, sent_s=r.scheduled_s + 0.2) for r in two_arms(5, 300).requests]
    assert judge_arms(traffic(*late), (), [margin()]).report.exit_code == 3
    good, bad = saved(1, 300), SavedRun("b", traffic(*requests(2, 300, {"": 1.0}), interrupted="Ctrl-C"))
    for force in (False, True):
        report = judge_runs(good, bad, (), [margin()], force=force).report
        assert report.exit_code == 3
        assert "candidate: the run was cut short" in report.findings[0].why


def test_two_equal_runs_pass_and_a_slower_one_fails():
    assert judge_runs(saved(1, 900), saved(2, 900), (), [margin(at_most=0.2)]).report.exit_code == 0
    assert judge_runs(saved(1, 900), saved(2, 900, 1.5), (), [margin(at_most=0.2)]).report.exit_code == 1
    assert judge_runs(saved(1, 900), saved(2, 900, 0.5), (), [margin(at_most=0.2)]).report.exit_code == 0


def altered(run: SavedRun, **plan: Any) -> SavedRun:
    return replace(run, traffic=replace(run.traffic, plan=replace(run.traffic.plan, **plan)))


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        pytest.param({"model": "other"}, "model (tiny, other)", id="model"),
        pytest.param({"profile": "other"}, "profile (hand-made, other)", id="profile"),
        pytest.param({"versions": {"warmgate": "1"}}, "version of warmgate (0, 1)", id="version"),
        pytest.param({"versions": {"warmgate": "0", "locust": "2"}}, "version of locust (none, 2)", id="new-version"),
        pytest.param({"base_url": "http://elsewhere"}, None, id="another-address-is-the-point"),
        pytest.param({"started_at": "2027-01-01T00:00:00+00:00"}, None, id="another-day"),
    ],
)
def test_runs_that_are_not_alike_are_unknown_unless_by_force(plan: dict[str, Any], said: str | None):
    baseline, candidate = saved(1, 300), altered(saved(2, 300), **plan)
    assert differences(baseline, candidate) == ([said] if said else [])
    unforced = judge_runs(baseline, candidate, (), [margin(at_most=0.5)]).report
    forced = judge_runs(baseline, candidate, (), [margin(at_most=0.5)], force=True).report
    assert unforced.exit_code == (3 if said else 0)
    assert forced.exit_code == 0
    alike = next(found for found in forced.findings if found.code is RUNS_ALIKE)
    assert alike.verdict is (NOT_APPLICABLE if said else PASS)


def test_another_rate_another_seed_and_another_prompt_shape():
    baseline = replace(saved(1, 300), profile={"max_tokens": 64, "load": {"seed": 1, "rate_rps": 1}, "slos": [1]})
    faster = altered(baseline, load=replace(baseline.traffic.plan.load, rate_per_s=2.0))
    assert differences(baseline, faster) == ["rate (1.0, 2.0)"]
    reseeded = replace(baseline, profile={"max_tokens": 64, "load": {"seed": 2, "rate_rps": 1}, "slos": [2]})
    assert differences(baseline, reseeded) == []
    longer = replace(baseline, profile={"max_tokens": 128, "load": {"seed": 1, "rate_rps": 1}, "slos": [1]})
    assert differences(baseline, longer) == ["profile's max_tokens (64, 128)"]
    assert differences(baseline, replace(longer, profile=None)) == []


def test_what_is_only_judged_or_looked_at_is_no_difference():
    ours = {"max_tokens": 64, "telemetry": {"engines": ["http://a:8080"]}, "margins": []}
    theirs = {"max_tokens": 64, "telemetry": {"engines": ["http://b:8080"]}, "margins": [{"metric": "ttft"}]}
    assert differences(replace(saved(1, 300), profile=ours), replace(saved(2, 300), profile=theirs)) == []


@pytest.mark.parametrize(
    ("tokens", "said"),
    [(7, []), (14, ["median prompt tokens (7, 14)"]), (None, [])],
    ids=["as-long", "twice-as-long", "not-counted"],
)
def test_prompts_of_other_lengths_are_a_difference_that_ledgers_alone_show(tokens: int | None, said: list[str]):
    other = saved(2, 100).traffic
    longer = replace(other, requests=tuple(replace(seen, prompt_tokens=tokens) for seen in other.requests))
    assert differences(saved(1, 100), SavedRun("longer", longer)) == said


def test_a_run_of_two_arms_is_not_like_a_run_of_one():
    arms = SavedRun("arms", two_arms(2, 300))
    assert differences(saved(1, 600), arms) == ["arms (none, baseline and candidate)"]
    assert differences(arms, arms) == []


def test_sweeps_that_probed_other_rates_are_not_alike():
    def sweep(seed: int, *rates: float) -> SavedRun:
        run = saved(seed, 600).traffic
        phases = tuple(Phase(f"probe {at}", at * 300.0, at * 300.0 + 300, rate) for at, rate in enumerate(rates))
        requests = tuple(replace(seen, phase=seen.index // 300) for seen in run.requests)
        return SavedRun("sweep", replace(run, requests=requests, end=replace(run.end, phases=phases)))

    assert differences(sweep(1, 1.0, 2.0), sweep(2, 1.0, 2.0)) == []
    report = judge_runs(sweep(1, 1.0, 2.0), sweep(2, 1.0, 4.0), (), [margin(at_most=0.5)]).report
    assert report.exit_code == 3
    assert "the runs differ in phases" in report.findings[0].why


def test_every_finding_says_how_sure_it_is_and_what_to_do():
    for slow, word in ((1.0, "no worse: 95 % sure of at most"), (1.5, "worse: 95 % sure of at least")):
        found = of(judge_arms(two_arms(1, 600, slow), (), [margin(at_most=0.2)]), "ttft p95")
        assert found.code is NOT_WORSE
        assert found.why.startswith(word)
        assert bool(found.remedy) == (found.verdict is not PASS)


@pytest.mark.parametrize(("at_most", "shown"), [(0.1, "<= 10 % slower"), (0.0005, "<= 0.05 % slower")])
def test_a_margin_is_shown_as_it_was_given(at_most: float, shown: str):
    assert of(judge_arms(two_arms(1, 300), (), [margin(at_most=at_most)]), "ttft p95").expected == shown


def test_the_same_seed_gives_the_same_bounds():
    both = two_arms(1, 300)
    assert judge_arms(both, (), seed=4) == judge_arms(both, (), seed=4)


def test_percents_have_a_sign_and_no_negative_zero():
    assert [percent(value) for value in (0.1234, -0.05, -0.0001, math.inf, math.nan)] == [
        "+12.3%",
        "-5.0%",
        "+0.0%",
        "unbounded",
        "not seen",
    ]
