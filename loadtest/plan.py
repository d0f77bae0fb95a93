"""Turns what a profile says into what will be done: the schedule of a run, the probes of a sweep.

It reads the trace where there is one, and nothing else. `loadtest.schedule` does the drawing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.load import ClosedLoop, OpenKind, OpenLoop, Replay, Seeded, Sweep
from loadtest.schedule import Schedule, Window, closed_loop, open_loop, open_requests, replay
from loadtest.sweep import Probe
from loadtest.trace import read_trace
from serving.errors import Refused

if TYPE_CHECKING:
    from loadtest.profile import Profile


def schedule_of(profile: Profile, seed: int) -> Schedule:
    """The schedule of a run of this profile: the same for the same seed. Raises Refused for a trace that is not good.

    A sweep has none of its own: its probes do (`probe_of`).
    """
    load, window = profile.load, Window(profile.warmup_s, profile.cooldown_s)
    if isinstance(load, ClosedLoop):
        return closed_loop(load.closed_loop.levels(), load.closed_loop.requests, window)
    if isinstance(load, Replay):
        trace = read_trace(load.trace)
        return replay(trace.due_s, trace.lengths, window)
    if isinstance(load, Sweep):
        raise Refused("a sweep is a series of runs: take the schedule of each probe")
    burstiness = load.burstiness or 1.0
    if isinstance(load, OpenLoop) and load.requests is not None:
        return open_requests(load.requests, load.rate_rps, load.arrivals, burstiness, seed, window)
    return open_loop(load.parts(), load.arrivals, burstiness, seed, window)


def mode_of(load: Seeded) -> str:
    """The word for how requests come about: the law of an open loop, `trace`, or `closed_loop`."""
    if isinstance(load, OpenKind):
        return load.arrivals
    return "trace" if isinstance(load, Replay) else "closed_loop"


def probe_of(profile: Profile, probe: Probe) -> Profile:
    """The ordinary profile of a sweep's probe: one rate, and the warm-up and cool-down around what counts."""
    sweep = profile.load
    if not isinstance(sweep, Sweep):
        raise Refused("only a sweep has probes")
    load = OpenLoop(
        seed=None if sweep.seed is None else sweep.seed + probe.number,
        arrivals=sweep.arrivals,
        burstiness=sweep.burstiness,
        rate_rps=probe.rate_rps,
        duration_s=profile.warmup_s + probe.counted_s + profile.cooldown_s,
    )
    return profile.model_copy(update={"load": load})


def expected(profile: Profile) -> Schedule:
    """The schedule as it is on average: the constant law, which keeps to the integral of the rate, for a random one."""
    load = profile.load
    if isinstance(load, OpenKind):
        load = load.model_copy(update={"arrivals": "constant", "burstiness": None})
    return schedule_of(profile.model_copy(update={"load": load}), seed=0)
