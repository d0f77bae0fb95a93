"""What a command line says over a profile: done as asked, or refused with the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loadtest.plan import mode_of, schedule_of
from loadtest.profile import load_profile
from serving.errors import Refused

SLOS = "slos: [{metric: goodput, at_least_share: 0.9}]\nconfidence: none\n"
LOADS = {
    "open": "{arrivals: poisson, rate_rps: 4, duration_s: 30, seed: 1}",
    "gamma": "{arrivals: gamma, burstiness: 0.5, rate_rps: 4, duration_s: 30}",
    "closed": "{closed_loop: {concurrency: 3, requests: 40}, seed: 9}",
    "levels": "{closed_loop: {stages: [{concurrency: 2, duration_s: 5}, {concurrency: 4, duration_s: 5}]}}",
    "stages": "{arrivals: constant, stages: [{rate_rps: 2, duration_s: 5}, {rate_rps: 4, duration_s: 5}]}",
    "ramp": "{arrivals: constant, ramp: {from_rps: 0, to_rps: 8, duration_s: 10}}",
    "spike": "{spike: {base_rps: 1, peak_rps: 9, before_s: 5, peak_s: 2, after_s: 5}}",
    "trace": "{trace: {file: day.jsonl}}",
    "sweep": "{sweep: {start_rps: 1}}",
}


@pytest.fixture
def profile_of(tmp_path: Path):
    rows = [f'{{"timestamp": {at * 1000}, "input_length": 9, "output_length": 3}}' for at in range(10)]
    (tmp_path / "day.jsonl").write_text("\n".join(rows))

    def written(load: str, more: str = "") -> str:
        path = tmp_path / f"{load}.yaml"
        path.write_text(f"load: {LOADS[load]}\n{SLOS}{more}")
        return str(path)

    return written


def load_of(name: str, **changes: Any) -> dict[str, Any]:
    return load_profile(name, **changes).load.model_dump(exclude_none=True)


@pytest.mark.parametrize(
    ("load", "changes", "left"),
    [
        pytest.param(
            "open",
            {"rate_rps": 7, "duration_s": 3, "seed": 0},
            {"arrivals": "poisson", "rate_rps": 7, "duration_s": 3, "seed": 0},
            id="rate-duration-seed",
        ),
        pytest.param(
            "open",
            {"arrivals": "constant", "requests": 20},
            {"arrivals": "constant", "rate_rps": 4, "requests": 20, "seed": 1},
            id="law-and-requests",
        ),
        pytest.param(
            "open",
            {"burstiness": 0.25},
            {"arrivals": "gamma", "burstiness": 0.25, "rate_rps": 4, "duration_s": 30, "seed": 1},
            id="a-burstiness-alone-asks-for-gamma",
        ),
        pytest.param(
            "gamma", {"arrivals": "poisson"}, {"arrivals": "poisson", "rate_rps": 4, "duration_s": 30}, id="not-gamma"
        ),
        pytest.param(
            "gamma",
            {"arrivals": "gamma", "rate_rps": 9},
            {"arrivals": "gamma", "burstiness": 0.5, "rate_rps": 9, "duration_s": 30},
            id="gamma-still",
        ),
        pytest.param(
            "open",
            {"streams": 8},
            {"closed_loop": {"concurrency": 8, "duration_s": 30, "stages": ()}, "seed": 1},
            id="streams-close-the-loop",
        ),
        pytest.param(
            "open",
            {"streams": 8, "requests": 64, "seed": 2},
            {"closed_loop": {"concurrency": 8, "requests": 64, "stages": ()}, "seed": 2},
            id="streams-and-requests",
        ),
        pytest.param(
            "closed",
            {"streams": 5, "duration_s": 3},
            {"closed_loop": {"concurrency": 5, "duration_s": 3, "stages": ()}, "seed": 9},
            id="other-streams",
        ),
        pytest.param(
            "closed",
            {"rate_rps": 5},
            {"arrivals": "poisson", "rate_rps": 5, "requests": 40, "seed": 9},
            id="a-rate-opens-the-loop",
        ),
        pytest.param(
            "closed",
            {"rate_rps": 5, "arrivals": "constant", "duration_s": 20},
            {"arrivals": "constant", "rate_rps": 5, "duration_s": 20, "seed": 9},
            id="a-rate-with-its-law",
        ),
        pytest.param(
            "ramp",
            {"duration_s": 20, "arrivals": "poisson"},
            {"arrivals": "poisson", "ramp": {"from_rps": 0, "to_rps": 8, "duration_s": 20}},
            id="a-longer-ramp",
        ),
    ],
)
def test_an_override_replaces_what_it_names_and_nothing_else(profile_of, load: str, changes, left):
    assert load_of(profile_of(load), **changes) == left


def test_a_trace_may_be_cut_short(profile_of):
    assert schedule_of(load_profile(profile_of("trace"), requests=3), 0).planned == 3
    assert schedule_of(load_profile(profile_of("trace"), duration_s=3.5), 0).planned == 4


@pytest.mark.parametrize("load", ["stages", "spike", "sweep", "ramp"])
def test_a_shape_of_its_own_takes_another_law_and_seed(profile_of, load: str):
    changed = load_profile(profile_of(load), arrivals="gamma", burstiness=2.0, seed=5).load
    assert mode_of(changed) == "gamma"
    assert changed.seed == 5


def test_lengths_and_workers_go_where_they_belong(profile_of):
    changed = load_profile(profile_of("open"), prompt_tokens=300, output_tokens=99, workers=4)
    assert changed.prompts.tokens is not None
    assert changed.prompts.tokens.fixed == 300
    assert (changed.max_tokens, changed.workers) == (99, 4)


def test_a_number_of_requests_is_a_number_that_counts(profile_of):
    path = profile_of("open", "warmup_s: 5\ncooldown_s: 5\n")
    assert load_profile(path).warmup_s == 5
    changed = load_profile(path, requests=10)
    assert (changed.warmup_s, changed.cooldown_s) == (0, 0)
    assert schedule_of(changed, 1).counted == 10


@pytest.mark.parametrize(
    ("load", "changes", "said"),
    [
        pytest.param("open", {"streams": 2, "rate_rps": 3}, "give --streams or --rate, not both", id="both-loops"),
        pytest.param("open", {"requests": 2, "duration_s": 3}, "give --requests or --duration, not", id="both-ends"),
        pytest.param("open", {"streams": 2, "arrivals": "poisson"}, "leave out --arrivals", id="streams-with-arrivals"),
        pytest.param("closed", {"burstiness": 2.0}, "unless --rate gives it some: leave out --burst", id="no-arrivals"),
        pytest.param("open", {"arrivals": "gamma"}, "--arrivals gamma needs --burstiness", id="gamma-of-what"),
        pytest.param("open", {"arrivals": "uniform"}, "load.arrivals: Input should be 'poisson'", id="unknown-law"),
        pytest.param(
            "open", {"arrivals": "constant", "burstiness": 2.0}, "goes with arrivals gamma", id="bursty-clock"
        ),
        pytest.param("open", {"rate_rps": -1.0}, "load.rate_rps: Input should be greater than 0", id="negative-rate"),
        pytest.param("open", {"streams": 0}, "concurrency: Input should be greater", id="no-streams"),
        pytest.param("open", {"output_tokens": 0}, "max_tokens: Input should be greater", id="no-tokens"),
        pytest.param("open", {"workers": 0}, "workers: Input should be greater", id="no-workers"),
        pytest.param("stages", {"rate_rps": 3.0}, "stages of its own: leave out --rate, or take", id="rate-of-stages"),
        pytest.param("levels", {"streams": 3}, "stages of its own: leave out --streams, or take", id="levels"),
        pytest.param("levels", {"arrivals": "poisson"}, "has no arrivals: leave out --arrivals", id="law-of-levels"),
        pytest.param("levels", {"duration_s": 9.0}, "say how long it takes: leave out --duration", id="end-of-levels"),
        pytest.param("spike", {"streams": 3}, "a spike of its own: leave out --streams", id="streams-of-a-spike"),
        pytest.param("spike", {"duration_s": 3.0}, "how long it takes: leave out --duration", id="end-of-a-spike"),
        pytest.param("sweep", {"requests": 3}, "how many requests there are: leave out --req", id="end-of-a-sweep"),
        pytest.param("sweep", {"no_gates": True}, "leave out no_gates (--no-gates)", id="sweep-without-slos"),
        pytest.param("trace", {"rate_rps": 3.0}, "a trace of its own: leave out --rate", id="rate-of-a-trace"),
        pytest.param("trace", {"arrivals": "poisson"}, "its own arrivals: leave out --arrivals", id="law-of-a-trace"),
        pytest.param("trace", {"output_tokens": 3}, "how long requests are: leave out --output-tokens", id="lengths"),
        pytest.param("closed", {"workers": 4}, "4 workers for 3 streams: lower workers (--workers) to 3", id="workers"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_remedy(profile_of, load: str, changes, said: str):
    with pytest.raises(Refused) as refused:
        load_profile(profile_of(load), **changes)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
