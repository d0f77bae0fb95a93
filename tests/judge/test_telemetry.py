"""The gates over telemetry: what passes, what fails, and what nobody can know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from serving.codes import TELEMETRY_WITHIN
from serving.expectations import TelemetryGate
from serving.facts.series import Series
from serving.facts.telemetry import METRICS, Source, Telemetry
from serving.facts.traffic import Phase
from serving.judge.telemetry import blind_gates, judge_telemetry, judged_spans
from serving.verdict import Finding, Verdict
from tests.loadtest.runs import request, traffic

PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN
SPAN = (10.0, 70.0)
ENGINES = (Source("engine-0", "engine", "http://a:8000"), Source("engine-1", "engine", "http://b:8000"))
Curve = Callable[[float], float]


def gate(metric: str, statistic: Any, **limit: float) -> TelemetryGate:
    return TelemetryGate(telemetry=metric, statistic=statistic, **limit)


def sampled(curve: Curve, times: Any = range(82)) -> Series:
    return Series(tuple(float(at) for at in times), tuple(float(curve(at)) for at in times))


def seen(*, sources: tuple[Source, ...] = ENGINES, missed: Any = None, **curves: Curve | Series) -> Telemetry:
    """Each metric on every source, once a second from 0 to 81 s, unless a series is given."""
    series = {
        (source.name, metric): curve if isinstance(curve, Series) else sampled(curve)
        for source in sources
        for metric, curve in curves.items()
    }
    return Telemetry(sources, series, missed or {})


def on(telemetry: Telemetry, name: str, metric: str, series: Series | None) -> Telemetry:
    """The same, with one series changed or taken away."""
    rest = {key: value for key, value in telemetry.series.items() if key != (name, metric)}
    return replace(telemetry, series=rest if series is None else rest | {(name, metric): series})


def judge(telemetry: Telemetry, one: TelemetryGate, span: tuple[float, float] = SPAN) -> Finding:
    (finding,) = judge_telemetry(telemetry, [one], [span])
    assert finding.code is TELEMETRY_WITHIN
    assert "\n" not in finding.why + finding.remedy
    assert bool(finding.remedy) == (finding.verdict is not PASS)
    return finding


KV = gate("kv_cache_usage", "max", at_most=0.95)
SPIKE = seen(kv_cache_usage=lambda at: 0.99 if at == 40 else 0.5)
EARLY_SPIKE = seen(kv_cache_usage=lambda at: 0.99 if at in (9, 71) else 0.5)


@pytest.mark.parametrize(
    ("telemetry", "gated", "verdict", "observed"),
    [
        pytest.param(
            seen(kv_cache_usage=lambda _: 0.95),
            KV,
            PASS,
            "0.95 (engine-0, the worst of 2; n=61)",
            id="max-at-the-limit",
        ),
        pytest.param(SPIKE, KV, FAIL, "0.99 (engine-0, the worst of 2; n=61)", id="max-sees-one-sample"),
        pytest.param(EARLY_SPIKE, KV, PASS, "0.5 (engine-0, the worst of 2; n=61)", id="only-what-counts-is-judged"),
        pytest.param(
            seen(waiting=lambda at: at),
            gate("waiting", "p95", at_most=67),
            PASS,
            "67 requests (",
            id="p95-nearest-rank",
        ),
        pytest.param(
            seen(waiting=lambda at: at), gate("waiting", "p95", at_most=66), FAIL, "67 requests (", id="p95-over"
        ),
        pytest.param(seen(waiting=lambda at: at), gate("waiting", "mean", at_most=40), PASS, "40 requests", id="mean"),
        pytest.param(
            seen(preemptions=lambda at: at >= 40), gate("preemptions", "increase", at_most=0), FAIL, "1 ", id="rise"
        ),
        pytest.param(
            seen(preemptions=lambda _: 7), gate("preemptions", "increase", at_most=0), PASS, "0 ", id="no-rise-of-7"
        ),
        pytest.param(
            seen(generation_tokens=lambda at: 50 * at),
            gate("generation_tokens", "rate_per_s", at_least=50),
            PASS,
            "50 tokens/s",
            id="rate",
        ),
        pytest.param(
            seen(server_ttft_s=lambda at: at * 0.4, server_ttft_count=lambda at: at * 2),
            gate("server_ttft_ms", "mean", at_most=199),
            FAIL,
            "200 ms",
            id="ratio-of-rises",
        ),
        pytest.param(
            seen(prefix_hits=lambda at: at * 3, prefix_queries=lambda at: at * 4),
            gate("prefix_hit_share", "mean", at_least=0.75),
            PASS,
            "0.75 (",
            id="share-of-hits",
        ),
        pytest.param(
            seen(running=lambda at: abs(at - 40)), gate("running", "growth", at_most=0), PASS, "0 ", id="growth-none"
        ),
        pytest.param(seen(running=lambda at: at), gate("running", "growth", at_most=59), FAIL, "60 ", id="growth"),
    ],
)
def test_a_statistic_of_what_counts_is_held_to_its_limit(
    telemetry: Telemetry, gated: TelemetryGate, verdict: Verdict, observed: str
):
    finding = judge(telemetry, gated)
    assert finding.verdict is verdict
    assert finding.observed.startswith(observed)


GAPS = [at for at in range(82) if at not in range(30, 36)]
WIDER_GAP = [at for at in range(82) if at not in range(30, 38)]


@pytest.mark.parametrize(
    ("telemetry", "gated", "said"),
    [
        pytest.param(Telemetry(), KV, "no source gives kv_cache_usage", id="no-source"),
        pytest.param(seen(running=lambda _: 1), KV, "answers, but gives no kv_cache_usage", id="no-such-series"),
        pytest.param(
            on(SPIKE, "engine-1", "kv_cache_usage", None),
            gate("kv_cache_usage", "max", at_most=1),
            "engine-1",
            id="one-of-two",
        ),
        pytest.param(
            Telemetry(ENGINES[:1], {}, {"engine-0": ((1.0, "connection refused"),)}),
            KV,
            "engine-0 never answered: connection refused",
            id="never-answered",
        ),
        pytest.param(
            on(seen(kv_cache_usage=lambda _: 0.1), "engine-1", "kv_cache_usage", sampled(lambda _: 0.1, WIDER_GAP)),
            KV,
            "engine-1: 53 of 60 samples",
            id="under-90-percent",
        ),
        pytest.param(
            seen(
                kv_cache_usage=sampled(lambda _: 0.1, range(50)),
                missed={"engine-0": tuple((float(at), "no answer within 2 s") for at in range(50, 82))},
            ),
            KV,
            "40 of 60 samples; mostly: no answer within 2 s",
            id="died-midway",
        ),
        pytest.param(
            seen(kv_cache_usage=lambda _: 0.1, generation_tokens=lambda at: at if at < 40 else at - 40),
            KV,
            "its counters fell at 40 s: it restarted",
            id="restarted-though-the-gauge-was-whole",
        ),
        pytest.param(
            seen(preemptions=lambda at: 5 if at < 40 else 0),
            gate("preemptions", "increase", at_most=0),
            "it restarted",
            id="reset-of-the-gated-counter",
        ),
        pytest.param(
            seen(preemptions=sampled(lambda _: 0, range(66))),
            gate("preemptions", "increase", at_most=0),
            "not seen at both ends",
            id="a-counter-that-was-not-seen-at-the-end",
        ),
        pytest.param(
            seen(server_ttft_s=lambda _: 9, server_ttft_count=lambda _: 9),
            gate("server_ttft_ms", "mean", at_most=1e6),
            "server_ttft_count did not rise",
            id="a-mean-of-nothing",
        ),
        pytest.param(
            seen(server_ttft_count=lambda at: at),
            gate("server_ttft_ms", "mean", at_most=1e6),
            "gives no server_ttft_s",
            id="half-of-a-ratio",
        ),
        pytest.param(
            seen(waiting=lambda _: 0), gate("waiting", "p99", at_most=1), "61 samples, and p99 needs 100", id="too-few"
        ),
        pytest.param(
            seen(running=lambda _: 0),
            gate("running", "slope_per_hour", at_most=1),
            "needs 10 minutes",
            id="short-slope",
        ),
    ],
)
def test_what_was_not_seen_well_enough_is_unknown_and_never_a_pass(
    telemetry: Telemetry, gated: TelemetryGate, said: str
):
    finding = judge(telemetry, gated)
    assert finding.verdict is UNKNOWN
    assert said in finding.why


def test_a_gap_of_a_tenth_is_bearable():
    finding = judge(seen(kv_cache_usage=sampled(lambda _: 0.1, GAPS)), KV)
    assert finding.verdict is PASS


@pytest.mark.parametrize("at_reset", [pytest.param(5, id="before"), pytest.param(75, id="after")])
def test_a_restart_outside_of_what_counts_is_no_doubt(at_reset: int):
    def counted(at: float) -> float:
        return at if at < at_reset else at - at_reset

    assert judge(seen(kv_cache_usage=lambda _: 0.1, generation_tokens=counted), KV).verdict is PASS


def test_every_replica_is_held_to_the_limit_and_the_worst_is_named():
    one_full = on(seen(kv_cache_usage=lambda _: 0.2), "engine-1", "kv_cache_usage", sampled(lambda _: 0.97))
    finding = judge(one_full, KV)
    assert finding.verdict is FAIL
    assert finding.observed == "0.97 (engine-1, the worst of 2; n=61)"
    assert finding.why == "1 of 2 beyond the limit"


@pytest.mark.parametrize(
    ("limit", "verdict", "expected"),
    [(500, PASS, ">= 500 MiB"), (2048, FAIL, ">= 2048 MiB"), (20_000, FAIL, ">= 20,000 MiB")],
)
def test_a_limit_from_below_names_the_lowest(limit: float, verdict: Verdict, expected: str):
    times = tuple(float(at) for at in range(82))
    free = enumerate((9000.0, 900.0, 8000.0))
    devices = {(f"gpu:GPU-{number}", "gpu_free_mib"): Series(times, (mib,) * 82) for number, mib in free}
    finding = judge(Telemetry((Source("gpu", "gpu"),), devices), gate("gpu_free_mib", "min", at_least=limit))
    assert finding.verdict is verdict
    assert finding.observed == "900 MiB (gpu:GPU-1, the worst of 3; n=61)"
    assert finding.expected == expected


def test_a_leak_shows_as_a_slope_per_hour_over_a_soak():
    hour = range(-5, 3700)
    leaking = Telemetry(
        (Source("gpu", "gpu"),), {("gpu:GPU-0", "gpu_used_mib"): sampled(lambda at: 70_000 + at * 100 / 3600, hour)}
    )
    finding = judge(leaking, gate("gpu_used_mib", "slope_per_hour", at_most=64), (0.0, 3600.0))
    assert finding.verdict is FAIL
    assert finding.observed.startswith("100 MiB/h (gpu:GPU-0;")
    assert judge(leaking, gate("gpu_used_mib", "slope_per_hour", at_most=101), (0.0, 3600.0)).verdict is PASS


def test_a_slower_sampler_is_expected_to_show_fewer_samples():
    slow = (Source("engine-0", "engine", "http://a:8000", every_s=5.0),)
    rare = Telemetry(slow, {("engine-0", "kv_cache_usage"): sampled(lambda _: 0.1, range(0, 80, 5))})
    assert judge(rare, KV).verdict is PASS
    rarer = Telemetry(slow, {("engine-0", "kv_cache_usage"): sampled(lambda _: 0.1, range(0, 80, 6))})
    assert judge(rarer, KV).verdict is UNKNOWN


def test_parts_that_count_are_summed_and_what_lies_between_is_not():
    telemetry = seen(preemptions=lambda at: 0 if at < 35 else 5 if at < 60 else 7)
    (finding,) = judge_telemetry(
        telemetry, [gate("preemptions", "increase", at_most=2)], [(0.0, 30.0), (40.0, 50.0), (55.0, 65.0)]
    )
    assert finding.verdict is PASS
    assert finding.observed.startswith("2 preemptions")


def test_what_a_counter_gained_between_the_looks_at_the_ends_meets_no_limit():
    """50 a second, seen half a second off: 61 s of looks enclose the 60 s that count, and 59 s of them lie within."""
    looks = [at + 0.5 for at in range(82)]
    telemetry = seen(generation_tokens=sampled(lambda at: 50 * at, looks))
    rates = {
        "at_most": judge(telemetry, gate("generation_tokens", "rate_per_s", at_most=50)).observed,
        "at_least": judge(telemetry, gate("generation_tokens", "rate_per_s", at_least=50.1)).observed,
    }
    assert {way: observed.split()[0] for way, observed in rates.items()} == {"at_most": "50.83", "at_least": "49.17"}
    assert judge(telemetry, gate("generation_tokens", "increase", at_least=2999)).verdict is FAIL


def test_a_run_that_may_not_be_judged_has_no_gate_that_passes():
    (finding,) = judge_telemetry(seen(kv_cache_usage=lambda _: 0.1), [KV], [SPAN], "the run was cut short: Ctrl-C")
    assert finding.verdict is UNKNOWN
    assert finding.why == "not judged: the run was cut short: Ctrl-C"


def test_a_run_of_which_nothing_counts_is_unknown():
    (finding,) = judge_telemetry(seen(kv_cache_usage=lambda _: 0.1), [KV], [])
    assert finding.verdict is UNKNOWN


def test_gates_that_can_never_be_judged_are_told_before_the_run():
    first_look = Telemetry(
        ENGINES, {("engine-0", "kv_cache_usage"): Series((0.0,), (0.1,))}, {"engine-1": ((0.0, "HTTP 404"),)}
    )
    gates = [KV, gate("agent_ready", "min", at_least=1), gate("harness_lag_ms", "max", at_most=5)]
    kv, agent = blind_gates(first_look, gates)
    assert kv.startswith("kv_cache_usage max: engine-1 never answered: HTTP 404: ")
    assert agent.startswith("agent_ready min: no source gives agent_ready: name each agent's admin port")
    assert blind_gates(seen(kv_cache_usage=lambda _: 0.1), [KV]) == ()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param({"telemetry": "kv", "statistic": "max", "at_most": 1}, "unknown telemetry 'kv': known", id="name"),
        pytest.param({"telemetry": "waiting", "statistic": "increase", "at_most": 1}, "one of max, min", id="gauge"),
        pytest.param({"telemetry": "preemptions", "statistic": "max", "at_most": 1}, "increase or rate", id="counter"),
        pytest.param({"telemetry": "queue_time_ms", "statistic": "p95", "at_most": 1}, "statistic mean", id="ratio"),
        pytest.param({"telemetry": "waiting", "statistic": "max"}, "exactly one of", id="no-limit"),
        pytest.param(
            {"telemetry": "waiting", "statistic": "max", "at_most": 1, "at_least": 1}, "exactly one of", id="two-limits"
        ),
        pytest.param({"telemetry": "waiting", "statistic": "max", "at_most_ms": 1}, "at_most_ms", id="foreign-unit"),
        pytest.param(
            {"telemetry": "waiting", "statistic": "max", "at_most": float("nan")}, "finite number", id="no-number"
        ),
        pytest.param(
            {"telemetry": "kv_cache_usage", "statistic": "max", "at_most": 95}, "write 0.95 for 95 %", id="in-percent"
        ),
        pytest.param(
            {"telemetry": "prefix_hit_share", "statistic": "mean", "at_least": 50},
            "write 0.5 for 50 %",
            id="ratio-in-percent",
        ),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused(body: dict[str, Any], said: str):
    with pytest.raises(ValidationError, match=said):
        TelemetryGate.model_validate(body)


def test_every_metric_can_be_gated():
    fitting = {"gauge": "max", "counter": "increase", "ratio": "mean"}
    for name, metric in METRICS.items():
        assert judge(Telemetry(), gate(name, fitting[metric.shape], at_most=1)).verdict is UNKNOWN


WARM = Phase("warm-up", 0.0, 10.0, counts=False)


@pytest.mark.parametrize(
    ("phases", "spans"),
    [
        pytest.param((), ((4.0, 50.0),), id="no-phases"),
        pytest.param((WARM, Phase("steady", 10.0, 40.0)), ((10.0, 40.0),), id="warm-up-does-not-count"),
        pytest.param((WARM, Phase("a", 10.0, 20.0), Phase("b", 20.0, 30.0)), ((10.0, 30.0),), id="neighbours-are-one"),
        pytest.param((Phase("a", 0.0, 5.0), WARM, Phase("b", 10.0, 30.0)), ((0.0, 5.0), (10.0, 30.0)), id="apart"),
        pytest.param((WARM, Phase("loop", 10.0, None)), ((10.0, 51.0),), id="until-the-end"),
        pytest.param((WARM, Phase("steady", 10.0, 900.0)), ((10.0, 51.0),), id="cut-short"),
        pytest.param((WARM,), (), id="nothing-counts"),
    ],
)
def test_the_parts_of_a_run_that_count(phases: tuple[Phase, ...], spans: tuple[tuple[float, float], ...]):
    run = traffic(*(request(index) for index in range(50)), warmup_s=4.0)
    run = replace(run, plan=replace(run.plan, load=replace(run.plan.load, phases=phases)))
    assert judged_spans(run) == spans
