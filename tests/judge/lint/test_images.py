from __future__ import annotations

import pytest

from tests.judge.lint.asked import asked, deployment, said


@pytest.mark.parametrize(
    ("image", "pinned"),
    [
        pytest.param("vllm/vllm-openai:v0.32.0", True, id="a release"),
        pytest.param("vllm/vllm-openai@sha256:" + "a" * 64, True, id="a digest"),
        pytest.param("vllm/vllm-openai:latest@sha256:" + "a" * 64, True, id="a digest behind latest"),
        pytest.param("registry:5000/vllm-openai:v1", True, id="a registry with a port, and a tag"),
        pytest.param("nightly/vllm:nightly-0a1b2c", True, id="one night"),
        pytest.param("registry/vllm:{{ .Values.tag }}", True, id="filled in later"),
        pytest.param("registry:5000/vllm-openai", False, id="a registry with a port, and no tag"),
        pytest.param("vllm/vllm-openai", False, id="no tag"),
        pytest.param("vllm/vllm-openai:", False, id="an empty tag"),
        pytest.param("vllm/vllm-openai:LATEST", False, id="latest in capitals"),
        pytest.param("vllm/vllm-openai-cpu:latest-x86_64", False, id="latest of one architecture"),
        pytest.param("vllm/vllm-openai:nightly", False, id="every night"),
    ],
)
def test_a_pinned_image_has_a_digest_or_a_tag_that_stays(image: str, pinned: bool):
    assert asked("WG381", deployment()) is True
    assert (said("WG381", deployment({"image": image})) == []) is pinned


def test_init_containers_and_pods_without_vllm_count_too():
    sidecars = [{"name": "fetch", "image": "busybox"}]
    (finding,) = said("WG381", deployment(initContainers=sidecars))
    assert finding.subject == "Deployment/llm/qwen (fetch)"


def test_an_image_is_told_where_it_was_written():
    runtime = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": "ours", "namespace": "llm"},
        "spec": {"containers": [{"name": "kserve-container", "image": "vllm/vllm-openai"}]},
    }
    model = {"runtime": "ours", "modelFormat": {"name": "vllm"}}
    users = [
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": name, "namespace": "llm"},
            "spec": {"predictor": {"model": model}},
        }
        for name in ("a", "b")
    ]
    (finding,) = said("WG381", runtime, *users)
    assert finding.subject == "ServingRuntime/llm/ours (kserve-container)"
