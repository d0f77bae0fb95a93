"""What observe_readiness makes of a live endpoint: facts, and never an exception."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest

from serving.facts.model import State
from serving.facts.readiness import ReadinessFacts, Trial
from serving.facts.seen import Fact, Seen, Unseen
from serving.observe.endpoint import Target, observe_agent, observe_readiness
from tests.fakes.agent_server import AgentServer, Script, agent_server
from tests.fakes.modelz import READY, modelz

NOWHERE = "http://127.0.0.1:9"

# As Envoy 1.40 answers GET /clusters?format=json for one live and one dead host, less its statistics.
ENVOY_HOSTS = [
    {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 29902}},
        "health_status": {"eds_health_status": "HEALTHY"},
        "weight": 1,
        "locality": {},
    },
    {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 29903}},
        "health_status": {"failed_active_health_check": True, "eds_health_status": "HEALTHY"},
        "weight": 1,
        "locality": {},
    },
]
ENVOY = {"cluster_statuses": [{"name": "replica", "host_statuses": ENVOY_HOSTS}, {"name": "empty"}]}


@pytest.fixture
def server() -> Iterator[AgentServer]:
    with agent_server() as running:
        yield running


def observe(target: Target | AgentServer, **options: Any) -> ReadinessFacts:
    if isinstance(target, AgentServer):
        target = Target(target.url, target.url)
    options = {"model": None, "samples": 3, "timeout_s": 10.0} | options
    return asyncio.run(observe_readiness(target, **options))


def value(fact: Fact[Any] | None) -> Any:
    assert isinstance(fact, Seen), fact
    return fact.value


def why(fact: Fact[Any]) -> str:
    assert isinstance(fact, Unseen), fact
    return fact.why


def test_a_ready_endpoint_is_seen_as_it_is(server: AgentServer):
    facts = observe(server)
    assert value(facts.agent.modelz) == READY
    assert value(facts.agent.readyz).status == 200
    assert value(facts.listing).names == ("smollm2",)
    assert facts.gateway is None
    assert value(facts.prediction).text == "The capital of France is Paris."
    assert value(facts.prediction).tokens == 7
    assert value(facts.prediction).problem is None
    assert [value(sample).problem for sample in facts.latency] == [None] * 3


def test_every_fact_names_its_source_and_its_time(server: AgentServer):
    before = time.time()
    facts = observe(server)
    named = {fact.source for fact in (facts.agent.modelz, facts.agent.readyz, facts.listing, facts.prediction)}
    assert named == {f"{server.url}{path}" for path in ("/modelz", "/readyz", "/v1/models", "/v1/chat/completions")}
    assert before <= facts.prediction.at <= time.time()


def test_what_is_asked_is_deterministic_short_and_never_the_same_prompt_twice(server: AgentServer):
    observe(server)
    prediction, *samples = (request.body for request in server.asked("/v1/chat/completions"))
    assert prediction["messages"] == [{"role": "user", "content": "What is the capital of France?"}]
    assert (prediction["temperature"], prediction["max_tokens"], prediction["stream"]) == (0, 32, True)
    assert len({body["messages"][0]["content"] for body in samples}) == 3
    assert all(body["max_tokens"] <= 8 for body in samples)


def test_nothing_but_looking_happens(server: AgentServer):
    observe(server)
    assert {(request.method, request.path) for request in server.requests} == {
        ("GET", "/modelz"),
        ("GET", "/readyz"),
        ("GET", "/v1/models"),
        ("POST", "/v1/chat/completions"),
    }


def test_ttft_is_the_wait_for_the_first_token_and_not_for_headers_role_or_last_token():
    with agent_server(Script(first_token_s=0.3, token_s=0.3, tokens=("a", "b"))) as server:
        sample = value(observe(server, samples=1).latency[0])
    assert 290 <= sample.ttft_ms < sample.elapsed_ms - 290
    assert sample.elapsed_ms >= 600


def test_the_key_goes_to_the_base_url_and_nowhere_else():
    with agent_server(Script(clusters=ENVOY)) as admin, agent_server(Script(api_key="sesame")) as base:
        target = Target(admin.url, base.url, admin.url, api_key="sesame")
        facts = observe(target)
    assert value(facts.prediction).problem is None
    assert all(request.headers.get("authorization") == "Bearer sesame" for request in base.requests)
    assert admin.requests
    assert not any("authorization" in request.headers for request in admin.requests)
    assert "sesame" not in repr(target)
    assert "sesame" not in repr(facts)


def test_without_its_key_a_door_is_unseen_and_not_a_failure():
    with agent_server(Script(api_key="sesame")) as server:
        facts = observe(server)
    for fact in (facts.listing, facts.prediction, facts.latency[0]):
        assert "HTTP 401" in why(fact)
        assert "--api-key-env" in why(fact)


def test_a_redirect_is_not_followed():
    with agent_server(Script(location="https://elsewhere.example/")) as server:
        facts = observe(server)
    for fact in (facts.agent.modelz, facts.agent.readyz, facts.listing, facts.prediction):
        assert "redirects to https://elsewhere.example/" in why(fact)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        pytest.param(b"<html>It works!</html>", "not a warmgate.modelz/v1 document", id="html"),
        pytest.param(b"[]", "not a warmgate.modelz/v1 document", id="list"),
        pytest.param(b"", "not a warmgate.modelz/v1 document", id="empty"),
        pytest.param(json.dumps(asdict(READY) | {"schema": "warmgate.modelz/v2"}).encode(), "schema", id="v2"),
        pytest.param(json.dumps(asdict(READY) | {"state": "levitating"}).encode(), "state", id="unknown-state"),
        pytest.param(json.dumps(asdict(READY) | {"engine": None}).encode(), "engine", id="no-engine"),
    ],
)
def test_what_is_not_the_agents_document_is_unseen(server: AgentServer, document: bytes, words: str):
    server.script.modelz = document
    assert words in why(observe(server).agent.modelz)


def test_fields_that_a_later_agent_adds_are_ignored(server: AgentServer):
    server.script.modelz = json.dumps(asdict(READY) | {"mood": "fine"}).encode()
    assert value(observe(server).agent.modelz) == READY


def test_an_agent_behind_a_gateway_that_lost_it_is_unseen(server: AgentServer):
    server.script.modelz_status = 503
    assert "HTTP 503 instead of the agent's state" in why(observe(server).agent.modelz)


def test_a_state_that_changed_between_two_requests_is_asked_again(server: AgentServer):
    states = iter([modelz(state=State.WARMING), modelz(), modelz(), modelz()])
    server.script.modelz = lambda: next(states)
    facts = asyncio.run(observe_agent(Target(server.url, server.url)))
    assert value(facts.modelz).ready
    assert value(facts.readyz).status == 200


def test_a_disagreement_that_stays_is_reported_as_it_is(server: AgentServer):
    server.script.readyz_status = 503
    facts = asyncio.run(observe_agent(Target(server.url, server.url)))
    assert value(facts.modelz).ready
    assert value(facts.readyz).status == 503


def test_a_base_url_with_a_wrong_path_is_answered_404(server: AgentServer):
    facts = observe(Target(server.url, f"{server.url}/somewhere"))
    assert value(facts.listing).status == 404
    assert value(facts.prediction).status == 404


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": {}}'])
def test_an_answer_that_lists_no_models_is_another_kind_of_server(server: AgentServer, body: bytes):
    server.script.models_body = body
    assert "OpenAI-compatible base URL" in why(observe(server).listing)


def test_envoys_hosts_are_read_with_the_reasons_against_them(server: AgentServer):
    server.script.clusters = ENVOY
    live, dead = value(observe(Target(server.url, server.url, server.url)).gateway)
    assert (live.cluster, live.address, live.healthy) == ("replica", "127.0.0.1:29902", True)
    assert (dead.healthy, dead.flags) == (False, ("failed_active_health_check",))


@pytest.mark.parametrize(
    ("health", "healthy"),
    [
        pytest.param({"eds_health_status": "HEALTHY"}, True, id="healthy"),
        pytest.param({"eds_health_status": "UNKNOWN"}, True, id="not-discovered-as-anything"),
        pytest.param({"eds_health_status": "DEGRADED"}, True, id="degraded-still-serves"),
        pytest.param({"failed_active_degraded_check": True, "eds_health_status": "HEALTHY"}, True, id="degraded-check"),
        pytest.param({"eds_health_status": "DRAINING"}, False, id="draining"),
        pytest.param({"eds_health_status": "UNHEALTHY"}, False, id="unhealthy"),
        pytest.param({"failed_outlier_check": True, "eds_health_status": "HEALTHY"}, False, id="outlier"),
        pytest.param({"pending_active_hc": True, "eds_health_status": "HEALTHY"}, False, id="not-checked-yet"),
        pytest.param({"pending_dynamic_removal": True, "eds_health_status": "HEALTHY"}, False, id="going"),
        pytest.param(None, False, id="no-status"),
    ],
)
def test_a_host_is_healthy_when_envoy_sends_it_traffic(server: AgentServer, health: Any, healthy: bool):
    host = ENVOY_HOSTS[0] | {"health_status": health}
    server.script.clusters = {"cluster_statuses": [{"name": "c", "host_statuses": [host]}]}
    (seen,) = value(observe(Target(server.url, server.url, server.url)).gateway)
    assert seen.healthy is healthy


@pytest.mark.parametrize("clusters", [None, {"stats": []}, {"cluster_statuses": {}}])
def test_an_admin_port_that_is_not_envoys_is_unseen(server: AgentServer, clusters: Any):
    server.script.clusters = clusters
    assert "Envoy's admin port" in why(observe(Target(server.url, server.url, server.url)).gateway or Seen(0, "", 0))


ENDINGS = {
    "no_done": "ended without [DONE]",
    "no_finish": "ended without a finish_reason",
    "abort": "finish_reason 'abort'",
    "error": "EngineCore died",
    "cut": "the stream broke off",
}


@pytest.mark.parametrize(("ending", "words"), [pytest.param(*case, id=case[0]) for case in ENDINGS.items()])
def test_http_200_is_not_success(server: AgentServer, ending: Any, words: str):
    server.script.ending = ending
    trial = value(observe(server).prediction)
    assert trial.status == 200
    assert words in trial.problem
    assert trial.ttft_ms is not None


def test_a_model_without_a_chat_template_is_asked_for_plain_completions(server: AgentServer):
    server.script.chat_template = False
    facts = observe(server)
    assert value(facts.prediction).route == "/v1/completions"
    assert value(facts.prediction).text == "The capital of France is Paris."
    assert len(server.asked("/v1/chat/completions")) == 1
    assert server.asked("/v1/completions")[0].body["prompt"] == "What is the capital of France?"


def test_a_server_that_is_overwhelmed_is_a_bad_answer_and_not_a_missing_one(server: AgentServer):
    server.script.completion_status = 503
    facts = observe(server)
    assert value(facts.prediction) == replace(
        value(facts.prediction), status=503, problem="HTTP 503: no healthy upstream", text="", ttft_ms=None
    )
    assert len(facts.latency) == 3


def test_a_dead_endpoint_is_unseen_everywhere_and_at_once():
    start = time.monotonic()
    facts = observe(Target(NOWHERE, NOWHERE, NOWHERE), model="m", samples=1000)
    assert time.monotonic() - start < 5
    facts_of = [facts.agent.modelz, facts.agent.readyz, facts.listing, facts.gateway, facts.prediction, *facts.latency]
    assert all("connection refused" in why(fact or Seen(0, "", 0)) for fact in facts_of)
    assert len(facts.latency) == 3


def test_without_any_name_to_ask_for_the_reason_is_the_base_urls_own():
    facts = observe(Target(NOWHERE, NOWHERE))
    assert why(facts.prediction).endswith("connection refused: nothing listens on 127.0.0.1:9")


def test_with_a_dead_agent_the_model_that_the_gateway_lists_is_asked(server: AgentServer):
    facts = observe(Target(NOWHERE, server.url))
    assert "connection refused" in why(facts.agent.modelz)
    assert value(facts.prediction).problem is None


@pytest.mark.parametrize("path", ["/modelz", "/readyz", "/v1/models", "/v1/chat/completions"])
def test_whatever_hangs_the_bound_holds_and_the_rest_is_still_seen(path: str):
    with agent_server(Script(hang=frozenset({path}))) as server:
        start = time.monotonic()
        facts = observe(server, timeout_s=6.0, model="smollm2")
        took = time.monotonic() - start
    assert took < 12
    seen = [facts.agent.modelz, facts.agent.readyz, facts.listing]
    unseen = [fact for fact in seen if isinstance(fact, Unseen)]
    assert len(unseen) == (0 if path == "/v1/chat/completions" else 1)
    prediction = value(facts.prediction)
    assert (prediction.problem is not None) == (path == "/v1/chat/completions")


def test_a_sample_that_only_our_own_bound_ended_is_marked():
    with agent_server(Script(first_token_s=0.7)) as server:
        facts = observe(server, samples=50, timeout_s=3.0)
    trials: list[Trial] = [value(sample) for sample in facts.latency]
    assert 1 <= len(trials) < 50
    assert all(trial.problem is None for trial in trials[:-1])
    assert trials[-1].problem is None or trials[-1].cut_off


def test_progress_is_told(server: AgentServer):
    told: list[tuple[str, str]] = []
    observe(server, tell=lambda status, detail="": told.append((status, detail)))
    assert [status for status, _ in told][:2] == ["asking the agent and the gateway", "asking for a prediction"]
    assert told[-1] == ("measuring latency", ", 3 of 3")
