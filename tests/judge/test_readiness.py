"""Seven layers, each against every state of its evidence; expectations are written out, not computed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from serving import codes
from serving.expectations import Readiness
from serving.facts.model import Engine, Heartbeat, Identity, Modelz, State, Warmup
from serving.facts.readiness import AgentFacts, Host, Listing, Probe, ReadinessFacts, Trial
from serving.facts.seen import Fact, Unseen
from serving.judge.readiness import judge_readiness
from serving.verdict import Verdict
from tests.fakes.modelz import modelz
from tests.judge.findings import ANSWER, DEAD, FAIL, HEALTHY, NA, PASS, SICK, UNKNOWN, facts, finding, samples, seen


def test_a_ready_endpoint_passes_and_its_report_says_of_what():
    report = judge_readiness(facts(), Readiness())
    assert report.title == "verify smollm2 at http://127.0.0.1:8000"
    assert [each.verdict for each in report.findings] == [PASS, PASS, PASS, PASS, NA, NA, PASS]
    assert (report.verdict, report.exit_code) == (PASS, 0)


PROCESS = {
    "alive": (modelz(), PASS, "pid 4242"),
    "alive-while-loading": (modelz(state=State.LOADING), PASS, "pid 4242"),
    "no-engine-yet": (modelz(state=State.STARTING, engine=Engine(None, None, None, None)), FAIL, "no process yet"),
    "failed": (modelz(state=State.FAILED, reason="out of memory", live=False), FAIL, "failed"),
    "stopped": (modelz(state=State.STOPPED), FAIL, "stopped"),
    "exited-unnoticed": (modelz(engine=Engine("0.32.0", 7, 137, None)), FAIL, "exit code 137"),
    "not-live": (modelz(state=State.STALLED, live=False), FAIL, "not live"),
    "agent-dead": (DEAD, UNKNOWN, "could not look"),
}


@pytest.mark.parametrize(
    ("model", "verdict", "observed"), [pytest.param(*case, id=name) for name, case in PROCESS.items()]
)
def test_the_process_runs_only_where_a_live_agent_says_so(model: Modelz | Unseen, verdict: Verdict, observed: str):
    found = finding(codes.PROCESS_RUNNING, facts(model))
    assert found.verdict is verdict
    assert observed in found.observed


def test_a_failed_engine_shows_its_reason_and_its_last_line():
    engine = Engine("0.32.0", 7, 1, None, ("starting", "ValueError: no such model"))
    found = finding(codes.PROCESS_RUNNING, facts(modelz(state=State.FAILED, reason="engine ended", engine=engine)))
    assert "engine ended" in found.why
    assert "ValueError: no such model" in found.why


COLD = Warmup(0, (), None, False, 0.0)
UNSETTLED = Warmup(8, (900.0, 210.0, 480.0), 0.8, False, 12.0)
MODEL = {
    "ready": (modelz(), {}, PASS),
    "ready-named": (modelz(), {"model": "smollm2"}, PASS),
    "ready-under-one-of-two-names": (
        modelz(identity=Identity("/m", "smollm2", ("smollm2", "alias"))),
        {"model": "alias"},
        PASS,
    ),
    "warmed-up-but-not-settled": (modelz(warmup=UNSETTLED), {}, PASS),
    "other-name-expected": (modelz(), {"model": "qwen"}, FAIL),
    "name-is-a-prefix": (modelz(), {"model": "smollm"}, FAIL),
    "engine-serves-another": (modelz(identity=Identity("/m", "smollm2", ("/m",))), {}, FAIL),
    "engine-serves-nothing": (modelz(identity=Identity("/m", "smollm2", ())), {}, FAIL),
    "never-warmed-up": (modelz(warmup=COLD), {}, FAIL),
    "no-warm-up-at-all": (modelz(warmup=None), {}, FAIL),
    "ready-state-but-not-ready": (modelz(ready=False), {}, FAIL),
    "not-ready-state-but-ready": (modelz(state=State.STALLED, ready=True), {}, FAIL),
    **{f"state-{state}": (modelz(state=state), {}, FAIL) for state in State if state is not State.READY},
    "agent-dead": (DEAD, {}, UNKNOWN),
}


@pytest.mark.parametrize(
    ("model", "expected", "verdict"), [pytest.param(*case, id=name) for name, case in MODEL.items()]
)
def test_the_model_is_warm_only_when_state_name_and_warm_up_agree(
    model: Modelz | Unseen, expected: dict[str, Any], verdict: Verdict
):
    assert finding(codes.MODEL_WARM, facts(model), **expected).verdict is verdict


def test_a_loading_model_shows_its_phase_for_how_long_and_why():
    loading = modelz(state=State.LOADING, reason="reading weights, 2 of 4 shards")
    found = finding(codes.MODEL_WARM, facts(loading))
    assert found.observed == "loading for 12 s"
    assert found.why == "reading weights, 2 of 4 shards"


def test_a_warm_up_that_did_not_settle_passes_and_is_said_aloud():
    found = finding(codes.MODEL_WARM, facts(modelz(warmup=UNSETTLED)))
    assert "NOT settled (spread 80%)" in found.why


def test_the_heartbeat_is_evidence():
    found = finding(codes.MODEL_WARM, facts(modelz(heartbeat=Heartbeat(3, 1, 2.0))))
    assert "3 running, 1 waiting, last moved 2.0 s ago" in found.why


@pytest.mark.parametrize(
    ("readyz", "verdict"),
    [
        pytest.param(seen(Probe(200, "ready")), PASS, id="agrees"),
        pytest.param(seen(Probe(503, "ready")), FAIL, id="disagrees"),
        pytest.param(seen(Probe(404)), FAIL, id="no-such-route"),
        pytest.param(Unseen("no answer within 10 s", "http://a/readyz", 1.0), UNKNOWN, id="hangs"),
    ],
)
def test_a_ready_model_needs_a_ready_probe_for_probes_see_nothing_else(readyz: Fact[Probe], verdict: Verdict):
    found = finding(codes.MODEL_WARM, facts(agent=AgentFacts(seen(modelz()), readyz)))
    assert found.verdict is verdict


def test_a_ready_state_without_readiness_fails_whatever_the_probe_says():
    torn = AgentFacts(seen(modelz(ready=False)), seen(Probe(200, "ready")))
    found = finding(codes.MODEL_WARM, facts(agent=torn))
    assert found.verdict is FAIL
    assert "`ready` is false" in found.why


def test_a_probe_that_lets_traffic_to_a_model_that_is_not_ready_is_named():
    stalled = AgentFacts(seen(modelz(state=State.STALLED)), seen(Probe(200, "ready")))
    assert "/readyz answers 200" in finding(codes.MODEL_WARM, facts(agent=stalled)).why


LISTED, OTHER = seen(Listing(200, ("lora", "smollm2"))), seen(Listing(200, ("qwen",)))
ENDPOINT = {
    "listed": (LISTED, None, PASS),
    "listed-and-one-host-healthy": (LISTED, seen((HEALTHY, SICK)), PASS),
    "another-model-listed": (OTHER, None, FAIL),
    "nothing-listed": (seen(Listing(200, ())), None, FAIL),
    "gateway-has-no-replica": (seen(Listing(503, detail="no healthy upstream")), None, FAIL),
    "gateway-has-no-route": (seen(Listing(404)), None, FAIL),
    "listed-but-no-host-healthy": (LISTED, seen((SICK,)), FAIL),
    "listed-but-no-host-at-all": (LISTED, seen(()), FAIL),
    "no-host-healthy-and-base-url-dead": (DEAD, seen((SICK,)), FAIL),
    "base-url-dead": (DEAD, None, UNKNOWN),
    "base-url-dead-hosts-healthy": (DEAD, seen((HEALTHY,)), UNKNOWN),
    "listed-but-gateway-admin-dead": (LISTED, DEAD, UNKNOWN),
}


@pytest.mark.parametrize(
    ("listing", "gateway", "verdict"), [pytest.param(*case, id=name) for name, case in ENDPOINT.items()]
)
def test_the_endpoint_is_ready_only_where_the_gateway_says_so(
    listing: Fact[Listing], gateway: Fact[tuple[Host, ...]] | None, verdict: Verdict
):
    assert finding(codes.ENDPOINT_LISTED, facts(listing=listing, gateway=gateway)).verdict is verdict


def test_healthy_hosts_are_counted_and_sick_ones_explained():
    assert "1 of 2 hosts healthy" in finding(codes.ENDPOINT_LISTED, facts(gateway=seen((HEALTHY, SICK)))).why
    found = finding(codes.ENDPOINT_LISTED, facts(gateway=seen((SICK, SICK))))
    assert found.observed == "0 of 2 hosts healthy"
    assert "127.0.0.1:8090: failed_active_health_check" in found.why


def test_without_a_name_the_listing_alone_proves_nothing():
    assert finding(codes.ENDPOINT_LISTED, facts(DEAD)).verdict is UNKNOWN
    assert finding(codes.ENDPOINT_LISTED, facts(DEAD), model="smollm2").verdict is PASS


LATENCY = {
    "all-fast": (samples(*[100.0] * 20), {}, PASS),
    "one-of-20-slow": (samples(*[100.0] * 19, 5000.0), {}, PASS),
    "two-of-20-slow": (samples(*[100.0] * 18, 5000.0, 5000.0), {}, FAIL),
    "one-of-20-failed": (samples(*[100.0] * 19, None), {}, PASS),
    "one-failed-one-slow": (samples(*[100.0] * 18, None, 5000.0), {}, FAIL),
    "exactly-on-target": (samples(*[2000.0] * 20), {}, PASS),
    "just-over-target": (samples(*[2000.001] * 20), {}, FAIL),
    "all-failed": (samples(*[None] * 20), {}, FAIL),
    "19-are-too-few-for-p95": (samples(*[100.0] * 19), {}, UNKNOWN),
    "one-is-too-few": (samples(100.0), {"samples": 1}, UNKNOWN),
    "too-few-and-one-slow": (samples(*[100.0] * 9, 5000.0), {}, UNKNOWN),
    "too-few-yet-two-slow-cannot-be-saved": (samples(100.0, 5000.0, 5000.0), {}, FAIL),
    "one-of-20-slow-against-p50": (samples(*[100.0] * 19, 5000.0), {"percentile": 0.5}, PASS),
    "20-are-too-few-for-p99": (samples(*[100.0] * 20), {"percentile": 0.99}, UNKNOWN),
    "100-are-enough-for-p99": (samples(*[100.0] * 99, 5000.0), {"percentile": 0.99}, PASS),
    "two-of-100-break-p99": (samples(*[100.0] * 98, 5000.0, 5000.0), {"percentile": 0.99}, FAIL),
    "the-maximum-forgives-nothing": (samples(*[100.0] * 19, 5000.0), {"percentile": 1.0}, FAIL),
    "ten-are-enough-for-p90": (samples(*[100.0] * 10), {"percentile": 0.9}, PASS),
    "nothing-sent": ((), {}, UNKNOWN),
    "never-got-in": ((DEAD, DEAD, DEAD), {}, UNKNOWN),
    "one-of-20-never-got-in": ((*samples(*[100.0] * 19), DEAD), {}, PASS),
    "two-of-20-never-got-in": ((*samples(*[100.0] * 18), DEAD, DEAD), {}, FAIL),
}


@pytest.mark.parametrize(
    ("latency", "expected", "verdict"), [pytest.param(*case, id=name) for name, case in LATENCY.items()]
)
def test_latency_passes_only_with_enough_samples_and_failures_are_misses(
    latency: tuple[Fact[Trial], ...], expected: dict[str, Any], verdict: Verdict
):
    assert finding(codes.LATENCY, facts(latency=latency), **expected).verdict is verdict


def test_latency_states_its_percentile_its_n_and_the_extremes():
    found = finding(codes.LATENCY, facts(latency=samples(*range(10, 210, 10))))
    assert found.observed == "p95 190 ms (n=20)"
    assert found.expected == "p95 ≤ 2000 ms"
    assert found.why == "p50 100 ms, max 200 ms, 0 of 20 failed"


def test_a_failed_sample_is_counted_and_explained():
    found = finding(codes.LATENCY, facts(latency=samples(*[100.0] * 18, None, None)))
    assert found.observed == "p95 never (n=20)"
    assert "2 of 20 failed (first: HTTP 503: no healthy upstream)" in found.why


HANGING = Trial("/v1/chat/completions", None, 500.0, problem="not answered in full within 0.5 s", cut_off=True)


@pytest.mark.parametrize(
    ("cut", "verdict"),
    [
        pytest.param(HANGING, PASS, id="cut-off-before-it-could-miss"),
        pytest.param(replace(HANGING, elapsed_ms=2500.0), FAIL, id="cut-off-after-it-had-missed"),
        pytest.param(replace(HANGING, cut_off=False), FAIL, id="gave-no-answer-in-its-own-time"),
        pytest.param(replace(HANGING, ttft_ms=90.0), PASS, id="cut-off-after-its-first-token"),
    ],
)
def test_a_sample_that_our_own_bound_ended_is_a_miss_only_if_it_had_missed(cut: Trial, verdict: Verdict):
    twenty_with_one_miss = samples(*[100.0] * 19, 5000.0)
    assert finding(codes.LATENCY, facts(latency=(*twenty_with_one_miss, seen(cut)))).verdict is verdict


PREDICTION = {
    "answered": (ANSWER, {}, PASS),
    "answered-without-a-token-count": (replace(ANSWER, tokens=None), {}, PASS),
    "contains-what-is-expected": (ANSWER, {"expect": "paris"}, PASS),
    "lacks-what-is-expected": (ANSWER, {"expect": "London"}, FAIL),
    "no-done": (replace(ANSWER, problem="ended without [DONE]"), {}, FAIL),
    "empty": (replace(ANSWER, text=" \n"), {}, FAIL),
    "stuck": (replace(ANSWER, text="!!!!!!!!!!!!!!!!"), {}, FAIL),
    "refused": (Trial("/v1/chat/completions", 503, 2.0, problem="HTTP 503: no healthy upstream"), {}, FAIL),
    "hangs": (Trial("/v1/chat/completions", None, 9e3, problem="not answered in full within 9 s"), {}, FAIL),
}


@pytest.mark.parametrize(
    ("trial", "expected", "verdict"), [pytest.param(*case, id=name) for name, case in PREDICTION.items()]
)
def test_a_prediction_passes_only_with_a_good_ending_and_a_plausible_text(
    trial: Trial, expected: dict[str, Any], verdict: Verdict
):
    assert finding(codes.PREDICTION, facts(prediction=seen(trial)), **expected).verdict is verdict


def test_a_prediction_that_never_got_in_is_unknown_and_says_why():
    found = finding(codes.PREDICTION, facts(prediction=DEAD))
    assert (found.verdict, found.why) == (UNKNOWN, DEAD.why)


def test_a_long_answer_is_shown_only_in_its_beginning():
    long = replace(ANSWER, text="Once upon a time " + "there was a king " * 40 + "END")
    shown = finding(codes.PREDICTION, facts(prediction=seen(replace(long, problem="ended without [DONE]"))))
    assert "Once upon a time" in shown.why
    assert "END" not in shown.why
    assert len(shown.why) < 150


def test_what_does_not_apply_never_makes_a_pass():
    report = judge_readiness(facts(), Readiness())
    only_not_applicable = replace(report, findings=tuple(each for each in report.findings if each.verdict is NA))
    assert len(only_not_applicable.findings) == 2
    assert (only_not_applicable.verdict, only_not_applicable.exit_code) == (UNKNOWN, 3)


def test_a_dead_endpoint_is_unknown_in_every_layer_that_was_asked():
    blind = ReadinessFacts("http://127.0.0.1:9", AgentFacts(DEAD, DEAD), DEAD, None, (DEAD,), DEAD)
    report = judge_readiness(blind, Readiness())
    assert [each.verdict for each in report.findings] == [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, NA, UNKNOWN, UNKNOWN]
    assert report.exit_code == 3
