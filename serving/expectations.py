"""What a person expects, as they typed it: closed (an unknown key is an error), frozen, units in the names. No I/O."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Expectation(BaseModel):
    """Base of everything that a person typed: a stale or misspelt key must never be silently lost."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Readiness(Expectation):
    """What `warmgate verify` holds an endpoint to."""

    model: str | None = Field(None, description="Served model name; None accepts the name the agent expects.")
    ttft_ms: float = Field(2000.0, gt=0, description="Target for TTFT in milliseconds, at `percentile`.")
    percentile: float = Field(0.95, gt=0, le=1, description="Quantile of TTFT that must meet the target.")
    samples: int = Field(20, ge=1, description="Requests measured for latency.")
    memory_mib: float | None = Field(
        None, gt=0, description="Most resident memory of the engine's process tree, in MiB."
    )
    gpu_free_mib: float = Field(0.0, ge=0, description="Least free memory of each visible GPU, in MiB.")


class Slo(Expectation):
    """One gate of a load profile: a statistic of a metric, and the limit that it must not cross.

    Latency metrics are in milliseconds; `goodput` and `error_rate` are shares (0..1) of all scheduled requests.
    """

    metric: Literal["ttft", "ttft_wire", "icl", "itl", "tpot", "e2e", "stall", "goodput", "error_rate"]
    statistic: Literal["p50", "p90", "p95", "p99", "max", "mean", "share"]
    at_most: float | None = Field(None, ge=0)
    at_least: float | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _one_limit(self) -> Slo:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"{self.metric} {self.statistic}: give exactly one of at_most and at_least")
        if (self.metric in ("goodput", "error_rate")) != (self.statistic == "share"):
            raise ValueError(f"{self.metric}: statistic `share` is for goodput and error_rate, and only for them")
        return self
