"""The sweep against servers whose capacity is known, noisy and doubtful ones included."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from loadtest.load import Search
from loadtest.sweep import Answer, Probe, Result, Sweep, answer_so_far, begin, lowest_rps, step
from serving.verdict import Verdict

PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN
Server = Callable[[Probe], Result]


def swept(server: Server, requests_needed: int = 1, **rules: Any) -> tuple[Answer, Sweep]:
    state, asked = begin(Search(**rules), requests_needed)
    following: Probe | Answer = asked
    while isinstance(following, Probe):
        state, following = step(state, server(following))
    return following, state


def able(capacity_rps: float) -> Server:
    """Meets the SLOs up to its capacity, and not above it."""
    return lambda probe: seen(PASS if probe.rate_rps <= capacity_rps else FAIL, probe)


def seen(verdict: Verdict, probe: Probe, achieved: float | None = 1.0) -> Result:
    return Result(verdict, probe.rate_rps, None if achieved is None else achieved * probe.rate_rps)


@pytest.mark.parametrize("capacity", [0.02, 0.7, 1.0, 3.0, 17.3, 99.0, 640.0])
@pytest.mark.parametrize("resolution", [0.2, 0.05, 0.01])
def test_the_answer_is_a_bracket_of_the_capacity_as_narrow_as_was_asked(capacity: float, resolution: float):
    answer, state = swept(able(capacity), resolution_share=resolution, max_probes=60)
    assert answer.settled
    assert answer.capacity_rps is not None
    assert answer.ceiling_rps is not None
    assert answer.capacity_rps <= capacity < answer.ceiling_rps
    assert answer.ceiling_rps <= answer.capacity_rps * (1 + resolution)
    assert len(state.done) <= 2 + abs(math.log2(capacity)) + 2 + math.log2(math.log(2) / math.log(1 + resolution)) + 1


def test_rates_double_until_one_fails_and_are_halved_between_after_that():
    _, state = swept(able(11))
    rates = [probe.rate_rps for probe, _ in state.done]
    assert rates[:5] == [1, 2, 4, 8, 16]
    assert rates[5] == pytest.approx(math.sqrt(8 * 16))
    assert [probe.number for probe, _ in state.done] == list(range(1, len(rates) + 1))


def test_the_capacity_was_probed_twice_and_the_second_time_for_longer():
    answer, state = swept(able(11))
    at_it = [probe.counted_s for probe, _ in state.done if probe.rate_rps == answer.capacity_rps]
    assert at_it == [30, 60]


def test_a_pass_that_was_luck_is_taken_back():
    lucky: list[float] = []

    def once_too_good(probe: Probe) -> Result:
        if probe.rate_rps == 8 and not lucky:
            lucky.append(8)
            return seen(PASS, probe)
        return able(5)(probe)

    answer, _ = swept(once_too_good)
    assert answer.settled
    assert answer.capacity_rps is not None
    assert 4 <= answer.capacity_rps <= 5 < (answer.ceiling_rps or 0)


def test_where_results_are_not_monotonic_nothing_below_the_answer_failed():
    """A server that fails between 3 and 4 a second, and passes again above that."""
    answer, state = swept(lambda probe: able(40)(probe) if not 3 < probe.rate_rps <= 4 else seen(FAIL, probe))
    failed = [probe.rate_rps for probe, result in state.done if result.verdict is FAIL]
    assert answer.ceiling_rps == min(failed)
    assert answer.capacity_rps is not None
    assert answer.capacity_rps <= 3


def test_a_pass_above_a_failure_is_not_an_answer():
    rules = Search()
    done = [(1.0, PASS), (8.0, PASS), (4.0, FAIL), (2.0, PASS)]
    probes = tuple(
        (Probe(number, rate, 30), seen(verdict, Probe(number, rate, 30)))
        for number, (rate, verdict) in enumerate(done, start=1)
    )
    state = Sweep(rules, 1, probes)
    assert (state.floor, state.ceiling) == (2.0, (4.0, FAIL))


def test_an_unknown_is_probed_again_for_longer_and_counts_as_soon_as_it_is_known():
    def slow_to_tell(probe: Probe) -> Result:
        return able(5)(probe) if probe.counted_s >= 100 else seen(UNKNOWN, probe)

    answer, state = swept(slow_to_tell, max_probes=100)
    assert answer.settled
    assert answer.capacity_rps == pytest.approx(5, rel=0.05)
    assert [probe.counted_s for probe, _ in state.done][:3] == [30, 60, 120]


def test_what_stays_unknown_is_no_pass_and_settles_nothing():
    answer, state = swept(lambda probe: able(100)(probe) if probe.rate_rps < 6 else seen(UNKNOWN, probe))
    assert answer.capacity_rps is not None
    assert 5.5 < answer.capacity_rps < 6 <= (answer.ceiling_rps or 0)
    assert not answer.settled
    assert "could tell" in answer.why
    longest = max(probe.counted_s for probe, _ in state.done)
    assert longest == 300


def test_a_server_of_which_nothing_is_ever_known_has_no_capacity():
    answer, state = swept(lambda probe: seen(UNKNOWN, probe))
    assert (answer.capacity_rps, answer.settled) == (None, False)
    assert len(state.done) <= 24


def test_a_server_that_never_passes_has_no_capacity_and_that_is_settled():
    answer, _ = swept(able(0), requests_needed=60)
    assert (answer.capacity_rps, answer.ceiling_rps, answer.settled) == (None, 0.2, True)
    assert "lowest" in answer.why


def test_a_server_that_always_passes_is_told_apart_from_one_whose_end_was_found():
    answer, state = swept(able(1e9), max_rps=50)
    assert (answer.capacity_rps, answer.ceiling_rps, answer.settled) == (50, None, False)
    assert "max_rps" in answer.why
    assert max(probe.rate_rps for probe, _ in state.done) == 50


@pytest.mark.parametrize("verdict", [PASS, UNKNOWN])
def test_a_server_that_falls_behind_has_failed_whatever_its_latencies_say(verdict: Verdict):
    def saturated(probe: Probe) -> Result:
        if probe.rate_rps <= 10:
            return seen(PASS, probe, achieved=0.91)
        return seen(verdict, probe, achieved=0.89)

    answer, _ = swept(saturated, saturated_below_share=0.9)
    assert answer.settled
    assert answer.capacity_rps is not None
    assert answer.capacity_rps <= 10 < (answer.ceiling_rps or 0) <= answer.capacity_rps * 1.05


def test_an_achieved_rate_that_is_not_believed_saturates_nothing():
    answer, _ = swept(lambda probe: seen(PASS, probe, achieved=None), max_rps=8)
    assert answer.capacity_rps == 8


@pytest.mark.parametrize("most", [2, 3, 7, 12])
def test_the_number_of_probes_is_bounded_and_an_answer_cut_short_is_not_settled(most: int):
    answer, state = swept(able(700), max_probes=most, resolution_share=0.001)
    assert len(state.done) == most
    assert not answer.settled
    assert f"stopped after {most} probes" in answer.why
    assert "sweep.max_rps" not in answer.why
    assert "probed but once" in answer.why


def test_a_search_that_is_stopped_tells_what_it_has_seen_so_far_and_no_more():
    state, probe = begin(Search())
    assert answer_so_far(state, "stopped") == Answer(None, None, False, "stopped")
    state, _ = step(state, seen(PASS, probe))
    assert answer_so_far(state, "stopped") == Answer(1, None, False, "stopped; 1/s was probed but once")
    state, _ = step(state, seen(FAIL, Probe(2, 2, 30)))
    said = "stopped; a probe at 2/s failed; 1/s was probed but once"
    assert answer_so_far(state, "stopped") == Answer(1, 2, False, said)


def test_each_probe_is_long_enough_for_the_requests_that_its_gates_need():
    needed = 150
    _, state = swept(able(3), requests_needed=needed)
    assert all(probe.counted_s * probe.rate_rps >= needed for probe, _ in state.done)
    assert all(probe.counted_s <= 300 for probe, _ in state.done)
    assert min(probe.rate_rps for probe, _ in swept(able(0), requests_needed=needed)[1].done) == lowest_rps(
        Search(), needed
    )


def noisy(capacity_rps: float, seed: int) -> Server:
    """Passes less and less surely around its capacity; short probes are noisier, and cannot tell near it."""
    rng = random.Random(seed)

    def probed(probe: Probe) -> Result:
        spread = 0.05 * math.sqrt(30 / probe.counted_s)
        distance = math.log(probe.rate_rps / capacity_rps) / spread + rng.gauss(0, 1)
        if abs(distance) < 0.5 and rng.random() < 0.7:
            return seen(UNKNOWN, probe)
        return seen(FAIL if distance > 0 else PASS, probe)

    return probed


def test_a_noisy_server_is_found_within_its_noise_by_nearly_every_sweep():
    answers = [swept(noisy(20.0, seed), resolution_share=0.05)[0] for seed in range(300)]
    found = [answer.capacity_rps for answer in answers if answer.capacity_rps is not None]
    assert len(found) == 300
    assert sum(abs(math.log(rate / 20)) < 0.15 for rate in found) >= 285
    assert all(rate < 20 * 1.25 for rate in found)
    assert sum(rate <= 20 * 1.05 for rate in found) >= 285, "a second, longer probe holds luck back"


def test_of_a_noisy_server_too_nothing_at_or_below_the_answer_failed_or_stayed_unknown():
    for seed in range(200):
        answer, state = swept(noisy(6.0, seed))
        below = [(probe, result) for probe, result in state.done if probe.rate_rps <= (answer.capacity_rps or 0)]
        assert all(result.verdict is not FAIL for _, result in below)
        for rate in {probe.rate_rps for probe, _ in below}:
            assert [result.verdict for probe, result in below if probe.rate_rps == rate][-1] is PASS
        numbers = [probe.number for probe, _ in state.done]
        assert all(later == earlier + 1 for earlier, later in pairwise(numbers))
        assert len(numbers) <= 24


def test_a_result_that_nobody_asked_for_is_an_error():
    with pytest.raises(ValueError, match="no probe was asked for"):
        step(Sweep(Search(), 1), Result(PASS, 1, 1))
