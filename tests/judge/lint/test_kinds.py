from __future__ import annotations

from typing import Any

import pytest

from tests.judge.lint.asked import deployment, said


def of_kind(kind: str, *command: str, **pod: Any) -> dict[str, Any]:
    document = deployment({"command": list(command), "args": [], "image": "registry.example.com/work:1.0"}, **pod)
    return document | {"kind": kind, "apiVersion": "batch/v1" if kind == "Job" else "apps/v1"}


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (["vllm", "run-batch", "-i", "in.jsonl"], "vllm run-batch"),
        (["python3", "-m", "vllm.entrypoints.openai.run_batch"], "vllm vllm.entrypoints.openai.run_batch"),
        (["vllm", "bench", "serve"], "vllm bench"),
        (["python", "/app/train.py"], "train.py"),
        (["torchrun", "--nproc-per-node=8", "finetune_lora.py"], "finetune_lora.py"),
        (["accelerate", "launch", "sft.py"], "accelerate launch"),
        (["sh", "-c", "hf download Qwen/Qwen3-0.6B --local-dir /models"], "hf download"),
        (["aws", "s3", "sync", "s3://b", "/models"], "s3 sync"),
        (["lm_eval", "--model", "vllm"], "lm_eval"),
    ],
)
def test_finite_work_is_known_by_its_command(command: list[str], what: str):
    (found,) = said("WG390", of_kind("Deployment", *command))
    assert found.observed == f"Deployment runs {what}, which ends"
    assert said("WG390", of_kind("Job", *command)) == []


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["vllm", "serve", "/mnt/models"], id="a server"),
        pytest.param(["python", "train_server.py"], id="a server by its name"),
        pytest.param(["python", "/app/main.py"], id="nobody knows"),
        pytest.param(["sh", "-c", "python train.py && sleep infinity"], id="waits after it"),
        pytest.param(["sh", "-c", "while true; do python batch.py; sleep 60; done"], id="a loop"),
        pytest.param(["uvicorn", "training.app:app"], id="a word within a module"),
        pytest.param([], id="the image's own"),
    ],
)
def test_what_may_go_on_is_no_finite_work(command: list[str]):
    assert said("WG390", of_kind("Deployment", *command)) == []


def test_an_init_container_may_end():
    init = {"name": "fetch", "image": "hub:1.0", "command": ["hf", "download", "a/b"]}
    assert said("WG390", deployment(initContainers=[init])) == []


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (["vllm", "serve", "/mnt/models"], "a vLLM server"),
        (["warmgate", "serve", "--", "--model=/mnt/models"], "a vLLM server"),
        (["/usr/sbin/nginx", "-g", "daemon off;"], "nginx"),
        (["python3", "-m", "sglang.launch_server"], "sglang.launch_server"),
        (["sleep", "infinity"], "sleep infinity"),
    ],
)
def test_a_server_in_a_job_never_ends(command: list[str], what: str):
    (found,) = said("WG391", of_kind("Job", *command))
    assert found.observed == f"Job runs {what}, which never ends"
    assert said("WG391", of_kind("Deployment", *command)) == []


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(of_kind("Job", "sh", "-c", "vllm serve /m & python client.py; kill %1"), id="in the background"),
        pytest.param(
            of_kind("Job", "sh", "-c", "ollama serve &\nsleep 9\nollama pull qwen3"), id="in the background of a script"
        ),
        pytest.param(of_kind("Job", "timeout", "60", "vllm", "serve", "/m"), id="for a time"),
        pytest.param(
            of_kind(
                "Job",
                "python3",
                "client.py",
                initContainers=[
                    {
                        "name": "e",
                        "image": "vllm/vllm-openai:v0.32.0",
                        "args": ["--model=/m"],
                        "restartPolicy": "Always",
                    }
                ],
            ),
            id="a sidecar",
        ),
        pytest.param(of_kind("Job", "locust", "--headless", "--run-time=60s"), id="a load test"),
    ],
)
def test_a_server_that_ends_with_the_work_may_be_in_a_job(document: dict[str, Any]):
    assert said("WG391", document) == []


def test_a_volcano_job_may_end_with_one_of_its_tasks():
    pod = of_kind("Job", "vllm", "serve", "/m")["spec"]["template"]
    tasks = [{"name": "server", "template": pod}]
    document = {
        "apiVersion": "batch.volcano.sh/v1alpha1",
        "kind": "Job",
        "metadata": {"name": "rehearsal"},
        "spec": {"tasks": tasks},
    }
    assert said("WG391", document)
    document["spec"] = {"tasks": [*tasks, {"name": "client", "template": of_kind("Job", "python")["spec"]["template"]}]}
    assert said("WG391", document) == []
