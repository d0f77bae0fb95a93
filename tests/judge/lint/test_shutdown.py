from __future__ import annotations

from typing import Any

import pytest

from tests.judge.lint.asked import asked, deployment, said

PLAIN = {"image": "vllm/vllm-openai:v0.32.0", "env": []}
SLEEP = {"preStop": {"sleep": {"seconds": 15}}}


def hook(*command: str) -> dict[str, Any]:
    return {**PLAIN, "lifecycle": {"preStop": {"exec": {"command": list(command)}}}}


@pytest.mark.parametrize(
    ("container", "grace", "needed"),
    [
        pytest.param({}, 80, None, id="lame duck, drain and teardown"),
        pytest.param({}, 79, "at least 80 s (lame duck 10 + drain 60 + teardown 10)", id="a second short"),
        pytest.param({}, None, "at least 80 s (lame duck 10 + drain 60 + teardown 10)", id="Kubernetes' 30 s"),
        pytest.param({"env": []}, 75, None, id="the agent's defaults"),
        pytest.param({"env": []}, 60, "at least 75 s (lame duck 5 + drain 60 + teardown 10)", id="them in 60 s"),
        pytest.param({"lifecycle": SLEEP}, 95, None, id="a pause besides"),
        pytest.param(
            {**PLAIN, "lifecycle": SLEEP, "args": ["--shutdown-timeout=40"]},
            60,
            "at least 65 s (preStop 15 + drain 40 + teardown 10)",
            id="vLLM alone",
        ),
        pytest.param({**PLAIN, "args": []}, 30, None, id="vLLM alone drops everything soon"),
        pytest.param(
            {**PLAIN, "lifecycle": {"preStop": {"sleep": {"seconds": 30}}}}, 30, "at least 40 s", id="a long pause"
        ),
    ],
)
def test_the_grace_period_holds_every_part(container: dict[str, Any], grace: int | None, needed: str | None):
    manifest = deployment(container, terminationGracePeriodSeconds=grace)
    assert asked("WG330", manifest)
    assert [each.expected[: len(needed or "")] for each in said("WG330", manifest)] == ([needed] if needed else [])


def test_a_default_grace_period_is_called_one():
    (finding,) = said("WG330", deployment(terminationGracePeriodSeconds=None))
    assert finding.observed == "30 s by default"
    assert finding.remedy == "set terminationGracePeriodSeconds: 80"


@pytest.mark.parametrize(
    ("container", "verdict"),
    [
        pytest.param({}, None, id="the agent drains"),
        pytest.param({"args": ["--model=m", "--shutdown-timeout=60"]}, None, id="the agent's own number again"),
        pytest.param({"args": ["--model=m", "--shutdown_timeout", "30"]}, "fail", id="another number"),
        pytest.param({"env": [], "args": ["--shutdown-timeout=30"]}, "fail", id="another number than the default"),
        pytest.param({"args": ["--shutdown-timeout=$T"]}, "unknown", id="a variable of a shell, under the agent"),
        pytest.param({"args": ["--config=/etc/vllm.yaml"]}, None, id="the agent's number comes before a file's"),
        pytest.param({**PLAIN, "args": ["--model=m", "--shutdown-timeout", "60"]}, None, id="vLLM drains"),
        pytest.param({**PLAIN, "args": ["--model=m", "--shutdown-timeout=0"]}, "fail", id="vLLM is told not to"),
        pytest.param({**PLAIN, "args": ["--model=m"]}, "fail", id="vLLM's default"),
        pytest.param({**PLAIN, "args": ["--config=/etc/vllm.yaml"]}, "unknown", id="it may stand in a file"),
        pytest.param({**PLAIN, "args": ["--shutdown-timeout=$T"]}, "unknown", id="a variable of a shell"),
    ],
)
def test_streams_are_drained(container: dict[str, Any], verdict: str | None):
    assert [each.verdict.value for each in said("WG331", deployment(container))] == ([verdict] if verdict else [])


@pytest.mark.parametrize(
    ("container", "good"),
    [
        pytest.param({"env": []}, True, id="the agent's five seconds"),
        pytest.param(
            {"env": [{"name": "WARMGATE_LAME_DUCK", "value": "0"}], "lifecycle": SLEEP}, True, id="a pause instead"
        ),
        pytest.param({"env": [{"name": "WARMGATE_LAME_DUCK", "value": "1"}]}, False, id="one second"),
        pytest.param({**PLAIN, "lifecycle": SLEEP}, True, id="vLLM behind a pause"),
        pytest.param(
            {**PLAIN, "lifecycle": {"preStop": {"exec": {"command": ["/drain.sh"]}}}}, True, id="a hook of its own"
        ),
        pytest.param(hook("/bin/sh", "-c", "ray stop"), False, id="a hook that stops Ray"),
        pytest.param(hook("sh", "-c", "kill -TERM 1"), False, id="a hook that kills"),
        pytest.param(hook("sh", "-c", "kill -TERM 1; while kill -0 1; do sleep 5; done"), True, id="it waits then"),
        pytest.param(hook("sh", "-c", "until curl -s localhost/idle; do :; done"), True, id="it asks until it is idle"),
        pytest.param(hook("sleep", "0"), False, id="no second"),
        pytest.param(
            {**PLAIN, "lifecycle": {"preStop": {"sleep": {"seconds": 0}}}}, False, id="no second of Kubernetes"
        ),
        pytest.param({**PLAIN, "lifecycle": {"postStart": {"sleep": {"seconds": 9}}}}, False, id="a hook at the start"),
        pytest.param(PLAIN, False, id="vLLM at once"),
    ],
)
def test_endpoints_get_the_time_to_let_go(container: dict[str, Any], good: bool):
    assert (said("WG332", deployment(container)) == []) is good


def test_numbers_of_a_config_map_are_compared_too():
    numbers = {"WARMGATE_LAME_DUCK": "10", "WARMGATE_DRAIN_TIMEOUT": "600"}
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "agent", "namespace": "llm"}}
    container = {"env": [], "envFrom": [{"configMapRef": {"name": "agent"}}]}
    (finding,) = said("WG330", deployment(container), {**document, "data": numbers})
    assert finding.expected == "at least 620 s (lame duck 10 + drain 600 + teardown 10)"
