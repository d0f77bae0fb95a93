"""One endpoint where all is well but for what a test changes, and the finding of one layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from serving import codes
from serving.codes import Code
from serving.expectations import Readiness
from serving.facts.model import Modelz
from serving.facts.readiness import AgentFacts, Host, Listing, Probe, ReadinessFacts, Trial
from serving.facts.seen import Fact, Seen, Unseen
from serving.judge.readiness import judge_readiness
from serving.verdict import Finding, Verdict
from tests.fakes.modelz import modelz

PASS, FAIL, UNKNOWN, NA = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN, Verdict.NOT_APPLICABLE
LAYERS = [
    codes.PROCESS_RUNNING,
    codes.MODEL_WARM,
    codes.ENDPOINT_LISTED,
    codes.LATENCY,
    codes.HOST_MEMORY,
    codes.GPU_MEMORY,
    codes.PREDICTION,
]
ANSWER = Trial("/v1/chat/completions", 200, 200.0, 80.0, "The capital of France is Paris.", "stop", 8)
DEAD = Unseen("connection refused: nothing listens on 127.0.0.1:9", "http://127.0.0.1:9", 1.0)
HEALTHY = Host("replica", "127.0.0.1:8080")
SICK = Host("replica", "127.0.0.1:8090", ("failed_active_health_check",))


def seen(value: Any) -> Seen[Any]:
    return Seen(value, "http://127.0.0.1:8081", 1.0)


def samples(*ttft_ms: float | None) -> tuple[Fact[Trial], ...]:
    """A sample for each TTFT; None is a request that failed with HTTP 503."""
    broken = Trial("/v1/chat/completions", 503, 5.0, problem="HTTP 503: no healthy upstream")
    return tuple(seen(broken if ms is None else replace(ANSWER, ttft_ms=ms)) for ms in ttft_ms)


def facts(model: Modelz | Unseen | None = None, **changes: Any) -> ReadinessFacts:
    """Everything is well, but for what is told. The agent is dead where `model` is Unseen."""
    model = model or modelz()
    if isinstance(model, Unseen):
        agent = AgentFacts(model, model)
    else:
        agent = AgentFacts(seen(model), seen(Probe(200 if model.ready else 503, model.state)))
    well = ReadinessFacts(
        base_url="http://127.0.0.1:8000",
        agent=agent,
        listing=seen(Listing(200, ("smollm2",))),
        gateway=None,
        latency=samples(*[100.0] * 20),
        prediction=seen(ANSWER),
    )
    return replace(well, **changes)


def finding(code: Code, given: ReadinessFacts, **expected: Any) -> Finding:
    report = judge_readiness(given, Readiness(**expected))
    assert [each.code for each in report.findings] == LAYERS
    for each in report.findings:
        assert each.observed
        assert each.expected
        assert each.why
        assert bool(each.remedy) == (each.verdict in (FAIL, UNKNOWN)), each
        assert "\n" not in f"{each.observed}{each.expected}{each.why}{each.remedy}"
    return next(each for each in report.findings if each.code is code)
