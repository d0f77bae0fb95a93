"""The client's TTFT against the server's own: the same requests, or no figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from serving.facts.crosscheck import cross_check
from serving.facts.series import Series
from serving.facts.telemetry import Source, Telemetry
from serving.facts.traffic import RequestSeen
from tests.loadtest.runs import failed, request

SPAN = (10.0, 70.0)
RUN = [request(index, scheduled_s=0.5 + index, ttft_s=0.25) for index in range(80)]


def server(ttft_s: float, *names: str, per_second: float = 1.0, **changes: Callable[[float], float]) -> Telemetry:
    """Servers that gave so many first tokens a second until second 80, each after `ttft_s`."""
    sources = tuple(Source(name, "engine") for name in names or ("engine-0",))
    times = tuple(float(at) for at in range(83))
    curves: dict[str, Any] = {
        "server_ttft_s": lambda at: ttft_s * per_second * min(at, 80),
        "server_ttft_count": lambda at: per_second * min(at, 80),
    } | changes
    series = {
        (source.name, metric): Series(times, tuple(curve(at) for at in times))
        for source in sources
        for metric, curve in curves.items()
    }
    return Telemetry(sources, series)


def test_the_difference_is_the_networks_share():
    found = cross_check(RUN, server(0.2), [SPAN])
    assert found.why == ""
    assert found.client_requests == found.server_requests == 60
    assert found.client_ms == pytest.approx(250)
    assert found.server_ms == pytest.approx(200)
    assert found.network_ms == pytest.approx(50)


def test_replicas_are_taken_together():
    found = cross_check(RUN, server(0.2, "engine-0", "engine-1", per_second=0.5), [SPAN])
    assert found.server_requests == 60
    assert found.network_ms == pytest.approx(50)


def test_only_what_counts_is_compared():
    slow_start = [request(index, scheduled_s=0.5 + index, ttft_s=5.0 if index < 5 else 0.25) for index in range(80)]
    assert cross_check(slow_start, server(0.2), [SPAN]).network_ms == pytest.approx(50)


def test_requests_that_got_no_token_do_not_count():
    some_failed = [failed(100 + index, scheduled_s=20.0) for index in range(20)]
    assert cross_check([*RUN, *some_failed], server(0.2), [SPAN]).client_requests == 60


@pytest.mark.parametrize(
    ("requests", "telemetry", "spans", "said"),
    [
        pytest.param(RUN, Telemetry(), [SPAN], "no engine was sampled", id="no-engine"),
        pytest.param(RUN, server(0.2), [], "no part of the run counts", id="nothing-counts"),
        pytest.param(
            RUN, server(0.2, per_second=2), [SPAN], "got 60 first tokens and the servers gave 120", id="others"
        ),
        pytest.param(RUN, server(0.2, per_second=0.5), [SPAN], "the servers gave 30", id="half-of-the-replicas"),
        pytest.param([], server(0.2), [SPAN], "the client got 0", id="no-requests"),
        pytest.param(RUN, server(0.2, server_ttft_count=lambda at: at % 40), [SPAN], "or restarted", id="restarted"),
        pytest.param(RUN, Telemetry((Source("engine-0", "engine"),)), [SPAN], "engine-0 was not seen", id="unseen"),
    ],
)
def test_what_are_not_the_same_requests_is_not_compared(
    requests: list[RequestSeen], telemetry: Telemetry, spans: list[tuple[float, float]], said: str
):
    found = cross_check(requests, telemetry, spans)
    assert said in found.why
    assert found.network_ms is None
