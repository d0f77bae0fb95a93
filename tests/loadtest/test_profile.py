"""A profile says what it means, or is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.profile import ClosedLoop, OpenLoop, load_profile, shipped
from serving.errors import Refused

GOOD = """
load: {arrivals: poisson, rate_rps: 2, duration_s: 10, seed: 1}
slos: [{metric: goodput, at_least_share: 0.9}]
"""


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_profile_is_good_and_says_what_it_is_for(name: str):
    assert load_profile(name).description


def test_demo_and_smoke_are_shipped():
    assert {"demo", "smoke"} <= set(shipped())


def test_the_demo_schedules_enough_requests_for_the_quantiles_that_it_gates():
    from loadtest.schedule import arrivals

    profile = load_profile("demo")
    assert isinstance(profile.load, OpenLoop)
    assert profile.load.seed is not None
    due = arrivals(profile.load.arrivals, profile.load.rate_rps, profile.load.duration_s, profile.load.seed)
    assert sum(at >= profile.warmup_s for at in due) >= 20


def test_an_unknown_profile_names_the_known_ones():
    with pytest.raises(Refused, match=r"unknown profile 'nightly': known are demo, smoke"):
        load_profile("nightly")


def test_a_file_that_is_not_there_names_the_known_ones():
    with pytest.raises(Refused, match=r"nightly\.yaml: No such file or directory; known profiles are demo, smoke"):
        load_profile("nightly.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(GOOD + "warmup: 3", "warmup: unknown key", id="unknown-key"),
        pytest.param(GOOD.replace("seed", "sed"), "load.sed: unknown key", id="unknown-key-below"),
        pytest.param(GOOD.replace("rate_rps: 2", "rate_rps: 0"), "load.rate_rps", id="no-rate"),
        pytest.param(GOOD.replace("rate_rps: 2", "rate_rps: .inf"), "load.rate_rps", id="infinite-rate"),
        pytest.param(GOOD.replace("poisson", "uniform"), "load.arrivals", id="unknown-law"),
        pytest.param(
            GOOD.replace("rate_rps: 2, duration_s: 10", "rate_rps: 9999, duration_s: 86400"),
            "more than 1,000,000 requests",
            id="too-many",
        ),
        pytest.param(GOOD + "warmup_s: 10", "warmup_s is not shorter than the run", id="all-warmup"),
        pytest.param(GOOD.replace("[{metric: goodput, at_least_share: 0.9}]", "[]"), "slos", id="nothing-gated"),
        pytest.param(GOOD.replace("at_least_share: 0.9", "at_least: 0.9"), "unknown key", id="limit-without-unit"),
        pytest.param(
            GOOD.replace("at_least_share: 0.9", "at_least_share: 95"), "at_least_share", id="percent-as-share"
        ),
        pytest.param(GOOD.replace("at_least_share: 0.9", "at_most_ms: 9"), "goodput takes the limit", id="wrong-limit"),
        pytest.param(
            GOOD.replace("metric: goodput, at_least_share: 0.9", "metric: ttft, at_most_ms: 9"),
            "ttft takes as statistic",
            id="latency-without-statistic",
        ),
        pytest.param(
            GOOD.replace("metric: goodput", "metric: goodput, statistic: p95"),
            "goodput takes as statistic",
            id="p95-of-it",
        ),
        pytest.param(
            "load: {closed_loop: {concurrency: 2}}\nslos: [{metric: goodput, at_least_share: 1}]",
            "exactly one of duration_s and requests",
            id="closed-loop-without-end",
        ),
        pytest.param("- 1\n- 2", "must be a mapping", id="a-list"),
        pytest.param("", "must be a mapping", id="empty"),
        pytest.param("load: {", "not YAML", id="not-yaml"),
        pytest.param("1: 2\nload: 3\nslos: 4", "load", id="keys-that-are-no-text"),
    ],
)
def test_a_bad_profile_is_refused_in_one_line(tmp_path: Path, text: str, said: str):
    with pytest.raises(Refused) as refused:
        load_profile(written(tmp_path, text))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "mine.yaml" in str(refused.value)


def test_overrides_replace_what_the_profile_says_and_are_checked_too(tmp_path: Path):
    changed = load_profile(written(tmp_path, GOOD), rate_rps=7, duration_s=3, seed=0).load
    assert isinstance(changed, OpenLoop)
    assert (changed.rate_rps, changed.duration_s, changed.seed) == (7, 3, 0)
    with pytest.raises(Refused, match=r"load\.rate_rps"):
        load_profile(written(tmp_path, GOOD), rate_rps=-1)


def test_a_closed_loop_takes_a_duration_and_no_rate():
    changed = load_profile("smoke", duration_s=3).load
    assert isinstance(changed, ClosedLoop)
    assert (changed.closed_loop.duration_s, changed.closed_loop.requests) == (3, None)
    with pytest.raises(Refused, match="closed loop, which has no rate"):
        load_profile("smoke", rate_rps=3)
