from __future__ import annotations

from typing import Any

import pytest

from tests.judge.lint.asked import asked, deployment, said
from tests.judge.lint.mutate import base, changed


def engine(gpus: Any, *args: str, resource: str = "nvidia.com/gpu", **container: Any) -> dict[str, Any]:
    return deployment(
        {"args": ["--model=/mnt/models", *args], "resources": {"limits": {resource: gpus}}, **container}, hostIPC=True
    )


@pytest.mark.parametrize(
    ("gpus", "args"),
    [
        pytest.param(1, [], id="one and nothing said"),
        pytest.param(4, ["--tensor-parallel-size=4"], id="equals"),
        pytest.param(4, ["--tensor_parallel_size", "4"], id="underscores"),
        pytest.param(4, ["-tp", "2", "-pp=2"], id="short options"),
        pytest.param(8, ["-tp=2", "--data-parallel-size=4"], id="data parallel"),
        pytest.param(4, ["-tp=4", "--data-parallel-size=2", "--data-parallel-size-local=1"], id="data over two nodes"),
        pytest.param(4, ["-tp=4", "--data-parallel-size=8", "--data-parallel-rank=3"], id="one rank of many"),
        pytest.param(8, ["-tp=8", "-pp=2", "--nnodes=2"], id="half of two nodes"),
        pytest.param(2, ["-tp=1", "-tp=2"], id="the last counts"),
    ],
)
def test_sizes_that_multiply_to_the_gpus_hold(gpus: int, args: list[str]):
    assert said("WG309", engine(gpus, *args)) == []
    assert asked("WG309", engine(gpus, *args))


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(engine(4, "--config=/etc/vllm.yaml"), id="a configuration file"),
        pytest.param(engine(4, "--tensor-parallel-size=$(GPUS)"), id="a variable of unknown value"),
        pytest.param(engine(0, "-tp=2"), id="an engine on CPU"),
        pytest.param(engine(2, "--omni"), id="stages with GPUs of their own"),
        pytest.param(engine(2, resource="nvidia.com/gpu.shared"), id="turns on shared GPUs"),
        pytest.param(engine(4, "--data-parallel-size=4", "--data-parallel-backend=ray"), id="Ray places the ranks"),
        pytest.param(deployment({"image": "trainer:1", "command": ["torchrun"], "args": []}), id="no vLLM"),
    ],
)
def test_what_cannot_be_multiplied_is_left_alone(document: dict[str, Any]):
    assert not asked("WG309", document)


def test_a_variable_with_a_value_counts():
    known: dict[str, Any] = {"env": [{"name": "GPUS", "value": "4"}]}
    assert said("WG309", engine(4, "--tensor-parallel-size=$(GPUS)", **known)) == []
    assert said("WG309", engine(2, "--tensor-parallel-size=$(GPUS)", **known))


@pytest.mark.parametrize(
    ("gpus", "args", "observed"),
    [
        (2, [], "tensor 1 = 1, 2 GPUs"),
        (4, ["-tp=2", "-dp=4"], "tensor 2 x data 4 = 8, 4 GPUs"),
        (8, ["-tp=8", "-pp=2"], "tensor 8 x pipeline 2 = 16, 8 GPUs"),
        (1, ["-tp=2"], "tensor 2 = 2, 1 GPU"),
    ],
)
def test_the_finding_shows_the_product(gpus: int, args: list[str], observed: str):
    (found,) = said("WG309", engine(gpus, *args))
    assert found.observed == observed


def leader_worker_set(size: int, *args: str) -> dict[str, Any]:
    leader = engine(8, *args)["spec"]["template"]
    worker = engine(8)["spec"]["template"]
    worker["spec"]["containers"][0] |= {"command": ["ray", "start", "--block"], "image": "vllm/vllm-openai:v0.32.0"}
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "big", "namespace": "llm"},
        "spec": {"leaderWorkerTemplate": {"size": size, "leaderTemplate": leader, "workerTemplate": worker}},
    }


def test_a_leader_counts_its_workers_gpus():
    assert said("WG309", leader_worker_set(2, "-tp=8", "-pp=2")) == []
    (found, *_) = said("WG309", leader_worker_set(3, "-tp=8", "-pp=2"))
    assert "24 GPUs over head and workers" in found.observed


@pytest.mark.parametrize(
    ("pod", "observed"),
    [
        pytest.param({"hostIPC": True, "volumes": []}, "", id="the host's"),
        pytest.param({"volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}]}, "", id="no limit"),
        pytest.param(
            {"volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}]}, "", id="just enough"
        ),
        pytest.param({"volumes": [{"name": "shm", "hostPath": {"path": "/dev/shm"}}]}, "", id="the node's"),
        pytest.param(
            {"volumes": [{"name": "shm", "emptyDir": {}}]}, "2 GPUs, /dev/shm on disk", id="a directory on disk"
        ),
        pytest.param(
            {"volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "512M"}}]},
            "2 GPUs, /dev/shm of 512M",
            id="too small",
        ),
    ],
)
def test_shared_memory_must_hold_what_workers_exchange(pod: dict[str, Any], observed: str):
    document = deployment({"resources": {"limits": {"nvidia.com/gpu": 2}}}, **pod)
    assert [each.observed for each in said("WG389", document)] == ([observed] if observed else [])


def test_an_engine_on_one_gpu_needs_no_shared_memory():
    assert not asked("WG389", deployment({"volumeMounts": []}))


def test_a_multi_node_predictor_adds_up_over_its_workers():
    documents = changed(
        base("kserve"),
        [
            {"in": "ServingRuntime/qwen-1a2b3c4d", "set": "spec.containers[0].args[+]", "to": "-tp=2"},
            {"in": "ServingRuntime/qwen-1a2b3c4d", "set": "spec.containers[0].args[+]", "to": "-pp=2"},
            {
                "in": "ServingRuntime/qwen-1a2b3c4d",
                "set": "spec.workerSpec",
                "to": {
                    "pipelineParallelSize": 2,
                    "tensorParallelSize": 2,
                    "containers": [{"name": "worker-container", "image": "vllm/vllm-openai:v0.32.0"}],
                },
            },
            {
                "in": "InferenceService/qwen",
                "set": "spec.predictor.workerSpec",
                "to": {"pipelineParallelSize": 2, "tensorParallelSize": 2},
            },
        ],
    )
    assert asked("WG309", *documents)
    assert said("WG309", *documents) == []
