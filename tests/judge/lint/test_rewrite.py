from __future__ import annotations

from typing import Any

import pytest

from tests.judge.lint.asked import asked, said
from tests.judge.lint.mutate import base, changed

RUNTIME, SERVICE = "ServingRuntime/qwen-1a2b3c4d", "InferenceService/qwen"
TYPE = 'metadata.annotations["serving.kserve.io/server-type"]'
NO_GPU: dict[str, Any] = {"in": SERVICE, "set": "spec.predictor.model.resources", "to": {"limits": {"cpu": "1"}}}


def of_type(server: str, *changes: dict[str, Any]) -> list[dict[str, Any]]:
    return changed(base("kserve"), [{"in": RUNTIME, "set": TYPE, "to": server}, *changes])


def image(text: str) -> dict[str, Any]:
    return {"in": RUNTIME, "set": "spec.containers[0].image", "to": text}


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        pytest.param("vllm/vllm-openai:v0.32.0", "vllm/vllm-openai-cpu:v0.32.0", id="a tag"),
        pytest.param("reg:5000/vllm:1", "reg:5000/vllm-cpu:1", id="a registry with a port"),
        pytest.param("reg:5000/vllm", "", id="no tag"),
        pytest.param("vllm/vllm-openai@sha256:" + "0" * 64, "", id="a digest"),
        pytest.param("vllm/vllm-openai:v0.32.0@sha256:" + "0" * 64, "", id="a tag and a digest"),
        pytest.param("vllm/vllm-openai-cpu:v0.32.0", "", id="the CPU build itself"),
    ],
)
def test_without_a_gpu_the_image_becomes_its_cpu_build(name: str, becomes: str):
    found = said("WG308", *of_type("vllmserver", NO_GPU, image(name)))
    assert [f"becomes {becomes}:" in each.observed for each in found] == ([True] if becomes else [])


@pytest.mark.parametrize("resource", ["nvidia.com/gpu", "nvidia.com/mig-1g.10gb"])
def test_what_kserve_takes_for_a_gpu_keeps_the_image(resource: str):
    gpu = {**NO_GPU, "to": {"limits": {resource: "1"}}}
    assert said("WG308", *of_type("vllmserver", gpu)) == []
    assert asked("WG308", *of_type("vllmserver", gpu))


def test_a_request_alone_is_no_gpu_to_kserve():
    assert said("WG308", *of_type("vllmserver", {**NO_GPU, "to": {"requests": {"nvidia.com/gpu": "1"}}}))


def test_a_runtime_version_keeps_the_image():
    version = {"in": SERVICE, "set": "spec.predictor.model.runtimeVersion", "to": "v0.32.0"}
    assert said("WG308", *of_type("vllmserver", NO_GPU, version)) == []


def test_a_runtime_without_a_server_type_keeps_the_image():
    assert said("WG308", *changed(base("kserve"), [NO_GPU])) == []


def test_kserves_preset_is_known_without_its_document():
    documents = changed(
        base("kserve"),
        [NO_GPU, {"drop": RUNTIME}, {"in": SERVICE, "set": "spec.predictor.model.runtime", "to": "kserve-vllmserver"}],
    )
    (found,) = said("WG308", *documents)
    assert found.observed.startswith("vllm/vllm-openai:latest becomes vllm/vllm-openai-cpu:latest")


@pytest.mark.parametrize(
    ("name", "trips"),
    [
        pytest.param("registry/hf:v1", True, id="a GPU build that may not be there"),
        pytest.param("registry/hf:v1-gpu", False, id="the GPU build itself"),
        pytest.param("kserve/huggingfaceserver:v0.20.0", False, id="KServe's own has one"),
    ],
)
def test_a_hugging_face_image_gets_the_suffix_of_its_gpu_build(name: str, trips: bool):
    assert bool(said("WG308", *of_type("huggingfaceserver", image(name)))) is trips


def test_a_canary_that_loses_its_gpu_is_named():
    canary = {
        "in": SERVICE,
        "set": "spec.canary",
        "to": [{"trafficPercent": 10, "predictor": {"name": "r2", "model": {"runtime": "kserve-vllmserver"}}}],
    }
    preset = {
        "add": {
            "apiVersion": "serving.kserve.io/v1alpha1",
            "kind": "ClusterServingRuntime",
            "metadata": {"name": "kserve-vllmserver"},
            "spec": {"containers": [{"name": "kserve-container", "image": "vllm/vllm-openai:v0.32.0"}]},
        }
    }
    shared = {**NO_GPU, "to": {"limits": {"nvidia.com/gpu.shared": "1"}}}
    (found,) = said("WG308", *changed(base("kserve"), [canary, preset, shared]))
    assert "canary" in found.subject
    assert found.observed.endswith("nvidia.com/gpu.shared is no GPU to KServe")
