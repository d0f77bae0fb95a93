"""What can never work is refused while rendering, in one sentence that names the remedy."""

from __future__ import annotations

import re
from typing import Any

import pytest
from helm_python import HelmRenderError

from tests.helm.scenarios import over, render, scenario

CANARY = scenario("canary")
KEDA = scenario("keda")
MULTI_NODE = scenario("multi-node")
SLICED = scenario("time-slicing-dev")
BARE = {"kserve": {"enabled": False}}
CACHE = {"kserve": {"localModelCache": {"enabled": True, "modelSize": "2Gi", "nodeGroups": ["gpu"]}}}
STORE = {"networkPolicy": {"modelStore": [{"cidr": "0.0.0.0/0", "ports": [443]}]}}
FETCHED = over(STORE, {"model": {"storageUri": "s3://models/qwen/r1"}})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        pytest.param(
            over(CANARY, {"canary": {"storageUri": "pvc://models/qwen3-0.6b/r1"}}),
            "canary.storageUri must differ from model.storageUri",
            id="canary-with-the-stable-uri",
        ),
        pytest.param(over(CANARY, {"canary": {"storageUri": ""}}), "canary.storageUri is empty", id="canary-no-uri"),
        pytest.param(over(CANARY, {"canary": {"release": "r1"}}), "canary.release r1 is", id="canary-of-the-same-name"),
        pytest.param(
            over(CANARY, {"canary": {"replicas": 0, "trafficPercent": 0}}),
            "canary.replicas 0 is a canary without Pods",
            id="canary-0-percent-0-replicas",
        ),
        pytest.param(
            over(CANARY, {"canary": {"replicas": 5}, "gpu": {"poolSize": 0}}),
            "canary.replicas 5 exceeds endpoint.replicas 4",
            id="canary-larger-than-stable",
        ),
        pytest.param(
            over(CANARY, {"autoscaling": {"class": "keda"}}), "KEDA and a canary exclude each other", id="keda-canary"
        ),
        pytest.param(
            over(CANARY, CACHE, FETCHED, {"canary": {"storageUri": "s3://models/qwen/r2"}}),
            "kserve.localModelCache and a canary exclude each other",
            id="model-cache-and-canary",
        ),
        pytest.param(over(CANARY, BARE), "canary needs kserve.enabled", id="canary-without-kserve"),
        pytest.param(CACHE, "is not downloaded", id="model-cache-of-a-pvc"),
        pytest.param(
            over(CACHE, FETCHED, {"kserve": {"localModelCache": {"nodeGroups": []}}}),
            "kserve.localModelCache needs modelSize and nodeGroups",
            id="model-cache-without-nodes",
        ),
        pytest.param(
            over(CACHE, BARE, STORE, {"model": {"storageUri": "hf://Qwen/Qwen3-0.6B"}}),
            "kserve.localModelCache needs kserve.enabled",
            id="model-cache-without-kserve",
        ),
        pytest.param(
            over(SLICED, {"class": "production"}), "refused for class production", id="time-slicing-in-production"
        ),
        pytest.param(over(SLICED, {"gpu": {"count": 2}}), "two slices are not more of it", id="two-slices-of-one-gpu"),
        pytest.param(
            over(SLICED, {"model": {"gpuMemoryUtilization": 0}}),
            "a time-sliced GPU needs model.gpuMemoryUtilization",
            id="a-slice-that-takes-all-memory",
        ),
        pytest.param(
            over(SLICED, {"gpu": {"claim": {"enabled": True}}}), "gpu.claim asks for whole devices", id="sliced-claim"
        ),
        pytest.param(
            over(scenario("mig"), {"gpu": {"count": 2}}),
            "vLLM cannot spread one model over slices",
            id="two-mig-slices",
        ),
        pytest.param({"gpu": {"resource": "nvidia.com/gpus"}}, "is none that NVIDIA's", id="a-misspelt-resource"),
        pytest.param({"gpu": {"resource": "nvidia.com/mig-1g10gb"}}, "is none that NVIDIA's", id="a-misspelt-profile"),
        pytest.param(
            {"model": {"resources": {"limits": {"nvidia.com/gpu": "2"}}}},
            "model.resources.limits has nvidia.com/gpu",
            id="a-second-gpu-limit",
        ),
        pytest.param(
            {"pod": {"nodeSelector": {"nvidia.com/gpu.product": "L4"}}},
            "pod.nodeSelector has nvidia.com/gpu.product",
            id="a-second-gpu-selector",
        ),
        pytest.param(
            {"pod": {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}},
            "pod.tolerations has nvidia.com/gpu",
            id="a-second-gpu-toleration",
        ),
        pytest.param(
            {"model": {"args": ["--tensor-parallel-size=2"]}}, "use gpu.count, which it equals", id="tensor-parallel"
        ),
        pytest.param({"model": {"args": ["--tensor_parallel_size", "2"]}}, "use gpu.count", id="underscores"),
        pytest.param({"model": {"args": ["--api-key=hush"]}}, "use model.apiKey.secretName", id="key-in-args"),
        pytest.param({"model": {"args": ["--shutdown-timeout=0"]}}, "use endpoint.drainSeconds", id="shutdown-timeout"),
        pytest.param(
            over(CANARY, {"canary": {"args": ["--port=9"]}}),
            "canary.args has --port, which the chart",
            id="canary-args",
        ),
        pytest.param({"model": {"env": {"PYTHONPATH": "/x"}}}, "model.env has PYTHONPATH", id="pythonpath"),
        pytest.param({"model": {"env": {"VLLM_API_KEY": "x"}}}, "use model.apiKey.secretName", id="key-in-env"),
        pytest.param({"model": {"env": {"WARMGATE_LAME_DUCK": 1}}}, "use endpoint.lameDuckSeconds", id="computed-env"),
        pytest.param(
            {"model": {"storageUri": "hf://Qwen/Qwen3-0.6B"}},
            "name the store in networkPolicy.modelStore",
            id="no-way-out",
        ),
        pytest.param(over(BARE, FETCHED), "s3://models/qwen/r1 needs KServe", id="s3-without-kserve"),
        pytest.param(over(MULTI_NODE, BARE), "multiNode needs kserve.enabled", id="multi-node-without-kserve"),
        pytest.param(
            over(MULTI_NODE, {"endpoint": {"replicas": 2}, "gpu": {"poolSize": 0}}),
            "multiNode needs endpoint.replicas 1",
            id="two-heads",
        ),
        pytest.param(
            over(MULTI_NODE, {"gpu": {"claim": {"enabled": True}}}),
            "multiNode needs whole GPUs",
            id="multi-node-claims",
        ),
        pytest.param(
            over(MULTI_NODE, {"autoscaling": {"class": "keda"}, "gpu": {"poolSize": 0}}),
            "multiNode needs autoscaling.class none",
            id="multi-node-keda",
        ),
        pytest.param(
            over(MULTI_NODE, {"canary": {"enabled": True, "storageUri": "pvc://models/x/r2"}}),
            "KServe allows no canary of a multi-node predictor",
            id="multi-node-canary",
        ),
        pytest.param(
            over(MULTI_NODE, FETCHED), "multiNode needs a model.storageUri of pvc:// or oci://", id="multi-node-s3"
        ),
        pytest.param(
            {"endpoint": {"strategy": {"maxSurge": 0}}}, "allows no rollout", id="neither-surge-nor-unavailable"
        ),
        pytest.param(over(KEDA, {"autoscaling": {"maxReplicas": 1}}), "is below endpoint.replicas 2", id="keda-range"),
        pytest.param(
            over(KEDA, {"autoscaling": {"maxReplicas": 9}}),
            "9 replicas x 1 GPUs = 9 exceed gpu.poolSize 8",
            id="keda-beyond-the-pool",
        ),
        pytest.param(
            over(scenario("multi-gpu"), {"endpoint": {"replicas": 5}}),
            "5 replicas x 4 GPUs = 20 exceed gpu.poolSize 16",
            id="replicas-beyond-the-pool",
        ),
        pytest.param(
            {"endpoint": {"replicas": 8}, "gpu": {"poolSize": 8}},
            "no rollout could ever finish",
            id="no-room-for-surge",
        ),
        pytest.param(
            {"endpoint": {"replicas": 3}, "resourceQuota": {"enabled": True, "gpus": 2}},
            "exceed resourceQuota.gpus 2",
            id="replicas-beyond-the-quota",
        ),
        pytest.param({"resourceQuota": {"enabled": True}}, "resourceQuota.enabled bounds nothing", id="empty-quota"),
        pytest.param({"fullnameOverride": "vllm"}, "inject VLLM_PORT", id="a-service-named-vllm"),
        pytest.param({"fullnameOverride": "x" * 46}, "more than 63 characters", id="too-long-for-kserves-label"),
        pytest.param({"fullnameOverride": "true"}, '"true" is no text', id="a-name-that-yaml-reads-as-a-boolean"),
        pytest.param({"model": {"release": "on"}}, '"on" is no text', id="a-release-that-is-a-boolean"),
        pytest.param(
            {"pod": {"labels": {"app.kubernetes.io/name": "x"}}}, "which the chart or KServe sets", id="a-label-of-ours"
        ),
        pytest.param({"pod": {"labels": {"component": "x"}}}, "which the chart or KServe sets", id="a-label-of-kserve"),
        pytest.param({"model": {"storageUri": "pvc://models//r1"}}, "is no pvc://CLAIM/PATH", id="an-absolute-path"),
        pytest.param({"model": {"storageUri": "pvc://models/../r1"}}, "is no pvc://CLAIM/PATH", id="a-path-upwards"),
    ],
)
def test_the_chart_refuses(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HelmRenderError, match=re.escape(sentence)) as refusal:
        render(values)
    said = str(refusal.value).split("error calling fail:")[-1].strip()
    assert "\n" not in said


