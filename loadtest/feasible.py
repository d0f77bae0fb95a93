"""Decides whether a profile can be judged at all, before anything is sent: what no run of it could ever support.

It draws no random schedule: where a law is random it goes by the expected count and five standard deviations more.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from loadtest.load import MOST_REQUESTS, ClosedLoop, OpenKind, OpenLoop, Replay, Seeded, Sweep
from loadtest.plan import expected, probe_of
from loadtest.schedule import Schedule
from loadtest.sweep import Probe, lowest_rps
from serving.expectations import Slo
from serving.facts.intervals import samples_for_bound
from serving.facts.quantiles import samples_needed
from serving.facts.samples import PER_CHUNK
from serving.judge.telemetry import impossible

if TYPE_CHECKING:
    from loadtest.profile import Profile

SPARE: Final = 1.5
BETWEEN_TOKENS: Final = ("tpot", "itl", "icl", "stall")


def objection(profile: Profile) -> str | None:
    """Why no run of this profile could be judged, with the remedy; None when one could. Refused for a bad trace."""
    load = profile.load
    if profile.max_in_flight < profile.workers:
        most = profile.max_in_flight
        return f"{profile.workers} workers for max_in_flight {most}: lower workers (--workers) to {most}"
    if isinstance(load, ClosedLoop):
        streams = min(level.concurrency for level in load.closed_loop.levels())
        if streams < profile.workers:
            return f"{profile.workers} workers for {streams} streams: lower workers (--workers) to {streams}"
        if load.closed_loop.requests is not None and profile.cooldown_s:
            return "cooldown_s needs a load with a known end: give duration_s instead of requests"
    if isinstance(load, Sweep):
        needed = requests_for(profile)
        if profile.no_gates:
            return "a sweep looks for the highest rate that meets the slos: leave out no_gates (--no-gates)"
        if profile.telemetry_gates:
            return "a sweep goes too far on purpose, telemetry and all: gate telemetry in a run of one rate"
        if lowest_rps(load.sweep, needed) > load.sweep.max_rps:
            return f"no probe holds the {needed} requests that the slos need: raise sweep.longest_probe_s or max_rps"
        try:
            probe_of(profile, Probe(1, load.sweep.max_rps, load.sweep.longest_probe_s))
        except ValidationError:
            return f"the longest probe may have over {MOST_REQUESTS:,} requests: lower sweep.max_rps or longest_probe_s"
        return next(filter(None, (_never_seen(slo, profile) for slo in profile.slos)), None)
    schedule = expected(profile)
    planned = schedule.requests if schedule.closed else schedule.counted
    surely_none = planned == 0 and not (_random(load) and schedule.due_s)
    if surely_none or not any(phase.counts for phase in schedule.phases):
        outside = f"warmup_s {profile.warmup_s:g} and cooldown_s {profile.cooldown_s:g}"
        return f"no request would count outside of {outside}: lower them, or raise the duration or the rate"
    never_seen = [_never_seen(slo, profile) for slo in profile.gates]
    if planned is None or profile.no_gates:
        return next(filter(None, never_seen), None)
    every_s, counted_s = profile.telemetry.every_s, _counted_s(schedule)
    objections = [
        *never_seen,
        *(_too_few(slo, planned, profile) for slo in profile.slos),
        *(impossible(gate, counted_s, every_s) for gate in profile.telemetry_gates),
    ]
    return next(filter(None, objections), None)


def _counted_s(schedule: Schedule) -> float:
    """Seconds of the schedule that count; infinite where only the answers will tell."""
    ends = [(phase.start_s, phase.end_s) for phase in schedule.phases if phase.counts]
    return sum((math.inf if end_s is None else end_s) - start_s for start_s, end_s in ends)


def requests_for(profile: Profile) -> int:
    """How many requests a probe needs so that each gate has enough samples, with some to spare."""
    return max((math.ceil(SPARE * _requests_needed(slo, profile)) for slo in profile.slos), default=1)


def _requests_needed(slo: Slo, profile: Profile) -> int:
    """The fewest requests with which this gate could pass if every one of them were good."""
    confidence = profile.confidence if slo.confidence is None else slo.confidence
    found = re.fullmatch(r"p(\d+(?:\.\d+)?)", slo.statistic)
    if found is not None:
        q = float(found[1]) / 100
        samples = max(samples_needed(q), 1 if confidence == "none" else samples_for_bound(q, confidence))
        many = slo.metric in PER_CHUNK and confidence == "none"  # gaps of one request are no independent samples
        per_request = max(1, profile.max_tokens - 1) if many else 1
        return math.ceil(samples / per_request)
    good = slo.at_least_share if slo.at_most_share is None else 1 - slo.at_most_share
    sampled = slo.metric != "sanity"  # only golden prompts have it, and how many of those there are is not known here
    return 1 if confidence == "none" or not sampled or good in (None, 1) else samples_for_bound(good, confidence)


def _never_seen(slo: Slo, profile: Profile) -> str | None:
    """Why no answer to this profile's requests could have the metric."""
    prompts = profile.prompts
    if slo.metric == "sanity" and prompts.golden is None and prompts.file is None:
        return "sanity needs questions whose answers are known: give prompts.golden, or a file with expect"
    others = prompts.golden is not None or prompts.file is not None or isinstance(profile.load, Replay)
    if slo.metric in BETWEEN_TOKENS and profile.max_tokens == 1 and not others:
        return f"{slo.metric} needs answers of two tokens: raise max_tokens (--output-tokens)"
    return None


def _too_few(slo: Slo, planned: int, profile: Profile) -> str | None:
    needed = _requests_needed(slo, profile)
    load, most = profile.load, float(planned)
    if isinstance(load, OpenKind) and _random(load):
        most += 5 * math.sqrt((planned + 1) / min(1.0, load.burstiness or 1.0))
    if most >= needed:
        return None
    more = "raise the number of requests"
    if isinstance(load, OpenLoop) and load.duration_s is not None:
        more = f"raise duration_s (--duration) to {load.duration_s * needed / max(planned, 1):.0f}"
    gate = slo.metric if slo.statistic == "share" else f"{slo.metric} {slo.statistic}"
    return f"{gate} needs at least {needed} requests and about {planned} will count: {more}, or gate less (--no-gates)"


def _random(load: Seeded) -> bool:
    return isinstance(load, OpenKind) and load.arrivals != "constant"
