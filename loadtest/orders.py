"""What a load process on another machine is told, as plain data: never pickled, never with a key in it.

A key is named (its variable, its file), and each machine reads its own. Prompts are made again from the same seed and
costs; a digest shows that they came out the same.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from loadtest.carrier import Job
from loadtest.engine import Arm
from loadtest.options import Asked
from loadtest.profile import Profile
from loadtest.prompts.calibration import Calibration
from loadtest.prompts.prepare import prepare
from loadtest.prompts.prompt import Prompts
from loadtest.prompts.synthetic import nothing_recorded
from loadtest.prompts.vocabulary import Costs
from loadtest.schedule import Length, Schedule
from loadtest.target import Served
from serving.errors import CannotAct, CannotObserve
from serving.facts.traffic import Phase

FILES: Final = ("api_key_file", "ca_cert", "client_cert", "client_key")
NAMED: Final = ("api_key_env", *FILES)
COMPARED: Final = 8
Names = Mapping[str, str | None]


def job_document(job: Job, profile: Profile, names: Names) -> dict[str, Any]:
    """The job of a worker with its share of the profile. `names` tell where it finds its keys and certificates."""
    return {
        "profile": profile.model_dump(mode="json", exclude_unset=True),
        "seed": job.seed,
        "arms": [{"name": arm.name, "url": arm.target.base_url, **asdict(arm.served)} for arm in job.arms],
        "names": {name: names.get(name) for name in NAMED},
        "costs": None if job.costs is None else asdict(job.costs),
        "lengths": None if job.lengths is None else [list(length) for length in job.lengths],
        "prompts": _digest(job.prompts, job.lengths),
    }


def job_of_document(body: Mapping[str, Any]) -> Job:
    """The job that a document tells of. Raises CannotAct when this machine would ask for something else."""
    profile = Profile.model_validate(body["profile"])
    named: dict[str, Any] = {name: value for name, value in body["names"].items() if value is not None}
    asked = Asked(**named | {name: Path(path) for name, path in named.items() if name in FILES})
    arms = tuple(
        Arm(asked.target(arm["url"]), Served(arm["model"], arm["counts_tokens"]), arm["name"]) for arm in body["arms"]
    )
    lengths = None if body["lengths"] is None else tuple(_length(length) for length in body["lengths"])
    costs = None if body["costs"] is None else Costs(**{name: _frozen(value) for name, value in body["costs"].items()})
    prompts = prepare(
        profile.prompts,
        body["seed"],
        recorded=nothing_recorded if lengths is None else lengths.__getitem__,
        known=None if costs is None else Calibration(costs, approximated=False),
    ).prompts
    if _digest(prompts, lengths) != body["prompts"]:
        raise CannotAct("the prompts here are not the master's: use the same files and the same version of warmgate")
    return Job(profile, arms, prompts, body["seed"], costs, lengths)


def schedule_document(schedule: Schedule) -> dict[str, Any]:
    """A schedule as plain data."""
    return {
        "due_s": schedule.due_s.tobytes(),
        "phases": [asdict(phase) for phase in schedule.phases],
        "lengths": None if schedule.lengths is None else [list(length) for length in schedule.lengths],
        "requests": schedule.requests,
        "first": schedule.first,
        "stride": schedule.stride,
    }


def schedule_of_document(body: Mapping[str, Any]) -> Schedule:
    """The schedule that a document tells of. Raises CannotObserve when it is none."""
    due_s = array("d")
    try:
        due_s.frombytes(body["due_s"])
        return Schedule(
            due_s,
            tuple(Phase(**phase) for phase in body["phases"]),
            None if body["lengths"] is None else tuple(_length(length) for length in body["lengths"]),
            body["requests"],
            body["first"],
            body["stride"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CannotObserve(f"not a schedule ({error}): use one version of warmgate on all machines") from error


def _length(body: list[Any]) -> Length:
    return Length(body[0], body[1], tuple(body[2]))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _digest(prompts: Prompts, lengths: tuple[Length, ...] | None) -> str:
    compared = COMPARED if lengths is None else min(COMPARED, len(lengths))
    asked = [prompts.prompt_of(index).messages for index in range(compared)]
    return sha256(msgspec.json.encode(asked)).hexdigest()
