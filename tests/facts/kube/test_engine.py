from __future__ import annotations

from typing import Any

import pytest

from serving.agent.settings import TEARDOWN_S as AGENTS_TEARDOWN_S
from serving.agent.settings import Settings
from serving.facts.kube.engine import AGENT_DEFAULTS, TEARDOWN_S, Engine, Unknown, engines
from serving.facts.kube.manifests import Bundle, Document


def pod(container: dict[str, Any], *others: dict[str, Any], kind: str = "Deployment", **spec: Any) -> list[Engine]:
    container = {"name": "engine", "image": "warmgate:0.1.0", **container}
    template = {"template": {"spec": {"containers": [container], **spec}}}
    body = {"kind": kind, "metadata": {"name": "qwen"}, "spec": template}
    return list(engines(Bundle(tuple(Document("test.yaml", 0, 1, each) for each in (body, *others)))))


def engine(**container: Any) -> Engine:
    (found,) = pod(container)
    return found


def test_the_agents_defaults_are_those_of_its_settings():
    fields = Settings.model_fields
    assert {name: fields[name].default for name in AGENT_DEFAULTS} == AGENT_DEFAULTS
    assert TEARDOWN_S == AGENTS_TEARDOWN_S


def test_an_option_of_the_agent_comes_before_its_variable_and_that_before_the_default():
    env = [{"name": "WARMGATE_LAME_DUCK", "value": "10"}]
    assert engine().agent("lame_duck") == 5
    assert engine(env=env).agent("lame_duck") == 10
    command = ["warmgate", "serve", "--lame-duck=15", "--", "--model=m"]
    assert engine(env=env, command=command).agent("lame_duck") == 15


def test_a_variable_of_a_config_map_counts_where_the_documents_have_it():
    container = {"envFrom": [{"configMapRef": {"name": "tuned"}}]}
    tuned = {"kind": "ConfigMap", "metadata": {"name": "tuned"}, "data": {"WARMGATE_LAME_DUCK": "30"}}
    (found,) = pod(container, tuned)
    assert (found.agent("lame_duck"), found.takes_unseen_env) == (30, False)
    (found,) = pod(container)
    assert (found.agent("lame_duck"), found.takes_unseen_env) == (5, True)


@pytest.mark.parametrize(
    "item",
    [
        {"name": "WARMGATE_LAME_DUCK", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}},
        {"name": "WARMGATE_LAME_DUCK", "value": "ten"},
    ],
    ids=["from elsewhere", "no number"],
)
def test_a_value_that_is_not_written_down_is_unknown(item: dict[str, Any]):
    assert isinstance(engine(env=[item]).agent("lame_duck"), Unknown)


@pytest.mark.parametrize(
    ("container", "port"),
    [
        pytest.param({}, 8000, id="vLLM's default"),
        pytest.param({"args": ["--port", "8080"]}, 8080, id="given"),
        pytest.param({"args": ["--port=$PORT"]}, None, id="a shell variable"),
        pytest.param({"args": ["--config=/etc/vllm.yaml"]}, None, id="a config file"),
        pytest.param({"image": "example.com/my-vllm:1"}, None, id="an image with an entrypoint of its own"),
        pytest.param({"image": "vllm/vllm-openai-cpu:v0.32.0"}, 8000, id="vLLM's own image"),
        pytest.param({"image": "own:1", "command": ["sh", "-c", "vllm serve m --port 9000"]}, 9000, id="a script"),
    ],
)
def test_the_port_is_told_where_it_can_be(container: dict[str, Any], port: int | None):
    assert engine(**container).port == port


@pytest.mark.parametrize(
    ("hook", "seconds"),
    [
        ({}, 0),
        ({"sleep": {"seconds": 15}}, 15),
        ({"exec": {"command": ["sleep", "20"]}}, 20),
        ({"exec": {"command": ["/bin/sh", "-c", "sleep 1m; touch /tmp/x"]}}, 60),
        ({"exec": {"command": ["/bin/sh", "-c", "sleep 5 && curl x && sleep 2.5s"]}}, 7.5),
        ({"exec": {"command": ["/stop.sh"]}}, 0),
        ({"httpGet": {"path": "/stop", "port": 1}}, 0),
        ({"sleep": "junk", "exec": 3}, 0),
    ],
)
def test_the_pause_of_a_hook_is_read(hook: dict[str, Any], seconds: float):
    assert engine(lifecycle={"preStop": hook}).pre_stop_s == seconds


def test_what_never_answers_or_ends_is_no_engine_here():
    assert pod({}, kind="Job") == []
    assert pod({"args": ["--model=m", "--headless"]}) == []
    assert pod({"image": "vllm/vllm-openai:v1", "args": ["run-batch"], "command": ["vllm"]}) == []
