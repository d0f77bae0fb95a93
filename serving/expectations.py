"""What a person expects, as they typed it: closed (an unknown key is an error), frozen, units in the names. No I/O."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from serving.facts.telemetry import METRICS


class Expectation(BaseModel):
    """Base of everything that a person typed: a stale or misspelt key must never be silently lost."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Readiness(Expectation):
    """What `warmgate verify` holds an endpoint to. None means that nothing was asked, so nothing is judged."""

    model: str | None = Field(None, min_length=1, description="Served model name; None: the one the agent expects.")
    ttft_ms: float = Field(2000.0, gt=0, allow_inf_nan=False, description="Most TTFT in milliseconds at `percentile`.")
    percentile: float = Field(0.95, gt=0, le=1, description="Quantile of TTFT that must meet the target.")
    samples: int = Field(20, ge=1, le=10_000, description="Requests measured for latency.")
    memory_mib: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Most resident memory of the engine's process tree, in MiB."
    )
    gpu_free_mib: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="Least free memory of each visible GPU, in MiB; needs a GPU."
    )
    expect: str | None = Field(None, min_length=1, description="Text that the synthetic answer must contain.")


def _share(value: object) -> object:
    """Refuse what was meant as percent."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 1 < value <= 100:
        raise ValueError(f"{value:g} is no share of 0 to 1: write {value / 100:g} for {value:g} %")
    return value


Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True), BeforeValidator(_share)]
# How sure a verdict must be, pass and fail each taken alone; `none` judges the point estimate, and findings say so.
Confidence = Annotated[float, Field(ge=0.5, lt=1, strict=True), BeforeValidator(_share)] | Literal["none"]


class Slo(Expectation):
    """One gate of a load profile: a statistic of a metric, and the limit that it must not cross.

    Latency metrics take a statistic and `at_most_ms`. The others are shares (0..1) and take `at_least_share`
    (`goodput` of all scheduled requests, `sanity` of the golden answers) or `at_most_share` (`error_rate`, and
    `stall_share`: requests that failed, or had a gap over `over_ms`).
    """

    metric: Literal[
        "ttft",
        "ttft_wire",
        "ttfo",
        "icl",
        "itl",
        "tpot",
        "ntpot",
        "e2e",
        "stall",
        "goodput",
        "error_rate",
        "stall_share",
        "sanity",
    ]
    statistic: Literal["p50", "p90", "p95", "p99", "max", "mean", "share"] = "share"
    at_most_ms: Milliseconds | None = Field(None, description="Limit of a latency metric.")
    at_least_share: Share | None = Field(None, gt=0, description="Least good share, e.g. 0.95 for 95 %.")
    at_most_share: Share | None = Field(None, lt=1, description="Most bad share, e.g. 0.01 for 1 %; 0 is none at all.")
    over_ms: Milliseconds | None = Field(None, description="The gap from which on `stall_share` sees a stall.")
    confidence: Confidence | None = Field(None, description="How sure this verdict must be, instead of the profile's.")

    @model_validator(mode="after")
    def _limit_fits_metric(self) -> Slo:
        shares = {
            "goodput": "at_least_share",
            "sanity": "at_least_share",
            "error_rate": "at_most_share",
            "stall_share": "at_most_share",
        }
        fitting = shares.get(self.metric, "at_most_ms")
        given = [name for name in ("at_most_ms", "at_least_share", "at_most_share") if getattr(self, name) is not None]
        if given != [fitting]:
            raise ValueError(f"{self.metric} takes the limit {fitting}, and only it")
        if (fitting == "at_most_ms") == (self.statistic == "share"):
            wanted = "one of p50, p90, p95, p99, max, mean" if fitting == "at_most_ms" else "share, or none at all"
            raise ValueError(f"{self.metric} takes as statistic {wanted}")
        if (self.metric == "stall_share") != (self.over_ms is not None):
            raise ValueError("stall_share takes over_ms, the gap that makes a stall; nothing else does")
        return self


class HarnessBounds(Expectation):
    """How late and how busy the harness itself may be before its figures are its own and not the server's."""

    schedule_lag_p99_ms: Milliseconds = Field(default=50.0, description="Most schedule lag.")
    client_lag_p99_ms: Milliseconds | None = Field(
        default=None, description="Longest that received bytes may wait to be read.  None: as the schedule lag."
    )
    cpu_share: Share = Field(default=0.8, gt=0, description="Most of its one core that the harness may use.")
    rate_error_share: Share = Field(
        default=0.005, gt=0, lt=1, description="How far achieved / offered may be from 1, beside the schedule lag."
    )


class Margin(Expectation):
    """How much worse than the baseline a candidate may be and still be called no worse.

    Of a latency quantile a share of the baseline's (0.1: up to 10 % slower), of `goodput` the share itself (0.01: down
    by up to one request in a hundred).
    """

    metric: Literal["ttft", "ttft_wire", "ttfo", "icl", "itl", "tpot", "ntpot", "e2e", "stall", "goodput"]
    statistic: Literal["p50", "p90", "p95", "p99", "share"]
    at_most_worse_share: Share = Field(gt=0)

    @model_validator(mode="after")
    def _statistic_fits_metric(self) -> Margin:
        if (self.metric == "goodput") != (self.statistic == "share"):
            wanted = "share" if self.metric == "goodput" else "one of p50, p90, p95, p99"
            raise ValueError(f"{self.metric} takes as statistic {wanted}")
        return self


class TelemetryGate(Expectation):
    """One gate over what was seen of servers and GPUs during a run; each source and each device is held to it.

    The limit is in the metric's own unit (`serving.facts.telemetry.METRICS`): a share is 0..1. Gauges take a statistic
    of their values, counters their `increase` or `rate_per_s`, and ratios of counters only `mean`.
    """

    telemetry: str = Field(description="The metric, e.g. kv_cache_usage.")
    statistic: Literal[
        "max", "min", "mean", "p50", "p90", "p95", "p99", "growth", "slope_per_hour", "increase", "rate_per_s"
    ]
    at_most: float | None = Field(None, allow_inf_nan=False)
    at_least: float | None = Field(None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _makes_sense(self) -> TelemetryGate:
        metric = METRICS.get(self.telemetry)
        if metric is None:
            raise ValueError(f"unknown telemetry {self.telemetry!r}: known are {', '.join(METRICS)}")
        of_counters = ("increase", "rate_per_s")
        fits = {
            "counter": self.statistic in of_counters,
            "ratio": self.statistic == "mean",
            "gauge": self.statistic not in of_counters,
        }
        if not fits[metric.shape]:
            wanted = {
                "counter": "increase or rate_per_s",
                "ratio": "mean",
                "gauge": "one of max, min, mean, p50, p90, p95, p99, growth, slope_per_hour",
            }[metric.shape]
            raise ValueError(f"{self.telemetry} takes as statistic {wanted}")
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"{self.telemetry} takes exactly one of at_most and at_least")
        if metric.unit == "share":
            _share(self.limit)
        return self

    @property
    def limit(self) -> float:
        """The one limit that was given."""
        given = self.at_most if self.at_least is None else self.at_least
        return 0.0 if given is None else given
