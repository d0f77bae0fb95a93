"""Whom to ask: what a profile says, and what it may not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from loadtest.profile import Profile, load_profile
from loadtest.telemetry import TelemetryOptions, asks_of
from serving.errors import Refused

LOCAL, REMOTE = "http://127.0.0.1:8000", "https://llm.example.com"


def asked(body: dict[str, Any], base_url: str = REMOTE) -> list[tuple[str, str, bool]]:
    asks = asks_of(TelemetryOptions.model_validate(body), base_url)
    return [(ask.name, ask.url, ask.tentative) for ask in asks]


@pytest.mark.parametrize(
    ("body", "base_url", "sources"),
    [
        pytest.param({}, REMOTE, [("engine-0", REMOTE, True)], id="the-base-url-is-tried"),
        pytest.param({}, LOCAL, [("engine-0", LOCAL, True), ("gpu", "NVML", True)], id="this-machines-gpus-too"),
        pytest.param({"gpu": "off"}, LOCAL, [("engine-0", LOCAL, True)], id="gpu-off"),
        pytest.param(
            {"engines": ["http://a:8000/", "http://b:8000/metrics"]},
            REMOTE,
            [("engine-0", "http://a:8000", False), ("engine-1", "http://b:8000", False)],
            id="replicas-instead-of-the-base-url",
        ),
        pytest.param(
            {"agents": ["http://a:8081/modelz"], "dcgm": ["http://n:9400/metrics"]},
            LOCAL,
            [("engine-0", LOCAL, True), ("agent-0", "http://a:8081", False), ("dcgm-0", "http://n:9400", False)],
            id="an-exporter-replaces-nvml",
        ),
    ],
)
def test_options_become_sources(body: dict[str, Any], base_url: str, sources: list[tuple[str, str, bool]]):
    assert asked(body, base_url) == sources


def test_an_exporter_may_name_the_labels_of_the_gpus_that_are_meant():
    options = TelemetryOptions.model_validate({"dcgm": [{"url": "http://n:9400", "labels": {"namespace": "llm"}}]})
    assert asks_of(options, REMOTE)[1].labels == {"namespace": "llm"}


def test_off_means_off_in_yaml_too():
    assert TelemetryOptions.model_validate(yaml.safe_load("gpu: off")).gpu == "off"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param({"engine": []}, "Extra inputs", id="unknown-key"),
        pytest.param({"engines": ["a:8000"]}, "not an http", id="no-scheme"),
        pytest.param({"engines": ["http://"]}, "not an http", id="no-host"),
        pytest.param({"engines": ["http://a:99999999"]}, "not an http", id="no-such-port"),
        pytest.param({"engines": ["http://[::1"]}, "not an http", id="half-an-address"),
        pytest.param({"engines": ["http://user:key@a:8000"]}, "has no user", id="a-secret-in-the-address"),
        pytest.param({"agents": ["http://a:8081/?token=x"]}, "no query", id="a-secret-in-the-query"),
        pytest.param({"dcgm": ["http://a:9400", "http://a:9400/metrics"]}, "http://a:9400 twice", id="twice"),
        pytest.param({"every_s": 0}, "greater than or equal", id="no-pause"),
        pytest.param({"gpu": "on"}, "'auto' or 'off'", id="gpu"),
    ],
)
def test_what_makes_no_sense_is_refused(body: dict[str, Any], said: str):
    with pytest.raises(ValidationError, match=said):
        TelemetryOptions.model_validate(body)


PROFILE = """
load: {arrivals: constant, rate_rps: 5, duration_s: 60}
confidence: none
slos:
  - {metric: goodput, at_least_share: 0.9}
  - {telemetry: kv_cache_usage, statistic: max, at_most: 0.95}
telemetry:
  engines: [http://127.0.0.1:8000]
  gates: [{telemetry: waiting, statistic: p95, at_most: 10}]
"""


def profile(tmp_path: Path, text: str, **overrides: Any) -> Profile:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return load_profile(str(path), **overrides)


def test_a_profile_has_one_list_of_limits_for_latency_and_telemetry(tmp_path: Path):
    for overrides in ({}, {"seed": 3}):
        one = profile(tmp_path, PROFILE, **overrides)
        assert [slo.metric for slo in one.slos] == ["goodput"]
        assert [gate.telemetry for gate in one.telemetry_gates] == ["waiting", "kv_cache_usage"]
        assert Profile.model_validate(one.model_dump(mode="json")) == one


def test_no_gates_means_none_over_telemetry_either(tmp_path: Path):
    assert profile(tmp_path, PROFILE, no_gates=True).telemetry_gates == ()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param("[{telemetry: waiting, statistic: p95, at_most: 10}]", "3", "telemetry.gates", id="no-list"),
        pytest.param("at_most: 0.95", "at_most_ms: 1", "telemetry.gates.1.at_most_ms", id="a-limit-of-another-gate"),
        pytest.param("kv_cache_usage", "kv_cache", "unknown telemetry 'kv_cache': known are running", id="no-metric"),
        pytest.param("duration_s: 60", "duration_s: 19", "waiting p95 needs 20 samples and 19 will count", id="short"),
        pytest.param(
            "max,", "slope_per_hour,", "needs 600 s that count: raise the duration", id="too-short-for-a-slope"
        ),
        pytest.param(
            "arrivals: constant, rate_rps: 5, duration_s: 60",
            "sweep: {start_rps: 1, max_rps: 100}",
            "gate telemetry in a run of one rate",
            id="a-sweep",
        ),
    ],
)
def test_gates_that_no_run_could_meet_are_refused_with_one_line(tmp_path: Path, old: str, new: str, said: str):
    assert old in PROFILE
    with pytest.raises(Refused) as raised:
        profile(tmp_path, PROFILE.replace(old, new))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
