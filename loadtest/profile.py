"""A load profile as a person typed it: closed YAML, units in the names; and finding it by its name or path.

It decides what a profile may say. It draws no schedule and sends nothing.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from loadtest.feasible import objection
from loadtest.load import KINDS, ClosedLoop, Load, OpenLoop, Peak, Replay, Search, Slope, Stage, kind
from loadtest.overrides import Overrides, overridden
from loadtest.prompts.shape import PromptShape
from loadtest.schedule import Law
from loadtest.telemetry.options import TelemetryOptions, sorted_gates
from loadtest.yaml_text import read_yaml
from serving.errors import Refused
from serving.expectations import Confidence, Expectation, HarnessBounds, Margin, Slo, TelemetryGate

__all__ = ["ClosedLoop", "OpenLoop", "Profile", "PromptShape", "Timeouts", "load_profile", "shipped"]

SHIPPED: Final = files("loadtest") / "profiles"


class Timeouts(Expectation):
    """What one request may take. Each of them ends it with the outcome `timeout`."""

    connect_s: float = Field(
        default=5.0, gt=0, allow_inf_nan=False, description="Opening the connection, TLS included."
    )
    first_byte_s: float = Field(
        default=60.0, gt=0, allow_inf_nan=False, description="From sending to the answer's first byte."
    )
    idle_s: float = Field(default=30.0, gt=0, allow_inf_nan=False, description="Between two reads of the answer.")
    total_s: float = Field(default=300.0, gt=0, allow_inf_nan=False, description="From sending to the end.")


class Profile(Expectation):
    """What to send, how to send it, and what the answers must meet."""

    description: str = ""
    load: Load
    workers: int = Field(default=1, ge=1, le=256, description="Processes that share the one schedule.")
    warmup_s: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="Requests scheduled before this do not count."
    )
    cooldown_s: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="Nor do those scheduled in the last so many seconds."
    )
    drain_s: float = Field(
        default=30.0, ge=0, allow_inf_nan=False, description="What is still open so long after the last one"
    )
    prompts: PromptShape = PromptShape()
    max_tokens: int = Field(default=64, ge=1, le=1_000_000, description="Longest answer asked for.")
    temperature: float = Field(default=0.0, ge=0, le=2, allow_inf_nan=False)
    ignore_eos: bool = Field(default=False, description="Ask vLLM for answers of exactly max_tokens.")
    timeouts: Timeouts = Timeouts()
    connections: Literal["reuse", "fresh"] = Field(
        default="reuse", description="reuse: a stream takes an idle connection; fresh: each opens its own, ahead."
    )
    max_in_flight: int = Field(
        default=512, ge=1, le=10_000, description="What is due while so many are open is recorded as not_sent."
    )
    telemetry: TelemetryOptions = TelemetryOptions()
    harness: HarnessBounds = HarnessBounds()
    slos: tuple[Slo, ...] = ()
    confidence: Confidence = Field(
        default=0.95, description="How sure a pass or a fail must be; none judges the figures as they are."
    )
    margins: tuple[Margin, ...] = Field(
        default=(),
        description="A/B: how much worse than the baseline a candidate may be.  None: 10 % of a p95 latency.",
    )
    no_gates: bool = Field(default=False, description="Measure and judge nothing.")

    @property
    def gates(self) -> tuple[Slo, ...]:
        """The SLOs that the run is held to: none with `no_gates`, whose report still tells their goodput."""
        return () if self.no_gates else self.slos

    @property
    def telemetry_gates(self) -> tuple[TelemetryGate, ...]:
        """The limits of servers and GPUs that the run is held to: none with `no_gates`."""
        return () if self.no_gates else self.telemetry.gates

    def sampling(self, sources: dict[str, list[str]]) -> Profile:
        """This profile with these telemetry sources in the place of its own. Raises Refused."""
        if not sources:
            return self
        try:
            options = TelemetryOptions.model_validate({**self.telemetry.model_dump(exclude_unset=True), **sources})
        except ValidationError as error:
            said = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise Refused(f"--{' and --'.join(sources)}: {said}") from error
        return self.model_copy(update={"telemetry": options})

    @model_validator(mode="before")
    @classmethod
    def _one_list_of_limits(cls, body: Any) -> Any:
        return sorted_gates(body)

    @model_validator(mode="before")
    @classmethod
    def _lengths_of_the_trace(cls, body: Any) -> Any:
        """A replay's prompts are as long as it says, unless they say otherwise."""
        if not isinstance(body, dict) or kind(body.get("load")) != "trace":
            return body
        prompts = body.get("prompts", {})
        if not isinstance(prompts, dict) or prompts.keys() & {"words", "tokens", "file"}:
            return body
        return body | {"prompts": prompts | {"tokens": "trace"}}

    @model_validator(mode="after")
    def _something_is_asked(self) -> Profile:
        if not self.slos and not self.no_gates:
            raise ValueError("slos: give at least one, or say that nothing is judged with no_gates (--no-gates)")
        return self


