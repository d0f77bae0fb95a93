from __future__ import annotations

from typing import Any

import pytest

from tests.judge.lint.asked import asked, deployment, said

PLAIN = {"image": "vllm/vllm-openai:v0.32.0", "env": []}


def http(path: str, port: Any = "http", **more: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port}, **more}


@pytest.mark.parametrize(
    ("readiness", "real"),
    [
        pytest.param(http("/readyz", "admin"), True, id="the agent's"),
        pytest.param(http("/ready", 8081), True, id="its other name, by number"),
        pytest.param(http("/v2/models/qwen/ready", "admin"), True, id="the Open Inference Protocol's"),
        pytest.param({"exec": {"command": ["curl", "-fs", "localhost:8081/readyz"]}}, True, id="by curl"),
        pytest.param({"exec": {"command": ["sh", "-c", "curl -d@p :8080/v1/completions"]}}, True, id="a generation"),
        pytest.param({"exec": {"command": ["curl", "-f", "localhost:8080/health"]}}, False, id="health by curl"),
        pytest.param(http("/modelz", "admin"), False, id="the agent's report, always 200"),
        pytest.param(http("/ping"), False, id="ping"),
        pytest.param(http("/health?x=1"), False, id="health with a query"),
        pytest.param({"tcpSocket": {"port": "admin"}}, False, id="TCP"),
        pytest.param(None, False, id="none"),
    ],
)
def test_readiness_is_real_where_the_model_is_asked(readiness: dict[str, Any] | None, real: bool):
    manifest = deployment({"readinessProbe": readiness})
    assert asked("WG323", manifest)
    assert (said("WG323", manifest) == []) is real


@pytest.mark.parametrize(
    ("liveness", "patient"),
    [
        pytest.param(None, True, id="none"),
        pytest.param(http("/livez", "admin", timeoutSeconds=1), True, id="the agent answers while the engine is busy"),
        pytest.param({"tcpSocket": {"port": "http"}}, True, id="the kernel accepts for a busy server"),
        pytest.param(http("/health", timeoutSeconds=5, failureThreshold=3), True, id="30 s of silence"),
        pytest.param(http("/health", timeoutSeconds=1, failureThreshold=10), True, id="ten short looks"),
        pytest.param(http("/health", timeoutSeconds=1, failureThreshold=3), False, id="three short looks"),
        pytest.param(http("/health", 8080, timeoutSeconds=5, periodSeconds=5), False, id="15 s of silence"),
        pytest.param(http("/health", timeoutSeconds=30, failureThreshold=1, periodSeconds=90), False, id="one look"),
        pytest.param({"exec": {"command": ["curl", "localhost:8080/health"]}}, False, id="by curl"),
        pytest.param(http("/ready", "admin", failureThreshold=100), False, id="readiness as liveness"),
    ],
)
def test_liveness_is_patient_with_a_busy_engine(liveness: dict[str, Any] | None, patient: bool):
    assert (said("WG324", deployment({"livenessProbe": liveness})) == []) is patient


@pytest.mark.parametrize(
    ("container", "good"),
    [
        pytest.param(
            {"startupProbe": http("/readyz", "admin", initialDelaySeconds=290, periodSeconds=5)}, True, id="delay"
        ),
        pytest.param({"startupProbe": http("/readyz", "admin", initialDelaySeconds=60)}, False, id="a short delay"),
        pytest.param({"startupProbe": http("/readyz", "admin", failureThreshold=30)}, True, id="exactly the load"),
        pytest.param({"startupProbe": http("/readyz", "admin", failureThreshold=29)}, False, id="one look less"),
    ],
)
def test_the_startup_budget_is_delay_and_all_looks(container: dict[str, Any], good: bool):
    assert (said("WG321", deployment(container)) == []) is good


def test_an_undeclared_load_is_no_matter_of_budgets():
    manifest = deployment({"startupProbe": http("/readyz", "admin")})
    del manifest["metadata"]["annotations"]["warmgate/load-seconds"]
    assert not asked("WG321", manifest)
    assert not asked("WG325", manifest)


