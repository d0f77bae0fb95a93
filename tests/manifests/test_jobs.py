"""Finite work as it is written down: the variants of the fine-tune agree with each other, and with what is served."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.manifests.kustomize import build, only
from tests.manifests.pods import pods


def _arguments(container: dict[str, Any]) -> list[str]:
    return [each for each in container["args"] if each.startswith("--")]


def test_all_variants_make_the_same_release_from_the_same_data():
    job, volcano = (only(build(f"jobs/fine-tune/{path}"), "Job") for path in ("job", "volcano"))
    train = only(build("jobs/fine-tune/trainjob"), "TrainJob")["spec"]["trainer"]
    containers = [each["spec"]["template"]["spec"]["containers"][0] for each in (job, volcano)]
    assert _arguments(containers[0]) == _arguments(containers[1]) == _arguments(train)
    assert containers[0]["resources"] == containers[1]["resources"] == train["resourcesPerNode"]


def test_the_release_that_it_makes_is_the_one_that_a_canary_serves():
    (container,) = only(build("jobs/fine-tune/job"), "Job")["spec"]["template"]["spec"]["containers"]
    told = dict(each.split("=", 1) for each in container["args"])
    service = only(build("overlays/canary-rehearsal"), "InferenceService")["spec"]
    assert f"pvc:/{told['--model']}" == service["predictor"]["model"]["storageUri"]
    assert f"pvc:/{told['--output']}" == service["canary"][0]["predictor"]["model"]["storageUri"]


def test_the_gang_is_as_large_as_the_job_and_meets_at_its_first_pod():
    objects = build("jobs/fine-tune/volcano")
    job, group, service = (only(objects, kind) for kind in ("Job", "PodGroup", "Service"))
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert group["spec"]["minMember"] == spec["completions"] == spec["parallelism"]
    assert (
        job["spec"]["template"]["metadata"]["annotations"]["scheduling.k8s.io/group-name"] == group["metadata"]["name"]
    )
    (queue,) = build("pool/volcano-queue")  # apart: a PodGroup is refused until its queue is open
    assert queue["kind"] == "Queue"
    assert group["spec"]["queue"] == queue["metadata"]["name"]
    assert queue["spec"]["capability"]["nvidia.com/gpu"] == group["spec"]["minResources"]["nvidia.com/gpu"]
    assert "Queue" not in {each["kind"] for each in objects}
    assert int(group["spec"]["minResources"]["nvidia.com/gpu"]) == 2
    assert spec["completionMode"] == "Indexed"
    (container,) = pod["containers"]
    env = {each["name"]: each for each in container["env"]}
    assert env["WORLD_SIZE"]["value"] == str(spec["completions"])
    assert env["RANK"]["valueFrom"]["fieldRef"]["fieldPath"].endswith("['batch.kubernetes.io/job-completion-index']")
    assert env["MASTER_ADDR"]["value"] == f"{job['metadata']['name']}-0.{pod['subdomain']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert env["MASTER_PORT"]["value"] == str(service["spec"]["ports"][0]["port"])


@pytest.mark.parametrize("path", ["job", "volcano", "trainjob"])
def test_the_program_hears_sigterm_itself_and_knows_its_place(path: str):
    (group,) = pods(build(f"jobs/fine-tune/{path}"))
    (container,) = group.containers
    env = {each["name"] for each in container["env"]}
    command = container["command"]
    if command[0] == "env":  # becomes the program, and is no process beside it
        told = dict(each.split("=", 1) for each in command[1:] if "=" in each)
        assert all(re.fullmatch(r"\$\(PET_\w+\)", value) for value in told.values())
        env |= told.keys()
    assert command[-2:] == ["python3", "/opt/fine-tune/train.py"]
    assert {each for each in command if each.startswith("-")} == set()
    distributed = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
    assert env & distributed == (distributed if group.replicas > 1 else set())


@pytest.mark.parametrize("path", ["job", "volcano"])
def test_an_eviction_costs_no_try_of_the_evicted_nor_of_who_stops_with_it(path: str):
    spec = only(build(f"jobs/fine-tune/{path}"), "Job")["spec"]
    assert _rules(spec) == [("Ignore", "DisruptionTarget"), ("Ignore", [143]), ("FailJob", [2])]


def test_an_eviction_restarts_all_nodes_of_a_train_job_without_counting_it():
    jobs = only(build("jobs/fine-tune/trainjob"), "TrainingRuntime")["spec"]["template"]["spec"]
    (node,) = jobs["replicatedJobs"]
    assert _rules(node["template"]["spec"]) == [("FailJob", "DisruptionTarget"), ("FailJob", [143])]
    (rule,) = jobs["failurePolicy"]["rules"]
    assert (rule["action"], rule["onJobFailureReasons"]) == ("RestartJobSetAndIgnoreMaxRestarts", ["PodFailurePolicy"])


def _rules(spec: dict[str, Any]) -> list[tuple[str, str | list[int]]]:
    (container,) = spec["template"]["spec"]["containers"]
    found: list[tuple[str, str | list[int]]] = []
    for rule in spec["podFailurePolicy"]["rules"]:
        if "onExitCodes" in rule:
            assert rule["onExitCodes"]["containerName"] == container["name"]
            assert rule["onExitCodes"]["operator"] == "In"
            found.append((rule["action"], rule["onExitCodes"]["values"]))
        else:
            ((condition),) = rule["onPodConditions"]
            assert condition["status"] == "True"
            found.append((rule["action"], condition["type"]))
    return found


def test_the_train_job_runs_as_many_nodes_as_its_runtime_says():
    objects = build("jobs/fine-tune/trainjob")
    runtime, train = only(objects, "TrainingRuntime"), only(objects, "TrainJob")["spec"]
    assert train["runtimeRef"] == {
        "apiGroup": "trainer.kubeflow.org",
        "kind": "TrainingRuntime",
        "name": runtime["metadata"]["name"],
    }
    assert train["trainer"]["numNodes"] == runtime["spec"]["mlPolicy"]["numNodes"]
    (node,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    assert node["template"]["metadata"]["labels"]["trainer.kubeflow.org/trainjob-ancestor-step"] == "trainer"
    assert [each["name"] for each in node["template"]["spec"]["template"]["spec"]["containers"]] == ["node"]
