from __future__ import annotations

from typing import Any

import pytest

from serving.verdict import Verdict
from tests.judge.lint.asked import asked, deployment, said
from tests.judge.lint.mutate import base

TELEMETRY_OFF = {"name": "VLLM_NO_USAGE_STATS", "value": "1"}
PLAIN_ENGINE = {"command": ["vllm", "serve", "/mnt/models"], "args": [], "image": "vllm/vllm-openai:v0.32.0"}


def with_args(*words: str) -> dict[str, Any]:
    return deployment({"args": ["--model=/mnt/models", *words]})


def with_env(**variables: str) -> dict[str, Any]:
    return deployment({"env": [{"name": name, "value": value} for name, value in variables.items()]})


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--enable_log_requests"], id="with underscores"),
        pytest.param(["--no-enable-log-requests", "--enable-log-requests"], id="the last of two counts"),
        pytest.param(["--enable-log-requests", "--enable-log-outputs"], id="answers too"),
        pytest.param(["--enable-log-requests", "--max-log-len", "10"], id="cut short is not hidden"),
        pytest.param(["--log-error-stack"], id="stack traces"),
        pytest.param(["--kv-events-config.enable_kv_cache_events", "true"], id="KV events, dotted"),
        pytest.param(["--kv-events-config", '{"enable_kv_cache_events": true}'], id="KV events by zmq, the default"),
        pytest.param(["--kv-transfer-config", '{"kv_connector": "ExampleConnector"}'], id="KV on disk"),
        pytest.param(
            [
                "--kv-transfer-config",
                '{"kv_connector": "MultiConnector", "kv_connector_extra_config": {"connectors": '
                '[{"kv_connector": "NixlConnector"}, {"kv_connector": "MooncakeStoreConnector"}]}}',
            ],
            id="a store among several connectors",
        ),
    ],
)
def test_an_option_that_writes_prompts_is_found(words: list[str]):
    assert said("WG383", with_args(*words))


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--disable-log-requests"], id="the older way to keep it off"),
        pytest.param(["--enable-log-requests", "--no-enable-log-requests"], id="taken back"),
        pytest.param(["--kv-events-config", '{"enable_kv_cache_events": false}'], id="events off"),
        pytest.param(["--kv-events-config", '{"enable_kv_cache_events": true, "publisher": "null"}'], id="to nobody"),
        pytest.param(["--kv-transfer-config", '{"kv_connector": "NixlConnector"}'], id="from Pod to Pod"),
        pytest.param(["--kv-transfer-config", "{not json"], id="what vLLM will refuse itself"),
        pytest.param(["--kv-offloading-size", "8"], id="KV in the machine's memory"),
        pytest.param(["--otlp-traces-endpoint", "http://otel:4317"], id="traces hold no text"),
        pytest.param(["--max-log-len", "0"], id="a length alone"),
    ],
)
def test_an_option_that_writes_no_prompts_is_left_alone(words: list[str]):
    assert asked("WG383", with_args(*words))
    assert said("WG383", with_args(*words)) == []


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        pytest.param({"VLLM_LOGGING_LEVEL": "Debug"}, True, id="DEBUG in any letters"),
        pytest.param({"VLLM_LOGGING_LEVEL": "INFO"}, False, id="INFO"),
        pytest.param({"VLLM_DEBUG_LOG_API_SERVER_RESPONSE": "true"}, True, id="answers"),
        pytest.param({"VLLM_DEBUG_LOG_API_SERVER_RESPONSE": "1"}, False, id="1 is not true to this one"),
        pytest.param({"VLLM_SERVER_DEV_MODE": "1"}, True, id="dev mode"),
        pytest.param({"VLLM_SERVER_DEV_MODE": "0"}, False, id="no dev mode"),
        pytest.param({"VLLM_ENABLE_RESPONSES_API_STORE": "1"}, True, id="stored conversations"),
        pytest.param({"LMCACHE_REMOTE_URL": "redis://cache:6379"}, True, id="KV in a store"),
        pytest.param({"LMCACHE_USE_EXPERIMENTAL": "True"}, False, id="KServe's own runtime, without a store"),
        pytest.param({"VLLM_TRACE_FUNCTION": "1"}, False, id="names of functions"),
    ],
)
def test_a_variable_is_read_as_vllm_reads_it(variables: dict[str, str], found: bool):
    assert bool(said("WG383", with_env(**variables))) is found


def test_a_variable_in_a_script_counts():
    script = "export VLLM_LOGGING_LEVEL=DEBUG; exec vllm serve /mnt/models"
    (finding,) = said("WG383", deployment({"command": ["bash", "-c", script], "args": []}))
    assert "VLLM_LOGGING_LEVEL=DEBUG" in finding.observed


def test_a_runtime_that_nobody_uses_yet_is_read_too():
    runtime = next(one for one in base("kserve") if one["kind"] == "ServingRuntime")
    runtime["spec"]["containers"][0]["args"].append("--enable-log-requests")
    (finding,) = said("WG383", runtime)
    assert finding.subject.startswith("ServingRuntime/llm/")


def test_loggers_of_canaries_and_transformers_count():
    documents = base("kserve")
    service = next(one for one in documents if one["kind"] == "InferenceService")
    service["spec"]["transformer"] = {"logger": {"mode": "request"}}
    service["spec"]["canary"] = [{"trafficPercent": 10, "predictor": {"logger": {"mode": "response"}}}]
    found = [each.observed for each in said("WG383", *documents)]
    assert found == ["KServe's logger posts every request as it is", "KServe's logger posts every answer as it is"]


@pytest.mark.parametrize(
    ("container", "verdict"),
    [
        pytest.param({"env": []}, None, id="the agent turns it off by itself"),
        pytest.param({"env": [{"name": "VLLM_NO_USAGE_STATS", "value": "0"}]}, Verdict.FAIL, id="switched on"),
        pytest.param({**PLAIN_ENGINE, "env": []}, Verdict.FAIL, id="vLLM's own default"),
        pytest.param({**PLAIN_ENGINE, "env": [TELEMETRY_OFF]}, None, id="off"),
        pytest.param({**PLAIN_ENGINE, "env": [{"name": "DO_NOT_TRACK", "value": "1"}]}, None, id="off for all"),
        pytest.param(
            {**PLAIN_ENGINE, "env": [{"name": "VLLM_NO_USAGE_STATS", "value": "true"}]}, Verdict.FAIL, id="not by true"
        ),
        pytest.param(
            {**PLAIN_ENGINE, "env": [], "envFrom": [{"configMapRef": {"name": "gone"}}]},
            Verdict.UNKNOWN,
            id="a ConfigMap that is not there",
        ),
        pytest.param(
            {**PLAIN_ENGINE, "env": [], "envFrom": [{"secretRef": {"name": "keys"}}]}, Verdict.FAIL, id="keys alone"
        ),
        pytest.param(
            {"command": ["sh", "-c", "VLLM_NO_USAGE_STATS=1 vllm serve /m"], "args": [], "env": []}, None, id="script"
        ),
        pytest.param(
            {"command": ["vllm", "bench", "serve"], "args": [], "env": []}, None, id="a client reports nothing"
        ),
    ],
)
def test_usage_telemetry_is_off_only_where_the_engine_will_read_so(container: dict[str, Any], verdict: Verdict | None):
    found = said("WG384", deployment({"envFrom": None, **container}))
    assert [each.verdict for each in found] == ([verdict] if verdict else [])
