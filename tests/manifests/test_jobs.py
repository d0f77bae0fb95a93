"""Finite work as it is written down: the variants of the fine-tune agree with each other, and with what is served."""

from __future__ import annotations

from typing import Any

from tests.manifests.kustomize import build, only


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
    assert group["spec"]["queue"] == only(objects, "Queue")["metadata"]["name"]
    assert int(group["spec"]["minResources"]["nvidia.com/gpu"]) == 2
    assert spec["completionMode"] == "Indexed"
    (container,) = pod["containers"]
    launch = dict(each.split("=", 1) for each in container["command"] if "=" in each)
    assert launch["--nnodes"] == str(spec["completions"])
    assert launch["--master-addr"] == f"{job['metadata']['name']}-0.{pod['subdomain']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert launch["--master-port"] == str(service["spec"]["ports"][0]["port"])


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
