"""What a profile may say under `load`: one kind of load, closed, units in the names.

It decides what each kind may hold and how many requests it comes to. It draws no schedule and reads no trace.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, Final

from pydantic import Discriminator, Field, Tag, model_validator

from loadtest.schedule import Law, Level, Part, Stretch
from serving.expectations import Expectation

MOST_REQUESTS: Final = 1_000_000
MOST_RPS: Final = 10_000
MOST_S: Final = 7 * 86_400
MOST_SEED: Final = 2**63 - 1  # what a worker's orders hold

Rate = Annotated[float, Field(gt=0, le=MOST_RPS, allow_inf_nan=False)]
RateOrPause = Annotated[float, Field(ge=0, le=MOST_RPS, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=MOST_S, allow_inf_nan=False)]
Requests = Annotated[int, Field(ge=1, le=MOST_REQUESTS)]
Streams = Annotated[int, Field(ge=1, le=10_000)]


class Seeded(Expectation):
    """Base of every kind of load."""

    seed: int | None = Field(
        default=None,
        ge=0,
        le=MOST_SEED,
        description="Seed of arrivals and prompts. None draws one; the report states it.",
    )


class OpenKind(Seeded):
    """Base of the loads whose requests arrive when a law says, however slow the answers are."""

    arrivals: Law = Field(default="poisson", description="How requests arrive around the rate.")
    burstiness: float | None = Field(
        default=None,
        ge=0.01,
        le=1000,
        allow_inf_nan=False,
        description="Shape of the gamma law: 1 is Poisson, less is burstier. Gaps have a CV of 1 / sqrt(burstiness).",
    )

    @abstractmethod
    def parts(self) -> tuple[Part, ...]:
        """The rates that the arrivals follow, one after the other."""

    @model_validator(mode="after")
    def _law_is_whole(self) -> OpenKind:
        if self.arrivals == "gamma" and self.burstiness is None:
            raise ValueError("arrivals gamma needs burstiness, e.g. 0.25 for gaps with a CV of 2")
        if self.arrivals != "gamma" and self.burstiness is not None:
            raise ValueError(f"burstiness goes with arrivals gamma, not {self.arrivals}")
        return self

    @model_validator(mode="after")
    def _bounded(self) -> OpenKind:
        if sum(part.stretch.expected for part in self.parts()) > MOST_REQUESTS:
            raise ValueError(f"more than {MOST_REQUESTS:,} requests: lower the rate or the duration")
        return self


class OpenLoop(OpenKind):
    """Arrivals at one rate, for a time or until there were so many."""

    rate_rps: Rate = Field(description="Arrivals per second.")
    duration_s: Seconds | None = Field(default=None, description="Length of the schedule.")
    requests: Requests | None = Field(default=None, description="Ends after so many, instead of after a time.")

    @property
    def length_s(self) -> float:
        """How long it takes, or is expected to take."""
        return self.duration_s if self.duration_s is not None else (self.requests or 0) / self.rate_rps

    def parts(self) -> tuple[Part, ...]:
        """One."""
        return (Part("steady", Stretch(self.length_s, self.rate_rps, self.rate_rps)),)

    @model_validator(mode="after")
    def _one_end(self) -> OpenLoop:
        if (self.duration_s is None) == (self.requests is None):
            raise ValueError("give exactly one of duration_s and requests")
        return self


class Stage(Expectation):
    """A part of a run at one rate, or on the way in a straight line from one to another."""

    rate_rps: RateOrPause = Field(description="Arrivals per second; 0 is a pause.")
    to_rps: RateOrPause | None = Field(default=None, description="The rate at its end, where it is a ramp.")
    duration_s: Seconds
    name: str | None = Field(default=None, min_length=1, max_length=40, description="What the report calls it.")
    counts: bool | None = Field(default=None, description="Whether it is judged. A ramp is not unless this says so.")

    def part(self, number: int) -> Part:
        """This stage, as the schedule knows it."""
        to_rps = self.rate_rps if self.to_rps is None else self.to_rps
        flat = to_rps == self.rate_rps
        shape = f"{self.rate_rps:g}/s" if flat else f"{self.rate_rps:g} to {to_rps:g}/s"
        counts = flat if self.counts is None else self.counts
        return Part(self.name or f"{number}: {shape}", Stretch(self.duration_s, self.rate_rps, to_rps), counts)


class Stages(OpenKind):
    """One rate after the other."""

    stages: tuple[Stage, ...] = Field(min_length=1, max_length=1000)

    def parts(self) -> tuple[Part, ...]:
        """One for each stage."""
        return tuple(stage.part(number) for number, stage in enumerate(self.stages, start=1))


class Slope(Expectation):
    """A rate that changes in a straight line."""

    from_rps: RateOrPause
    to_rps: RateOrPause
    duration_s: Seconds


class Ramp(OpenKind):
    """Arrivals whose rate goes in a straight line from one value to another. All of it counts."""

    ramp: Slope

    def parts(self) -> tuple[Part, ...]:
        """One."""
        slope = self.ramp
        return (Part("ramp", Stretch(slope.duration_s, slope.from_rps, slope.to_rps)),)


class Peak(Expectation):
    """A base rate, a peak, and the base rate again."""

    base_rps: Rate
    peak_rps: Rate
    before_s: Seconds
    peak_s: Seconds
    after_s: Seconds

    @model_validator(mode="after")
    def _higher(self) -> Peak:
        if self.peak_rps <= self.base_rps:
            raise ValueError("peak_rps is not above base_rps")
        return self


class Spike(OpenKind):
    """A sudden peak. All of it counts: what the peak leaves behind is part of the answer."""

    spike: Peak

    def parts(self) -> tuple[Part, ...]:
        """Three."""
        peak = self.spike
        return (
            Part("base", Stretch(peak.before_s, peak.base_rps, peak.base_rps)),
            Part("spike", Stretch(peak.peak_s, peak.peak_rps, peak.peak_rps)),
            Part("recovery", Stretch(peak.after_s, peak.base_rps, peak.base_rps)),
        )


class TraceFile(Expectation):
    """A recording of arrivals with their lengths: Mooncake's JSONL, or Azure's columns as CSV or JSONL."""

    file: str = Field(pattern=r"^[^\x00]+$", description="Path, from the profile's own directory.")
    speed: float = Field(default=1.0, gt=0, le=1e6, allow_inf_nan=False, description="2 replays it twice as fast.")
    requests: Requests | None = Field(default=None, description="Take only so many from its beginning.")
    duration_s: Seconds | None = Field(default=None, description="Take only so many seconds of the replay.")


class Replay(Seeded):
    """Arrivals and lengths as they were recorded."""

    trace: TraceFile


class Streaming(Expectation):
    """A stage of a closed loop."""

    concurrency: Streams
    duration_s: Seconds
    name: str | None = Field(default=None, min_length=1, max_length=40, description="What the report calls it.")
    counts: bool = True


class Concurrency(Expectation):
    """So many streams at a time, each followed by the next; ends after a time or a number of requests. Or in stages."""

    concurrency: Streams | None = None
    duration_s: Seconds | None = None
    requests: Requests | None = None
    stages: tuple[Streaming, ...] = Field(default=(), max_length=1000)

    def levels(self) -> tuple[Level, ...]:
        """How many streams, one level after the other."""
        if self.concurrency is not None:
            return (Level("steady", self.concurrency, self.duration_s),)
        return tuple(
            Level(
                stage.name or f"{number}: {stage.concurrency} streams",
                stage.concurrency,
                stage.duration_s,
                stage.counts,
            )
            for number, stage in enumerate(self.stages, start=1)
        )

    @model_validator(mode="after")
    def _one_end(self) -> Concurrency:
        if self.stages:
            if self.concurrency is not None or self.duration_s is not None or self.requests is not None:
                raise ValueError("stages have their own concurrency and duration_s: give nothing beside them")
        elif self.concurrency is None:
            raise ValueError("give concurrency, or stages")
        elif (self.duration_s is None) == (self.requests is None):
            raise ValueError("give exactly one of duration_s and requests")
        return self


class ClosedLoop(Seeded):
    """Concurrency instead of arrivals. A slow server is asked less often: its latency is not that of a schedule."""

    closed_loop: Concurrency


class Search(Expectation):
    """How to look for the highest rate that meets the SLOs."""

    start_rps: Rate = Field(default=1.0, description="Rate of the first probe; it doubles while the SLOs are met.")
    max_rps: Rate = Field(default=1000.0, description="No probe goes above this rate.")
    probe_s: Seconds = Field(default=30.0, description="What counts of a probe; longer where the gates need more.")
    longest_probe_s: Seconds = Field(
        default=300.0, description="A probe that could not tell is made longer up to this."
    )
    resolution_share: float = Field(default=0.05, ge=0.001, le=1, description="Width of the answer, as a share of it.")
    saturated_below_share: float = Field(
        default=0.8, gt=0, lt=1, description="A probe fails when achieved / offered falls below this."
    )
    max_probes: int = Field(default=24, ge=2, le=1000)

    @model_validator(mode="after")
    def _in_order(self) -> Search:
        if self.max_rps < self.start_rps:
            raise ValueError("max_rps is below start_rps")
        if self.longest_probe_s < self.probe_s:
            raise ValueError("longest_probe_s is below probe_s")
        return self


class Sweep(OpenKind):
    """Probes at one rate after another, to find the highest that meets the SLOs: the warm capacity of a replica."""

    sweep: Search

    def parts(self) -> tuple[Part, ...]:
        """The longest probe that there can be."""
        search = self.sweep
        return (Part("probe", Stretch(search.longest_probe_s, search.max_rps, search.max_rps)),)


KINDS: Final = ("closed_loop", "stages", "ramp", "spike", "trace", "sweep")


def kind(load: Any) -> str:
    """Which kind of load this is: the first of KINDS that it has a key or a field for, or `rate_rps`."""
    keys = load if isinstance(load, dict) else type(load).model_fields if isinstance(load, Seeded) else ()
    return next((name for name in KINDS if name in keys), "rate_rps")


Load = Annotated[
    Annotated[OpenLoop, Tag("rate_rps")]
    | Annotated[Stages, Tag("stages")]
    | Annotated[Ramp, Tag("ramp")]
    | Annotated[Spike, Tag("spike")]
    | Annotated[Replay, Tag("trace")]
    | Annotated[ClosedLoop, Tag("closed_loop")]
    | Annotated[Sweep, Tag("sweep")],
    Discriminator(kind),
]
