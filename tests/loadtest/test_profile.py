"""A profile says what it means, or is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.plan import expected, schedule_of
from loadtest.profile import Profile, load_profile, shipped
from loadtest.prompts.shape import Lengths
from serving.errors import Refused

GOOD = """
load: {arrivals: poisson, rate_rps: 2, duration_s: 10, seed: 1}
slos: [{metric: goodput, at_least_share: 0.9}]
"""


def shaped(load: str) -> str:
    return f"load: {{{load}}}\nslos: [{{metric: goodput, at_least_share: 0.9}}]\nconfidence: none"


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_profile_is_good_and_says_what_it_is_for(name: str):
    assert load_profile(name).description


def test_the_profiles_that_are_promised_are_shipped():
    assert shipped() == ["canary", "demo", "sanity", "smoke", "soak", "spike", "steady", "sweep"]


@pytest.mark.parametrize(("name", "at_least"), [("demo", 20), ("steady", 1_000), ("canary", 2_000), ("soak", 7_000)])
def test_a_shipped_profile_plans_enough_requests_for_what_it_gates(name: str, at_least: int):
    profile = load_profile(name)
    assert expected(profile).counted >= at_least
    assert schedule_of(profile, seed=11).counted >= 0.9 * at_least


def test_the_soak_is_an_hour_and_the_spike_and_the_sweep_are_what_they_are_called():
    assert (schedule_of(load_profile("soak"), 1).end_s or 0) >= 3_600
    assert [phase.name for phase in schedule_of(load_profile("spike"), 1).phases][1:] == ["base", "spike", "recovery"]
    assert "sweep" in type(load_profile("sweep").load).model_fields


def test_an_unknown_profile_names_the_known_ones():
    with pytest.raises(Refused, match=r"unknown profile 'nightly': known are canary, demo, sanity, smoke"):
        load_profile("nightly")


def test_a_file_that_is_not_there_names_the_known_ones():
    with pytest.raises(
        Refused, match=r"nightly\.yaml: No such file or directory; known profiles are canary, demo, sanity, smoke"
    ):
        load_profile("nightly.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            GOOD + "warmup: 3", "warmup: unknown key: the unit is in the name, as in warmup_s", id="unknown-key"
        ),
        pytest.param(GOOD.replace("seed", "sed"), "load.sed: unknown key", id="unknown-key-below"),
        pytest.param(GOOD.replace("rate_rps: 2", "rate_rps: 0"), "load.rate_rps", id="no-rate"),
        pytest.param(GOOD.replace("rate_rps: 2", "rate_rps: .inf"), "load.rate_rps", id="infinite-rate"),
        pytest.param(GOOD.replace("poisson", "uniform"), "load.arrivals", id="unknown-law"),
        pytest.param(
            GOOD.replace("rate_rps: 2, duration_s: 10", "rate_rps: 9999, duration_s: 86400"),
            "more than 1,000,000 requests",
            id="too-many",
        ),
        pytest.param(GOOD + "warmup_s: 10", "no request would count outside of warmup_s 10", id="all-warmup"),
        pytest.param(
            GOOD.replace("[{metric: goodput, at_least_share: 0.9}]", "[]"),
            "slos: give at least one",
            id="nothing-gated",
        ),
        pytest.param(GOOD.split("slos")[0], "slos: give at least one", id="no-slos-at-all"),
        pytest.param(
            GOOD.replace("at_least_share: 0.9", "at_least: 0.9"),
            "slos.0.at_least: unknown key: the unit is in the name, as in at_least_share",
            id="limit-without-unit",
        ),
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
        pytest.param(GOOD.replace("seed: 1", "ramp: {}"), "load.rate_rps: cannot stand beside ramp", id="two-shapes"),
        pytest.param(GOOD.replace("seed: 1", "burstiness: 2"), "goes with arrivals gamma", id="burstiness-of-poisson"),
        pytest.param(GOOD.replace("poisson", "gamma"), "gamma needs burstiness", id="gamma-without-burstiness"),
        pytest.param(GOOD.replace("seed: 1", "requests: 3"), "exactly one of duration_s and req", id="two-ends"),
        pytest.param(shaped("stages: []"), "load.stages", id="no-stages"),
        pytest.param(shaped("stages: [{rate_rps: 2, duration: 3}]"), "as in duration_s", id="stage-without-unit"),
        pytest.param(shaped("stages: [{rate_rps: 0, duration_s: 9}]"), "no request would count", id="only-a-pause"),
        pytest.param(
            shaped("spike: {base_rps: 5, peak_rps: 5, before_s: 1, peak_s: 1, after_s: 1}"), "not above", id="no-spike"
        ),
        pytest.param(shaped("closed_loop: {}"), "load.closed_loop: give concurrency, or stages", id="no-streams"),
        pytest.param(
            shaped("closed_loop: {requests: 5, stages: [{concurrency: 1, duration_s: 1}]}"),
            "stages have their own",
            id="stages-and-an-end",
        ),
        pytest.param(shaped("sweep: {start_rps: 5, max_rps: 4}"), "max_rps is below start_rps", id="sweep-upside-down"),
        pytest.param(
            "load: 3\nslos: [{metric: goodput, at_least_share: 1}]", "load: must be a map", id="load-a-number"
        ),
        pytest.param(GOOD + '"a\\nb": 1', "a b: unknown key", id="newline-in-a-key"),
        pytest.param("- 1\n- 2", "must be a mapping", id="a-list"),
        pytest.param("", "must be a mapping", id="empty"),
        pytest.param("load: {", "not YAML", id="not-yaml"),
        pytest.param("1: 2\nload: 3\nslos: 4", "load", id="keys-that-are-no-text"),
        pytest.param(GOOD + "slos: []\nno_gates: true", "slos is given twice", id="slos-that-replace-the-slos"),
        pytest.param(GOOD.replace("seed: 1", "rate_rps: 5"), "rate_rps is given twice", id="two-rates"),
        pytest.param(GOOD.replace("rate_rps: 2", "rate_rps: true"), "load.rate_rps: true and false", id="true-rate"),
        pytest.param(GOOD.replace("rate_rps: 2", "rate_rps: yes"), "load.rate_rps: Input should be", id="yes-rate"),
        pytest.param(GOOD + "timeouts: {idle_s: false}", "timeouts.idle_s: ", id="false-below"),
        pytest.param(
            GOOD.replace("slos: [", "slos: [{telemetry: kv_cache_usage, statistic: max, at_most: true}, "),
            "telemetry.gates.0.at_most: true and false are no number",
            id="true-limit",
        ),
        pytest.param(GOOD.replace("duration_s: 10", "duration_s: 2026-01-01"), "load.duration_s", id="a-date"),
        pytest.param(GOOD.replace("seed: 1", "seed: " + "9" * 99), "load.seed: Input should be less", id="huge-seed"),
        pytest.param(GOOD.replace("seed: 1", "seed: " + "9" * 5000), "not YAML: Exceeds the limit", id="huger-seed"),
        pytest.param(GOOD.replace("seed: 1", "seed: !!bool x"), "does not fit its tag", id="tag-of-a-bool"),
        pytest.param(GOOD.replace("seed: 1", "seed: !!int ''"), "does not fit its tag", id="tag-of-a-number"),
        pytest.param(GOOD.replace("seed: 1", "seed: !!timestamp x"), "does not fit its tag", id="tag-of-a-time"),
        pytest.param(GOOD.replace("seed: 1", "seed: !!python/object:os.system x"), "not YAML", id="tag-of-a-program"),
        pytest.param("&all {load: *all, slos: *all}", "load.load: unknown key", id="itself-inside"),
        pytest.param("load: " + "[" * 500, "not YAML", id="nested-too-deeply"),
        pytest.param(GOOD + 'prompts: {file: "a\\0b"}', "prompts.file: String should match", id="no-path"),
        pytest.param(shaped('trace: {file: "a\\0b"}'), "load.trace.file: String should match", id="no-path-either"),
        pytest.param(GOOD + "confidence: 95", "confidence: 95 is no share of 0 to 1", id="confidence-in-percent"),
    ],
)
def test_a_bad_profile_is_refused_in_one_line(tmp_path: Path, text: str, said: str):
    with pytest.raises(Refused) as refused:
        load_profile(written(tmp_path, text))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "mine.yaml" in str(refused.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path):
    (tmp_path / "mine.yaml").write_bytes(bytes(range(256)))
    with pytest.raises(Refused, match=r"mine\.yaml: not UTF-8"):
        load_profile(str(tmp_path / "mine.yaml"))


def test_yes_and_no_are_words_that_an_answer_may_hold_and_anchors_may_be_used(tmp_path: Path):
    text = GOOD + "prompts: {golden: {share: 0.5, questions: [&q {ask: Is it so, expect_any: [yes, no]}, *q]}}\n"
    golden = load_profile(written(tmp_path, text + "confidence: none\nignore_eos: on")).prompts.golden
    assert golden is not None
    assert [question.expect_any for question in golden.questions] == [("yes", "no")] * 2


def test_a_profile_without_gates_says_so_and_keeps_what_its_goodput_means(tmp_path: Path):
    bare = written(tmp_path, "load: {rate_rps: 2, duration_s: 10}\nno_gates: true")
    assert (load_profile(bare).slos, load_profile(bare).gates) == ((), ())
    profile = load_profile("demo", no_gates=True)
    assert profile.gates == ()
    assert profile.slos == load_profile("demo").gates != ()


def test_a_bare_load_needs_no_slos_where_nothing_is_judged(tmp_path: Path):
    profile = load_profile(written(tmp_path, "load: {rate_rps: 2, duration_s: 10}"), no_gates=True)
    assert isinstance(profile, Profile)


def test_a_trace_is_found_beside_its_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(Path("/"))
    rows = ['{"timestamp": 0, "input_length": 9, "output_length": 3}'] * 3
    (tmp_path / "day.jsonl").write_text("\n".join(rows))
    profile = load_profile(written(tmp_path, shaped("trace: {file: day.jsonl}")))
    assert schedule_of(profile, seed=0).planned == 3


@pytest.mark.parametrize(
    ("prompts", "tokens"),
    [
        pytest.param("", Lengths(trace=True), id="nothing-said"),
        pytest.param(
            "prompts: {golden: {share: 0.5, questions: [{ask: 2 + 2, expect: four}]}}", Lengths(trace=True), id="golden"
        ),
        pytest.param("prompts: {tokens: 90}", Lengths(fixed=90), id="lengths-of-its-own"),
        pytest.param("prompts: {words: 90}", None, id="words"),
    ],
)
def test_the_prompts_of_a_replay_are_as_long_as_it_says_unless_they_say_otherwise(
    tmp_path: Path, prompts: str, tokens: Lengths | None
):
    (tmp_path / "day.jsonl").write_text('{"timestamp": 0, "input_length": 9, "output_length": 3}')
    text = shaped("trace: {file: day.jsonl}") + f"\n{prompts}"
    assert load_profile(written(tmp_path, text)).prompts.tokens == tokens


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ("{conversations: {}}", "prompts: a trace has no conversations"),
        ("{distinct: 3}", "prompts: distinct and a shared prefix are for synthetic"),
        ("{shared_prefix_share: 0.5}", "prompts: distinct and a shared prefix are for synthetic"),
    ],
)
def test_what_a_replay_would_not_heed_is_refused(tmp_path: Path, prompts: str, said: str):
    with pytest.raises(Refused, match=said):
        load_profile(written(tmp_path, shaped("trace: {file: day.jsonl}") + f"\nprompts: {prompts}"))


def test_a_trace_that_is_bad_is_refused_when_its_profile_is_loaded(tmp_path: Path):
    path = written(tmp_path, shaped("trace: {file: day.jsonl}"))
    with pytest.raises(Refused, match=r"day\.jsonl: No such file"):
        load_profile(path)
    (tmp_path / "day.jsonl").write_text('{"timestamp": 0, "input_le')
    with pytest.raises(Refused, match=r"day\.jsonl: line 1: cut short"):
        load_profile(path)
