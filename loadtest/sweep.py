"""Looks for the highest rate that meets the SLOs: the warm capacity of a replica. Pure: `step(state, result)`.

It decides at which rate to probe next, for how long, and when to stop. It sends nothing and judges no SLO: a probe's
result comes with its verdict. The rate doubles until a probe does not pass, then the bracket is halved geometrically.
Unknown is never a pass: that probe is made anew, longer, up to a bound; a rate that stays unknown closes the bracket
from above and leaves the answer unsettled. The answer is the highest rate at and below which nothing failed or stayed
unknown, and it was probed twice: once is luck where a server's latency is noisy. A search that was cut short may have
had no time for that; then it says so, and the answer is not settled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from loadtest.load import Search
from serving.verdict import Verdict

LONGER: Final = 2.0


@dataclass(frozen=True)
class Probe:
    """A rate to load the server with. `counted_s` is what counts of it, without warm-up and cool-down."""

    number: int
    rate_rps: float
    counted_s: float


@dataclass(frozen=True)
class Result:
    """What a probe showed, over the part of it that counts.

    `achieved_per_s` are requests that ended well within that part, whenever they were due. It is moved by the shortest
    answer, so that long ones are not taken for late ones. None where that is not to be believed (the harness was late).
    `verdict` is that of the SLOs: only PASS is one.
    """

    verdict: Verdict
    offered_per_s: float
    achieved_per_s: float | None
    why: str = ""


@dataclass(frozen=True)
class Answer:
    """The end of a sweep: the capacity is at least `capacity_rps` and below `ceiling_rps`.

    No capacity: not even the lowest probe passed. No ceiling: the highest rate that was allowed passed too. `settled`
    means that the ceiling failed, rather than stayed unknown, and that the search was not cut short.
    """

    capacity_rps: float | None
    ceiling_rps: float | None
    settled: bool
    why: str


@dataclass(frozen=True)
class Sweep:
    """The state: the rules, how many requests a probe needs to be judged, and every probe with its result."""

    rules: Search
    requests_needed: int
    done: tuple[tuple[Probe, Result], ...] = ()
    asked: Probe | None = None

    def verdict_of(self, result: Result) -> Verdict:
        """The verdict that the sweep goes by: a server that fell behind has failed, whatever its latencies were."""
        fell_behind = (
            result.achieved_per_s is not None
            and result.achieved_per_s < self.rules.saturated_below_share * result.offered_per_s
        )
        return Verdict.FAIL if fell_behind else result.verdict

    @property
    def ceiling(self) -> tuple[float, Verdict] | None:
        """The lowest rate that did not pass, and its verdict. A longer probe may undo an unknown, never a failure."""
        last: dict[float, Verdict] = {}
        for probe, result in self.done:
            if last.get(probe.rate_rps) is not Verdict.FAIL:
                last[probe.rate_rps] = self.verdict_of(result)
        return min(((rate, verdict) for rate, verdict in last.items() if verdict is not Verdict.PASS), default=None)

    @property
    def floor(self) -> float | None:
        """The highest rate below the ceiling that was probed: at it and below it, nothing did anything but pass."""
        below = self.ceiling[0] if self.ceiling else math.inf
        return max((probe.rate_rps for probe, _ in self.done if probe.rate_rps < below), default=None)

    def passes(self, rate_rps: float) -> list[Probe]:
        """The probes at this rate that passed."""
        at_it = ((probe, result) for probe, result in self.done if probe.rate_rps == rate_rps)
        return [probe for probe, result in at_it if self.verdict_of(result) is Verdict.PASS]


def begin(rules: Search, requests_needed: int = 1) -> tuple[Sweep, Probe]:
    """The first probe of a sweep whose gates need so many requests in each probe."""
    state = Sweep(rules, requests_needed)
    return _ask(state, max(rules.start_rps, lowest_rps(rules, requests_needed)))


def lowest_rps(rules: Search, requests_needed: int) -> float:
    """The lowest rate that can be judged at all: below it, the longest probe holds too few requests."""
    return requests_needed / rules.longest_probe_s


def step(state: Sweep, result: Result) -> tuple[Sweep, Probe | Answer]:
    """Take the result of the probe that was asked for; give the next probe, or the answer."""
    probe = state.asked
    if probe is None:
        raise ValueError("no probe was asked for: the sweep is over, or did not begin")
    state = replace(state, done=(*state.done, (probe, result)), asked=None)
    rules, ceiling, floor = state.rules, state.ceiling, state.floor
    if len(state.done) >= rules.max_probes:
        return state, answer_so_far(state, f"stopped after {rules.max_probes} probes, the most allowed (max_probes)")
    if state.verdict_of(result) is Verdict.UNKNOWN and probe.counted_s < rules.longest_probe_s:
        return _ask(state, probe.rate_rps, LONGER * probe.counted_s)
    if floor is None:
        failed = ceiling[0] if ceiling else rules.start_rps
        low = max(failed / 2, lowest_rps(rules, state.requests_needed))
        if low >= failed:
            return state, answer_so_far(state)
        return _ask(state, low)
    if ceiling is None and floor < rules.max_rps:
        return _ask(state, min(2 * floor, rules.max_rps))
    if ceiling is not None and ceiling[0] > floor * (1 + rules.resolution_share):
        return _ask(state, math.sqrt(floor * ceiling[0]))
    if len(passes := state.passes(floor)) < 2:
        return _ask(state, floor, LONGER * passes[-1].counted_s)
    return state, answer_so_far(state)


def _ask(state: Sweep, rate_rps: float, least_s: float = 0.0) -> tuple[Sweep, Probe]:
    counted_s = max(least_s, state.rules.probe_s, state.requests_needed / rate_rps)
    probe = Probe(len(state.done) + 1, rate_rps, min(counted_s, state.rules.longest_probe_s))
    return replace(state, asked=probe), probe


def answer_so_far(state: Sweep, cut_short: str = "") -> Answer:
    """What the probes came to: all that there need be, unless `cut_short` says why there are no more."""
    floor, ceiling, why = state.floor, state.ceiling, ""
    if ceiling is None:
        if floor == state.rules.max_rps:
            why = f"{floor:g}/s is sweep.max_rps, and it passed: raise it to find the end"
    elif ceiling[1] is not Verdict.FAIL:
        why = f"no probe at {ceiling[0]:g}/s could tell"
    else:
        why = f"a probe at {ceiling[0]:g}/s failed" + (", the lowest rate that was probed" if floor is None else "")
    once = f"{floor:g}/s was probed but once" if floor is not None and len(state.passes(floor)) < 2 else ""
    settled = not cut_short and ceiling is not None and ceiling[1] is Verdict.FAIL
    return Answer(floor, ceiling[0] if ceiling else None, settled, "; ".join(filter(None, (cut_short, why, once))))