@pytest.mark.parametrize(
    ("env", "image", "good"),
    [
        pytest.param([], "warmgate:1", True, id="the agent passes on its 1800 s"),
        pytest.param([], "vllm/vllm-openai:v1", True, id="vLLM's 600 s are enough for 450 s"),
        pytest.param(
            [{"name": "WARMGATE_STARTUP_TIMEOUT", "value": "900"}], "warmgate:1", True, id="the agent's 900 s"
        ),
        pytest.param(
            [{"name": "VLLM_ENGINE_READY_TIMEOUT_S", "value": "449"}], "vllm/vllm-openai:v1", False, id="449 s"
        ),
        pytest.param(
            [{"name": "WARMGATE_STARTUP_TIMEOUT", "value": "449"}], "warmgate:1", False, id="the agent's 449 s"
        ),
    ],
)
def test_the_engine_must_wait_as_long_as_its_probe(env: list[Any], image: str, good: bool):
    assert (said("WG322", deployment({"env": env, "image": image})) == []) is good


def test_vllms_default_of_ten_minutes_is_named():
    probe = http("/health", 8000, failureThreshold=90)
    (finding,) = said("WG322", deployment({**PLAIN, "startupProbe": probe}))
    assert finding.observed == "VLLM_ENGINE_READY_TIMEOUT_S is 600 s by default"
    assert finding.expected == "at least 900 s (90 x 10 = 900 s)"
    assert finding.remedy == 'set VLLM_ENGINE_READY_TIMEOUT_S to "900" or more'


@pytest.mark.parametrize(
    ("startup", "liveness", "good"),
    [
        pytest.param(None, http("/livez", "admin"), True, id="the agent lives while the engine loads"),
        pytest.param(None, {"tcpSocket": {"port": "admin"}}, True, id="the agent listens while the engine loads"),
        pytest.param(None, http("/health"), False, id="vLLM refuses until it has loaded"),
        pytest.param(None, http("/health", initialDelaySeconds=270), True, id="a delay as long as the load"),
        pytest.param(http("/readyz", "admin", failureThreshold=45), http("/health"), True, id="held back"),
        pytest.param(http("/health", failureThreshold=45), http("/health"), True, id="held back by vLLM itself"),
        pytest.param({"tcpSocket": {"port": "http"}}, http("/health"), True, id="held back by vLLM's closed port"),
        pytest.param({"tcpSocket": {"port": "admin"}}, http("/health"), False, id="the agent's port is open at once"),
    ],
)
def test_liveness_waits_for_the_load(startup: Any, liveness: Any, good: bool):
    manifest = deployment({"startupProbe": startup, "livenessProbe": liveness})
    assert asked("WG325", manifest)
    assert (said("WG325", manifest) == []) is good


@pytest.mark.parametrize(
    ("container", "good"),
    [
        pytest.param({"readinessProbe": http("/readyz", 8081)}, True, id="the agent's port by number"),
        pytest.param({"readinessProbe": http("/readyz", "8081")}, True, id="a number in quotes"),
        pytest.param({"readinessProbe": http("/health", 8000)}, False, id="vLLM's default port beside --port"),
        pytest.param(
            {"readinessProbe": http("/x", 9000), "args": ["--config=/c.yaml"]}, True, id="a port nobody knows"
        ),
        pytest.param({**PLAIN, "args": ["--model=m"]}, False, id="8080 is declared and 8000 listened on"),
    ],
)
def test_probes_reach_what_listens(container: dict[str, Any], good: bool):
    assert (said("WG326", deployment(container)) == []) is good


def test_a_probe_may_ask_a_sidecar():
    manifest = deployment({"readinessProbe": http("/ready", 9090)})
    spec = manifest["spec"]["template"]["spec"]
    spec["containers"].append({"name": "proxy", "image": "proxy:1", "ports": [{"containerPort": 9090}]})
    assert said("WG326", manifest) == []
    spec["containers"][1]["livenessProbe"] = http("/", "gone")
    (finding,) = said("WG326", manifest)
    assert finding.subject == "Deployment/llm/qwen (proxy)"


@pytest.mark.parametrize("code", [f"WG32{number}" for number in range(7)])
def test_pods_that_run_no_vllm_are_left_alone(code: str):
    web = deployment({"image": "nginx:1.27", "args": None, "readinessProbe": None, "startupProbe": http("/", "gone")})
    assert not asked(code, web)


@pytest.mark.parametrize("code", [f"WG32{number}" for number in range(6)])
def test_finite_work_may_do_without_probes(code: str):
    assert not asked(code, deployment({"startupProbe": None, "readinessProbe": None}) | {"kind": "Job"})
