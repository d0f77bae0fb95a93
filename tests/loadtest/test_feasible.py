"""What no run of a profile could support is refused before anything is sent; what one could is not."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.feasible import objection, requests_for
from loadtest.profile import Profile

SANITY = {"metric": "sanity", "at_least_share": 0.9}
ITL = {"metric": "itl", "statistic": "p99", "at_most_ms": 9.0}
TPOT = {"metric": "tpot", "statistic": "p90", "at_most_ms": 50.0}
QUESTION = {"ask": "2 + 2?", "expect": "4"}


def profile(load: dict[str, Any], *slos: dict[str, Any], **more: Any) -> Profile:
    slos = slos or ({"metric": "error_rate", "at_most_share": 0.0},)
    return Profile.model_validate({"load": load, "slos": slos, **more})


def ttft(statistic: str, **more: Any) -> dict[str, Any]:
    return {"metric": "ttft", "statistic": statistic, "at_most_ms": 500.0, **more}


def constant(requests: int) -> dict[str, Any]:
    return {"arrivals": "constant", "rate_rps": 10, "duration_s": requests / 10}


@pytest.mark.parametrize(
    ("slo", "confidence", "fewest"),
    [
        pytest.param(ttft("p50"), "none", 2, id="p50"),
        pytest.param(ttft("p99"), "none", 100, id="p99"),
        pytest.param(ttft("p99"), 0.95, 299, id="sure-of-a-p99"),  # 0.99 ** 299 < 0.05
        pytest.param(ttft("p99", confidence="none"), 0.95, 100, id="the-gates-own-confidence"),
        pytest.param(ttft("p95"), 0.95, 59, id="sure-of-a-p95"),
        pytest.param(ITL, "none", 2, id="one-request-has-many-gaps"),
        pytest.param(ITL, 0.95, 299, id="but-is-one-witness"),
        pytest.param({"metric": "goodput", "at_least_share": 0.9}, 0.95, 29, id="goodput"),
        pytest.param({"metric": "error_rate", "at_most_share": 0.01}, 0.95, 299, id="errors"),
        pytest.param({"metric": "error_rate", "at_most_share": 0.0}, 0.95, 1, id="none-at-all-is-counted"),
        pytest.param(ttft("max"), 0.95, 1, id="max"),
    ],
)
def test_a_gate_needs_so_many_requests_and_one_fewer_is_refused(slo, confidence, fewest: int):
    enough = profile(constant(fewest), slo, confidence=confidence)
    assert objection(enough) is None
    assert requests_for(enough) >= 1.5 * fewest
    if fewest > 1:
        said = objection(profile(constant(fewest - 1), slo, confidence=confidence))
        assert said is not None
        assert f"needs at least {fewest} requests and about {fewest - 1} will count" in said
        assert objection(profile(constant(fewest - 1), slo, confidence=confidence, no_gates=True)) is None


def test_only_what_counts_is_enough():
    gate = ttft("p95", confidence="none")
    assert objection(profile(constant(30), gate, warmup_s=0.5, cooldown_s=0.5)) is None
    said = objection(profile(constant(30), gate, warmup_s=0.5, cooldown_s=1))
    assert said is not None
    assert "about 15 will count: raise duration_s (--duration) to 4" in said


def test_a_random_law_is_given_the_benefit_of_its_chance():
    poisson = {"rate_rps": 10, "duration_s": 1.5}
    assert objection(profile(poisson, ttft("p95", confidence="none"))) is None
    assert objection(profile({"rate_rps": 10, "duration_s": 0.3}, ttft("p95", confidence="none"))) is not None


def test_a_closed_loop_by_time_may_have_any_number_of_requests():
    assert objection(profile({"closed_loop": {"concurrency": 1, "duration_s": 1}}, ttft("p99"))) is None
    assert objection(profile({"closed_loop": {"concurrency": 1, "requests": 9}}, ttft("p99"))) is not None


@pytest.mark.parametrize(
    ("load", "more", "said"),
    [
        pytest.param(constant(10), {"warmup_s": 0.5, "cooldown_s": 0.5}, "no request would count", id="all-window"),
        pytest.param(
            {"arrivals": "constant", "rate_rps": 0.1, "duration_s": 9}, {"warmup_s": 1}, "no request", id="none-due"
        ),
        pytest.param({"closed_loop": {"concurrency": 1, "duration_s": 3}}, {"warmup_s": 3}, "no request", id="closed"),
        pytest.param(
            {"closed_loop": {"concurrency": 1, "requests": 3}}, {"cooldown_s": 3}, "needs a load with a known", id="end"
        ),
        pytest.param({"closed_loop": {"concurrency": 2, "requests": 3}}, {"workers": 3}, "3 workers for 2", id="idle"),
        pytest.param({"sweep": {}}, {"no_gates": True}, "a sweep looks for", id="sweep-of-nothing"),
        pytest.param(
            {"sweep": {"max_rps": 1, "longest_probe_s": 30}},
            {"slos": [ttft("p99")]},
            "no probe holds the 449 requests",
            id="short-probes",
        ),
        pytest.param(
            {"sweep": {"max_rps": 3_000, "longest_probe_s": 300}},
            {"warmup_s": 50},
            "the longest probe may have over 1,000,000 requests: lower sweep.max_rps",
            id="probes-that-cannot-be-kept",
        ),
        pytest.param(constant(90), {"slos": [SANITY]}, "sanity needs questions", id="sanity-of-nothing"),
        pytest.param({"sweep": {}}, {"slos": [SANITY]}, "sanity needs questions", id="sweep-for-sanity"),
        pytest.param(
            {"closed_loop": {"concurrency": 1, "duration_s": 9}},
            {"slos": [TPOT], "max_tokens": 1},
            "tpot needs answers of two tokens: raise max_tokens",
            id="no-second-token",
        ),
    ],
)
def test_what_can_never_be_judged_is_refused(load, more, said: str):
    assert said in (objection(profile(load, **more)) or "")


@pytest.mark.parametrize(
    ("slo", "more"),
    [
        pytest.param(SANITY, {"prompts": {"golden": {"share": 0.5, "questions": [QUESTION]}}}, id="golden"),
        pytest.param(SANITY, {"prompts": {"file": "may-expect.jsonl"}}, id="file"),
        pytest.param(TPOT, {"max_tokens": 2}, id="two-tokens"),
        pytest.param(TPOT, {"max_tokens": 1, "prompts": {"file": "has-its-own.jsonl"}}, id="the-files-own-lengths"),
    ],
)
def test_a_metric_that_some_answer_may_have_is_not_refused(slo: dict[str, Any], more: dict[str, Any]):
    assert objection(profile(constant(90), slo, **more)) is None


@pytest.mark.parametrize("load", [{"rate_rps": 0.1, "duration_s": 9}, {"sweep": {}}], ids=["poisson", "sweep"])
def test_what_might_be_judged_is_not(load):
    assert objection(profile(load, warmup_s=1)) is None