def test_a_host_that_kserve_cannot_make_is_refused() -> None:
    """Beside qwen-llm there is qwen-predictor-llm, and no label of a host has more than 63 characters."""
    assert render({}, name="q" * 40, namespace="l" * 12)
    with pytest.raises(HelmRenderError, match="first label of a host at the gateway"):
        render({}, name="q" * 40, namespace="l" * 13)


def test_a_release_name_that_kserve_rejects_is_refused() -> None:
    with pytest.raises(HelmRenderError, match="must start with a letter"):
        render({}, name="7b")


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(over(CANARY, {"canary": {"replicas": 4}}), id="the-step-before-a-promotion"),
        pytest.param(over(CANARY, {"canary": {"trafficPercent": 0}}), id="a-dark-canary"),
        pytest.param({"endpoint": {"replicas": 7}, "gpu": {"poolSize": 8}}, id="one-gpu-to-spare"),
        pytest.param(
            {"endpoint": {"replicas": 8, "strategy": {"maxSurge": 0, "maxUnavailable": 1}}, "gpu": {"poolSize": 8}},
            id="no-gpu-to-spare-and-no-surge",
        ),
        pytest.param(over(CACHE, FETCHED), id="a-cache-of-what-is-downloaded"),
        pytest.param(
            over(CACHE, {"model": {"storageUri": "hf://Qwen/Qwen3-0.6B"}}), id="a-cache-instead-of-a-way-to-the-store"
        ),
        pytest.param({"model": {"storageUri": "pvc://models"}}, id="all-of-a-claim"),
        pytest.param({"pod": {"labels": {"app.kubernetes.io/version": "7"}}}, id="a-label-that-nobody-sets"),
        pytest.param({"model": {"storageUri": "pvc://models/r1/"}}, id="a-slash-at-the-end"),
        pytest.param({"gpu": {"resource": "nvidia.com/mig-3g.40gb"}}, id="a-larger-profile"),
        pytest.param({"model": {"args": ["--max-num-seqs=64"]}}, id="an-argument-of-vllm"),
        pytest.param(over(BARE, STORE, {"model": {"storageUri": "hf://Qwen/Qwen3-0.6B:main"}}), id="hf-without-kserve"),
    ],
)
def test_what_is_close_to_a_refusal_still_renders(values: dict[str, Any]) -> None:
    assert render(values)
