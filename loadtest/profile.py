"""A load profile as a person typed it: closed YAML, units in the names; and finding it by its name or path.

It decides what a profile may say. It draws no schedule and sends nothing.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from serving.errors import Refused
from serving.expectations import Expectation, HarnessBounds, Slo

MOST_REQUESTS: Final = 1_000_000
SHIPPED: Final = files("loadtest") / "profiles"


class OpenLoop(Expectation):
    """Requests arrive when the schedule says, however slow the answers are."""

    arrivals: Literal["poisson", "constant"]
    rate_rps: float = Field(gt=0, le=10_000, allow_inf_nan=False, description="Arrivals per second.")
    duration_s: float = Field(gt=0, le=7 * 86_400, allow_inf_nan=False, description="Length of the schedule.")
    seed: int | None = Field(default=None, ge=0, description="None draws one; the report states it.")

    @model_validator(mode="after")
    def _bounded(self) -> OpenLoop:
        if self.rate_rps * self.duration_s > MOST_REQUESTS:
            raise ValueError(f"more than {MOST_REQUESTS:,} requests: lower rate_rps or duration_s")
        return self


class Concurrency(Expectation):
    """So many streams at a time, each followed by the next; ends after a time or a number of requests."""

    concurrency: int = Field(ge=1, le=10_000)
    duration_s: float | None = Field(default=None, gt=0, le=7 * 86_400, allow_inf_nan=False)
    requests: int | None = Field(default=None, ge=1, le=MOST_REQUESTS)

    @model_validator(mode="after")
    def _one_end(self) -> Concurrency:
        if (self.duration_s is None) == (self.requests is None):
            raise ValueError("give exactly one of duration_s and requests")
        return self


class ClosedLoop(Expectation):
    """Concurrency instead of arrivals. A slow server is asked less often: its latency is not that of a schedule."""

    closed_loop: Concurrency
    seed: int | None = Field(
        default=None, ge=0, description="Seed of the prompts. None draws one; the report states it."
    )


class PromptShape(Expectation):
    """Synthetic prompts. No two requests share one unless `distinct` says how many there are to share."""

    words: int = Field(default=48, ge=4, le=100_000, description="Length of each prompt; a word is one or two tokens.")
    distinct: int | None = Field(default=None, ge=1, description="So many different prompts, taken in turn.")


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


def _kind(load: Any) -> str:
    return "closed" if isinstance(load, ClosedLoop) or (isinstance(load, dict) and "closed_loop" in load) else "open"


class Profile(Expectation):
    """What to send, how to send it, and what the answers must meet."""

    description: str = ""
    load: Annotated[Annotated[OpenLoop, Tag("open")] | Annotated[ClosedLoop, Tag("closed")], Discriminator(_kind)]
    warmup_s: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="Requests scheduled before this do not count."
    )
    drain_s: float = Field(
        default=30.0, ge=0, allow_inf_nan=False, description="What is still open so long after the last one"
    )
    prompts: PromptShape = PromptShape()
    max_tokens: int = Field(default=64, ge=1, le=1_000_000, description="Longest answer asked for.")
    temperature: float = Field(default=0.0, ge=0, le=2, allow_inf_nan=False)
    ignore_eos: bool = Field(default=False, description="Ask vLLM for answers of exactly max_tokens.")
    timeouts: Timeouts = Timeouts()
    max_in_flight: int = Field(
        default=512, ge=1, le=10_000, description="What is due while so many are open is recorded as not_sent."
    )
    harness: HarnessBounds = HarnessBounds()
    slos: tuple[Slo, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _something_counts(self) -> Profile:
        load = self.load if isinstance(self.load, OpenLoop) else self.load.closed_loop
        if load.duration_s is not None and self.warmup_s >= load.duration_s:
            raise ValueError("warmup_s is not shorter than the run: no request would count")
        return self


def shipped() -> list[str]:
    """The names of the profiles that come with the harness."""
    return sorted(entry.name.removesuffix(".yaml") for entry in SHIPPED.iterdir() if entry.name.endswith(".yaml"))


def load_profile(
    name: str, rate_rps: float | None = None, duration_s: float | None = None, seed: int | None = None
) -> Profile:
    """The profile of this name, or in this file, with the overrides that were given. Raises Refused with one line."""
    text = _text(name)
    try:
        body = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise Refused(f"profile {name}: not YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(body, dict):
        raise Refused(f"profile {name}: must be a mapping with `load` and `slos`")
    profile = _checked(name, body)
    changes = {
        key: value
        for key, value in (("rate_rps", rate_rps), ("duration_s", duration_s), ("seed", seed))
        if value is not None
    }
    return _overridden(name, profile, changes) if changes else profile


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


def _overridden(name: str, profile: Profile, changes: dict[str, float | int]) -> Profile:
    body = profile.model_dump()
    load = body["load"]
    if "closed_loop" in load:
        if "rate_rps" in changes:
            raise Refused(
                f"profile {name} is a closed loop, which has no rate: leave out --rate, or take another profile"
            )
        if "duration_s" in changes:
            load["closed_loop"] |= {"duration_s": changes.pop("duration_s"), "requests": None}
    load |= changes
    return _checked(name, body)


def _checked(name: str, body: dict[Any, Any]) -> Profile:
    try:
        return Profile.model_validate(body)
    except ValidationError as error:
        said = []
        for problem in error.errors()[:3]:
            where = ".".join(str(part) for part in problem["loc"] if part not in ("open", "closed")) or "profile"
            message = problem["msg"].removeprefix("Value error, ")
            said.append(f"{where}: {'unknown key' if problem['type'] == 'extra_forbidden' else message}")
        raise Refused(f"profile {name}: {'; '.join(said)}") from error