KNOWN: Final = sorted(
    {
        name
        for model in (Profile, Timeouts, OpenLoop, Search, Stage, Slope, Peak, Slo, HarnessBounds)
        for name in model.model_fields
    }
)


def shipped() -> list[str]:
    """The names of the profiles that come with the harness."""
    return sorted(entry.name.removesuffix(".yaml") for entry in SHIPPED.iterdir() if entry.name.endswith(".yaml"))


def load_profile(
    name: str,
    rate_rps: float | None = None,
    duration_s: float | None = None,
    seed: int | None = None,
    *,
    streams: int | None = None,
    arrivals: Law | None = None,
    burstiness: float | None = None,
    requests: int | None = None,
    prompt_tokens: int | None = None,
    output_tokens: int | None = None,
    workers: int | None = None,
    no_gates: bool = False,
) -> Profile:
    """The profile of this name, or in this file, with the overrides that were given. Raises Refused with one line."""
    changes = Overrides(
        streams=streams,
        rate_rps=rate_rps,
        arrivals=arrivals,
        burstiness=burstiness,
        requests=requests,
        duration_s=duration_s,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        seed=seed,
        workers=workers,
        no_gates=no_gates,
    )
    text = _text(name)
    try:
        body = read_yaml(text)
    except ValueError as error:
        raise Refused(f"profile {name}: {error}") from error
    if not isinstance(body, dict):
        raise Refused(f"profile {name}: must be a mapping with `load` and `slos`")
    profile = _checked(name, body | {"no_gates": True} if no_gates else body)
    if changes != Overrides():
        profile = _checked(name, overridden(name, profile.model_dump(exclude_unset=True), changes))
    profile = _with_files_found(name, profile)
    if (why := objection(profile)) is not None:
        raise Refused(f"profile {name}: {why}")
    return profile


def _text(name: str) -> str:
    known = SHIPPED / f"{name}.yaml"
    if name in shipped():
        return known.read_text(encoding="utf-8")
    path = Path(name)
    if not path.suffix and not path.exists():
        raise Refused(f"unknown profile {name!r}: known are {', '.join(shipped())}; or give the path of a YAML file")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise Refused(f"profile {name}: {said}; known profiles are {', '.join(shipped())}") from error


def _with_files_found(name: str, profile: Profile) -> Profile:
    """The paths of a trace and of a file of prompts are from the profile's own directory."""
    if name in shipped():
        return profile
    directory, load, prompts = Path(name).parent, profile.load, profile.prompts
    changes: dict[str, Expectation] = {}
    if isinstance(load, Replay):
        trace = load.trace.model_copy(update={"file": str(directory / load.trace.file)})
        changes["load"] = load.model_copy(update={"trace": trace})
    if prompts.file is not None:
        changes["prompts"] = prompts.model_copy(update={"file": str(directory / prompts.file)})
    return profile.model_copy(update=changes)


def _checked(name: str, body: dict[Any, Any]) -> Profile:
    try:
        profile = Profile.model_validate(body)
    except ValidationError as error:
        problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        said = "; ".join(_said(problem, body) for problem in problems[:3])
        raise Refused(f"profile {name}: {' '.join(said.split())}") from error
    if (where := _switch(sorted_gates(body), profile.model_dump())) is not None:
        raise Refused(f"profile {name}: {'.'.join(where)}: true and false are no number: give one")
    return profile


def _switch(typed: Any, taken: Any) -> tuple[str, ...] | None:
    """Where a true or a false was taken for 1 or 0."""
    if isinstance(typed, bool):
        return () if type(taken) in (int, float) else None
    if isinstance(typed, dict) and isinstance(taken, dict):
        pairs = [(str(key), value, taken.get(key)) for key, value in typed.items()]
    elif isinstance(typed, list | tuple) and isinstance(taken, list | tuple):
        pairs = [(str(number), *pair) for number, pair in enumerate(zip(typed, taken, strict=False))]
    else:
        return None
    found = ((key, _switch(value, other)) for key, value, other in pairs)
    return next(((key, *where) for key, where in found if where is not None), None)


def _said(problem: ErrorDetails, body: dict[Any, Any]) -> str:
    """One line of what is wrong, and where: the tags of a union are no place that a person wrote."""
    where = list(problem["loc"])
    if where[:1] == ["load"] and len(where) > 1:
        del where[1]
    if where[:1] == ["confidence"]:
        del where[1:]
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = _unknown(str(where[-1]), where[:-1], body)
    elif problem["type"] == "model_type":
        message = "must be a mapping"
    return f"{'.'.join(map(str, where))}: {message}" if where else message


def _unknown(key: str, above: list[int | str], body: dict[Any, Any]) -> str:
    if above == ["load"] and key in (*KINDS, "rate_rps"):
        return f"cannot stand beside {kind(body['load'])}: a load has one shape"
    known = [name for name in KNOWN if name.startswith(f"{key}_")]
    return f"unknown key: the unit is in the name, as in {' or '.join(known)}" if known else "unknown key"
