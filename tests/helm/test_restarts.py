"""What restarts an endpoint: KServe copies metadata into Pods, and the edit of a runtime reaches all that use it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python import Chart

from tests.helm.pods import pods
from tests.helm.scenarios import CHART, only, over, render, scenario, texts


@pytest.mark.parametrize("name", ["single-gpu", "canary", "multi-node", "no-kserve", "dra"])
def test_a_new_chart_version_restarts_nothing(name: str, tmp_path: Path) -> None:
    shutil.copytree(CHART, tmp_path / "warmgate")
    about = tmp_path / "warmgate" / "Chart.yaml"
    about.write_text(about.read_text(encoding="utf-8").replace("version: 0.1.0", "version: 0.2.0"), encoding="utf-8")
    before, after = texts(scenario(name)), texts(scenario(name), source=Chart.load(tmp_path / "warmgate"))
    assert before["serviceaccount.yaml"] != after["serviceaccount.yaml"]  # the bump took effect
    for path in ("inferenceservice.yaml", "servingruntime.yaml"):
        assert before[path] == after[path]
    if name == "no-kserve":
        old, new = (yaml.safe_load(each["deployment.yaml"])["spec"] for each in (before, after))
        assert old == new


def test_the_runtime_is_named_after_its_spec() -> None:
    for name in ("single-gpu", "multi-node", "air-gapped"):
        runtime = only(render(scenario(name)), "ServingRuntime")
        canonical = json.dumps(runtime["spec"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        canonical = canonical.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
        assert runtime["metadata"]["name"] == f"qwen-{hashlib.sha256(canonical.encode()).hexdigest()[:8]}"


@pytest.mark.parametrize(
    ("values", "new"),
    [
        pytest.param({"image": {"tag": "0.1.1"}}, True, id="image"),
        pytest.param({"endpoint": {"drainSeconds": 90}}, True, id="drain"),
        pytest.param({"endpoint": {"loadSeconds": 400}}, True, id="load-time"),
        pytest.param({"model": {"env": {"VLLM_LOGGING_LEVEL": "INFO"}}}, True, id="environment"),
        pytest.param({"endpoint": {"replicas": 3}}, False, id="replicas"),
        pytest.param({"model": {"args": ["--max-num-seqs=8"]}}, False, id="arguments"),
        pytest.param({"model": {"storageUri": "pvc://models/other"}}, False, id="weights"),
        pytest.param({"gpu": {"poolSize": 80}}, False, id="pool"),
        pytest.param({"priorityClass": {"name": "high"}}, False, id="priority"),
    ],
)
def test_the_runtime_gets_a_new_name_only_with_a_new_spec(values: dict[str, Any], new: bool) -> None:
    before, after = only(render({}), "ServingRuntime"), only(render(values), "ServingRuntime")
    assert (before["metadata"]["name"] != after["metadata"]["name"]) is new
    assert (before["spec"] != after["spec"]) is new


def test_other_weights_are_another_model_cache() -> None:
    """Its URI cannot be changed in place; its name is the value of a label in KServe, for the longest endpoint too."""

    def name(uri: str, **release: Any) -> str:
        values = {
            "kserve": {"localModelCache": {"enabled": True, "modelSize": "2Gi", "nodeGroups": ["gpu"]}},
            "model": {"storageUri": uri},
        }
        found: str = only(render(values, **release), "LocalModelCache")["metadata"]["name"]
        return found

    assert name("hf://Qwen/Qwen3-0.6B") == name("hf://Qwen/Qwen3-0.6B") != name("hf://Qwen/Qwen3-8B")
    assert len(name("hf://Qwen/Qwen3-0.6B", name="q" * 40, namespace="l" * 12)) <= 63


def test_a_changed_claim_is_a_new_claim_template() -> None:
    """Its spec cannot be changed in place."""
    values = scenario("dra")
    templates = [
        only(render(over(values, {"gpu": {"claim": {"expression": each}}})), "ResourceClaimTemplate")
        for each in ("true", "1 > 0", "true")
    ]
    names = [each["metadata"]["name"] for each in templates]
    assert names[0] == names[2] != names[1]
    (pod,) = pods(render(values))
    assert pod.spec["resourceClaims"] == [
        {
            "name": "gpu",
            "resourceClaimTemplateName": only(render(values), "ResourceClaimTemplate")["metadata"]["name"],
        }
    ]
