"""What a gate may say: a limit with its unit, one that can be met, of a metric that there is."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from serving.expectations import HarnessBounds, Margin, Slo

P95 = {"metric": "ttft", "statistic": "p95"}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        pytest.param({**P95, "at_most": 500}, "Extra inputs", id="no-unit-in-the-name"),
        pytest.param({**P95, "at_most_ms": "500ms"}, "valid number", id="unit-in-the-value"),
        pytest.param({**P95, "at_most_ms": "500"}, "valid number", id="text"),
        pytest.param({**P95, "at_most_ms": True}, "valid number", id="yes"),
        pytest.param({**P95, "at_most_ms": 0}, "greater than 0", id="nothing-takes-no-time"),
        pytest.param({**P95, "at_most_ms": -5}, "greater than 0", id="negative"),
        pytest.param({**P95, "at_most_ms": float("inf")}, "finite", id="infinite"),
        pytest.param({**P95, "at_most_ms": float("nan")}, "finite|greater than 0", id="nan"),
        pytest.param({**P95, "at_least_share": 0.9}, "takes the limit at_most_ms", id="share-of-a-latency"),
        pytest.param({**P95}, "takes the limit at_most_ms", id="no-limit"),
        pytest.param({"metric": "ttft", "at_most_ms": 5}, "one of p50, p90, p95, p99", id="no-statistic"),
        pytest.param({**P95, "at_most_ms": 5, "confidence": 1.0}, "less than 1", id="certainty"),
        pytest.param(
            {**P95, "at_most_ms": 5, "confidence": 0.3}, "greater than or equal to 0.5", id="less-than-a-coin"
        ),
        pytest.param({**P95, "at_most_ms": 5, "confidence": 95}, "write 0.95 for 95 %", id="confidence-in-percent"),
        pytest.param({"metric": "goodput", "at_least_share": 95}, "write 0.95 for 95 %", id="goodput-in-percent"),
        pytest.param({"metric": "goodput", "at_least_share": 1.5}, "no share of 0 to 1", id="more-than-all"),
        pytest.param({"metric": "goodput", "at_least_share": 0}, "greater than 0", id="no-goodput-always-holds"),
        pytest.param({"metric": "error_rate", "at_most_share": 1}, "less than 1", id="all-errors-always-holds"),
        pytest.param({"metric": "error_rate", "at_least_share": 0.1}, "takes the limit at_most_share", id="wrong-way"),
        pytest.param({"metric": "sanity", "at_most_share": 0.1}, "takes the limit at_least_share", id="wrong-way-too"),
        pytest.param({"metric": "stall_share", "at_most_share": 0.1}, "takes over_ms", id="a-stall-of-what"),
        pytest.param({**P95, "at_most_ms": 5, "over_ms": 5}, "nothing else does", id="over-what"),
        pytest.param(
            {"metric": "tth", "statistic": "p95", "at_most_ms": 5}, "Input should be", id="headers-are-no-token"
        ),
    ],
)
def test_a_gate_that_says_nothing_or_cannot_be_met_is_refused(given: dict[str, Any], why: str):
    with pytest.raises(ValidationError, match=why):
        Slo.model_validate(given)


@pytest.mark.parametrize(
    "given",
    [
        {**P95, "at_most_ms": 500},
        {**P95, "at_most_ms": 0.5, "confidence": "none"},
        {"metric": "goodput", "at_least_share": 1},
        {"metric": "error_rate", "at_most_share": 0, "confidence": 0.99},
        {"metric": "sanity", "at_least_share": 0.9},
        {"metric": "stall_share", "over_ms": 250, "at_most_share": 0.05},
    ],
)
def test_a_gate_with_its_unit_is_taken(given: dict[str, Any]):
    assert Slo.model_validate(Slo.model_validate(given).model_dump(exclude_none=True)) == Slo.model_validate(given)


@pytest.mark.parametrize(
    "given",
    [
        {"metric": "goodput", "statistic": "p95", "at_most_worse_share": 0.1},
        {"metric": "ttft", "statistic": "share", "at_most_worse_share": 0.1},
        {"metric": "ttft", "statistic": "p95", "at_most_worse_share": 0},
        {"metric": "ttft", "statistic": "p95", "at_most_worse_share": 10},
    ],
    ids=["quantile-of-goodput", "share-of-ttft", "no-margin", "percent"],
)
def test_a_margin_that_fits_nothing_is_refused(given: dict[str, Any]):
    with pytest.raises(ValidationError):
        Margin.model_validate(given)


def test_the_bounds_of_the_harness_are_closed_too():
    with pytest.raises(ValidationError):
        HarnessBounds.model_validate({"cpu_share": 80})
    with pytest.raises(ValidationError):
        HarnessBounds.model_validate({"schedule_lag_p99_ms": "50ms"})
