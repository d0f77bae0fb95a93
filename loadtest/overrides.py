"""What a command line may say over a profile, and what that makes of it. What makes no sense together is refused.

`streams` turns a load at one rate into a closed loop, `rate_rps` a closed loop into an open one; loads with a shape of
their own (stages, ramp, spike, trace, sweep) keep it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from loadtest.load import kind
from loadtest.schedule import Law
from serving.errors import Refused

Body = dict[str, Any]
OF_OTHER_SOURCES: Final = ("words", "tokens", "file", "limit", "shuffle")


@dataclass(frozen=True)
class Overrides:
    """What was given instead of the profile's own; None leaves it. `requests` counts every one: no warm-up with it."""

    streams: int | None = None
    rate_rps: float | None = None
    arrivals: Law | None = None
    burstiness: float | None = None
    requests: int | None = None
    duration_s: float | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    seed: int | None = None
    workers: int | None = None
    no_gates: bool = False


def overridden(name: str, body: Body, changes: Overrides) -> Body:
    """The body of a profile with the changes made, to be checked anew. Raises Refused, naming the remedy."""
    for one, other in (("streams", "rate_rps"), ("requests", "duration_s")):
        if getattr(changes, one) is not None and getattr(changes, other) is not None:
            raise Refused(f"give {_option(one)} or {_option(other)}, not both")
    load = _load(name, body["load"], changes)
    if changes.seed is not None:
        load = load | {"seed": changes.seed}
    if "trace" in load:
        _refuse(name, "a trace, which says how long requests are", changes, "prompt_tokens", "output_tokens")
    body = body | {"load": load}
    if changes.requests is not None:
        body |= {"warmup_s": 0.0, "cooldown_s": 0.0}
    if changes.output_tokens is not None:
        body["max_tokens"] = changes.output_tokens
    if changes.prompt_tokens is not None:
        kept = {key: value for key, value in body.get("prompts", {}).items() if key not in OF_OTHER_SOURCES}
        body["prompts"] = kept | {"tokens": changes.prompt_tokens}
    if changes.workers is not None:
        body["workers"] = changes.workers
    if changes.no_gates:
        body["no_gates"] = True
    return body


def _load(name: str, load: Body, changes: Overrides) -> Body:
    found = kind(load)
    if found == "rate_rps" or (found == "closed_loop" and not load["closed_loop"].get("stages")):
        return _simple(name, load, changes)
    has = {"closed_loop": "stages of its own", "stages": "stages of its own"}.get(found, f"a {found} of its own")
    _refuse(name, has, changes, "streams", "rate_rps", instead="smoke for streams or steady for a rate")
    if found == "trace":
        _refuse(name, "a trace, which has its own arrivals", changes, "arrivals", "burstiness")
        return load | {"trace": load["trace"] | _given(changes, "requests", "duration_s")}
    if found == "closed_loop":
        _refuse(name, "a closed loop, which has no arrivals", changes, "arrivals", "burstiness")
    else:
        load = load | _law(load, changes)
    _refuse(name, f"{has}, which say how many requests there are", changes, "requests")
    if found == "ramp":
        return load | {"ramp": load["ramp"] | _given(changes, "duration_s")}
    _refuse(name, f"{has}, which say how long it takes", changes, "duration_s")
    return load


def _simple(name: str, load: Body, changes: Overrides) -> Body:
    """One rate or one number of streams, which may become the other."""
    old = load.get("closed_loop", load)
    seed = {"seed": load.get("seed")}
    end = _given(changes, "requests", "duration_s") or {key: old.get(key) for key in ("requests", "duration_s")}
    if changes.streams is not None or ("closed_loop" in load and changes.rate_rps is None):
        if "closed_loop" in load:
            has = "a closed loop, which has no arrivals unless --rate gives it some"
        else:
            has = "no arrivals when --streams makes it a closed loop"
        _refuse(name, has, changes, "arrivals", "burstiness")
        streams = old.get("concurrency") if changes.streams is None else changes.streams
        return seed | {"closed_loop": {"concurrency": streams, **end}}
    rate_rps = load.get("rate_rps") if changes.rate_rps is None else changes.rate_rps
    return seed | {"rate_rps": rate_rps, **_law(load, changes), **end}


def _law(load: Body, changes: Overrides) -> Body:
    """The law of the arrivals. A burstiness alone asks for the gamma law."""
    old, burstiness = load.get("arrivals", "poisson"), changes.burstiness
    law = changes.arrivals or (old if burstiness is None else "gamma")
    if law == "gamma" and burstiness is None:
        burstiness = load.get("burstiness")
        if burstiness is None:
            raise Refused("--arrivals gamma needs --burstiness, e.g. 0.25 for gaps with a CV of 2")
    return {"arrivals": law, "burstiness": burstiness}


def _given(changes: Overrides, *names: str) -> Body:
    return {name: getattr(changes, name) for name in names if getattr(changes, name) is not None}


def _refuse(name: str, has: str, changes: Overrides, *names: str, instead: str = "") -> None:
    for given in _given(changes, *names):
        other = f", or take another profile: {instead}" if instead else ""
        raise Refused(f"profile {name} has {has}: leave out {_option(given)}{other}")


def _option(name: str) -> str:
    return {"rate_rps": "--rate", "duration_s": "--duration"}.get(name, "--" + name.replace("_", "-"))
