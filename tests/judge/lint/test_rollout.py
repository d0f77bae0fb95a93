from __future__ import annotations

from typing import Any

import pytest

from serving.judge.lint import judge_manifests
from serving.verdict import Finding, Verdict
from tests.judge.lint.asked import asked, deployment, said
from tests.judge.lint.mutate import base, bundle, changed


def rolling(replicas: int = 2, **strategy: Any) -> dict[str, Any]:
    manifest = deployment()
    manifest["spec"] |= {"replicas": replicas, "strategy": {"type": "RollingUpdate", "rollingUpdate": strategy}}
    return manifest


def quota(hard: dict[str, Any], namespace: str = "llm", **spec: Any) -> dict[str, Any]:
    metadata = {"name": "quota", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard, **spec}}


def said_live(code: str, live: list[dict[str, Any]], *documents: dict[str, Any], **given: Any) -> list[Finding]:
    report = judge_manifests(bundle(list(documents), live, **given), "test")
    return [each for each in report.findings if each.code.id == code and each.verdict is not Verdict.PASS]


def recreated(replicas: int) -> dict[str, Any]:
    manifest = rolling(replicas)
    manifest["spec"]["strategy"] = {"type": "Recreate"}
    return manifest


@pytest.mark.parametrize(
    ("manifest", "kept"),
    [
        pytest.param(rolling(maxSurge=1, maxUnavailable=0), True, id="one more"),
        pytest.param(rolling(), True, id="a quarter of two is none"),
        pytest.param(rolling(3), True, id="a quarter of three is none"),
        pytest.param(rolling(4), False, id="a quarter of four is one"),
        pytest.param(rolling(4, maxUnavailable="0%"), True, id="no percent of four"),
        pytest.param(rolling(1, maxSurge=0), False, id="the only one, since one must move"),
        pytest.param(rolling(0), True, id="none at all"),
        pytest.param(deployment() | {"kind": "StatefulSet"}, False, id="a StatefulSet has no surge"),
    ],
)
def test_warm_capacity_is_kept(manifest: dict[str, Any], kept: bool):
    assert (said("WG340", manifest) == []) is kept


@pytest.mark.parametrize(
    ("manifest", "observed"),
    [
        (rolling(8), "maxSurge 25%, maxUnavailable 25%: 2 of 8 Pods may be missing"),
        (rolling(1, maxSurge=0), "maxSurge 0, maxUnavailable 25%: the only Pod may be missing"),
        (recreated(1), "Recreate: the only Pod ends before the first new one starts"),
        (recreated(3), "Recreate: all 3 Pods end before the first new one starts"),
    ],
)
def test_the_amount_that_goes_is_told(manifest: dict[str, Any], observed: str):
    (finding,) = said("WG340", manifest)
    assert finding.observed == observed


def test_an_autoscalers_maximum_counts():
    triggers = [{"type": "cron", "metadata": {}}]
    spec = {"scaleTargetRef": {"name": "qwen"}, "minReplicaCount": 2, "maxReplicaCount": 4, "triggers": triggers}
    scaler = {"kind": "ScaledObject", "metadata": {"name": "qwen", "namespace": "llm"}, "spec": spec}
    assert said("WG340", rolling(2)) == []
    assert len(said("WG340", rolling(2), scaler)) == 1


def test_what_is_only_for_trying_may_lose_its_pods():
    manifest = rolling(1, maxSurge=0)
    manifest["metadata"]["annotations"]["warmgate/class"] = "development"
    assert not asked("WG340", manifest)
    assert not asked("WG343", manifest)


def test_several_nodes_are_rolled_as_kserve_forces_it():
    worker = {"in": "InferenceService/qwen", "set": "spec.predictor.workerSpec.pipelineParallelSize", "to": 2}
    loose = {
        "in": "InferenceService/qwen",
        "set": "spec.predictor.deploymentStrategy.rollingUpdate.maxUnavailable",
        "to": 1,
    }
    report = judge_manifests(bundle(changed(base("kserve"), [worker, loose])), "test")
    assert [each.verdict for each in report.findings if each.code.id == "WG340"] == [Verdict.PASS]


@pytest.mark.parametrize(
    ("size", "manifest", "fits"),
    [
        pytest.param("3", rolling(2, maxSurge=1), True, id="two and one"),
        pytest.param("2", rolling(2, maxSurge=1), False, id="no room for the one"),
        pytest.param("2", rolling(2, maxSurge=0, maxUnavailable=1), True, id="no surge is needed"),
        pytest.param("5", rolling(4, maxSurge="25%"), True, id="a quarter of four"),
        pytest.param("6", rolling(5, maxSurge="25%"), False, id="a quarter of five, rounded up"),
    ],
)
def test_replicas_and_surge_must_fit_the_pool(size: str, manifest: dict[str, Any], fits: bool):
    manifest["metadata"]["annotations"]["warmgate/pool-gpus"] = size
    assert asked("WG341", manifest)
    assert (said("WG341", manifest) == []) is fits


@pytest.mark.parametrize(
    ("limits", "fits"),
    [
        pytest.param(quota({"requests.nvidia.com/gpu": 3}), True, id="three GPUs"),
        pytest.param(quota({"requests.nvidia.com/gpu": "2"}), False, id="two GPUs"),
        pytest.param(quota({"requests.nvidia.com/gpu": "2"}, namespace="web"), True, id="of another namespace"),
        pytest.param(quota({"requests.nvidia.com/gpu": "2"}, namespace=""), False, id="of any namespace"),
        pytest.param(quota({"requests.nvidia.com/gpu": "2"}, scopes=["BestEffort"]), True, id="of best effort"),
        pytest.param(quota({"requests.nvidia.com/gpu": "2"}, scopes=["NotTerminating"]), False, id="of what lasts"),
        pytest.param(
            quota(
                {"requests.nvidia.com/gpu": "0"},
                scopeSelector={"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["a"]}]},
            ),
            True,
            id="of another priority",
        ),
        pytest.param(
            quota(
                {"requests.nvidia.com/gpu": "0"},
                scopeSelector={
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "NotIn", "values": ["a"]}]
                },
            ),
            False,
            id="of every other priority",
        ),
        pytest.param(quota({"cpu": "12", "limits.cpu": "24"}), True, id="cores for three"),
        pytest.param(quota({"cpu": "11999m"}), False, id="a millicore less"),
        pytest.param(quota({"limits.memory": "71Gi"}), False, id="memory for two"),
        pytest.param(quota({"pods": "2"}), False, id="two Pods"),
        pytest.param(quota({"configmaps": "0", "requests.storage": "0"}), True, id="of other things"),
        pytest.param(quota({"pods": "many"}), True, id="no number"),
    ],
)
def test_replicas_and_surge_must_fit_every_quota(limits: dict[str, Any], fits: bool):
    assert (said("WG341", rolling(2, maxSurge=1), limits) == []) is fits


def test_the_sum_is_told_with_all_who_share():
    other = rolling(2, maxSurge=1)
    other["metadata"]["name"] = "llama"
    (first, second) = said("WG341", rolling(2, maxSurge=1), other)
    assert first.observed == "2 replicas + 1 surge + 2 Deployment/llm/llama = 5 nvidia.com/gpu"
    assert first.expected == "no more than the pool of 4"
    assert second.observed == "2 replicas + 1 surge + 2 Deployment/llm/qwen = 5 nvidia.com/gpu"


def test_many_who_share_are_told_as_one_sum():
    crowd = [rolling(2, maxSurge=1) for _ in range(6)]
    for number, each in enumerate(crowd):
        each["metadata"]["name"] = f"llama-{number}"
    found = said("WG341", rolling(2, maxSurge=1), *crowd)[0]
    assert found.observed == "2 replicas + 1 surge + 12 of 6 others = 15 nvidia.com/gpu"


def test_memory_is_told_in_gi():
    (finding,) = said("WG341", rolling(2, maxSurge=1), quota({"requests.memory": "60Gi"}))
    assert finding.observed == "2 x 24Gi replicas + 1 x 24Gi surge = 72Gi"
    assert finding.expected == "no more than ResourceQuota/llm/quota requests.memory: 60Gi"


def test_pools_apart_and_work_that_ends_take_nothing_from_each_other():
    other = rolling(2, maxSurge=1)
    other["metadata"]["name"] = "llama"
    other["spec"]["template"]["spec"]["nodeSelector"] = {"nvidia.com/gpu.present": "true", "pool": "b"}
    job = {**other, "kind": "Job", "metadata": {"name": "batch", "namespace": "llm"}}
    assert said("WG341", rolling(2, maxSurge=1), job) == []
    other["spec"]["template"]["spec"]["nodeSelector"] = {"nvidia.com/gpu.present": "b"}
    assert said("WG341", rolling(2, maxSurge=1), other) == []


def test_a_canary_takes_its_place_from_stable_but_not_before_it_is_ready():
    canary = {"trafficPercent": 50, "predictor": {"name": "r2", "minReplicas": 2}}
    pool = 'metadata.annotations["warmgate/pool-gpus"]'

    def tripped(gpus: str) -> list[str]:
        changes: list[dict[str, Any]] = [
            {"in": "InferenceService/qwen", "set": "spec.canary", "to": [canary]},
            {"in": "InferenceService/qwen", "set": pool, "to": gpus},
        ]
        return [each.observed for each in said("WG341", *changed(base("kserve"), changes))]

    assert tripped("4") == []
    assert tripped("3") == ["1 replica + 1 surge + 2 canary qwen-r2-predictor = 4 nvidia.com/gpu"]


def node(name: str, gpus: int, **labels: str) -> dict[str, Any]:
    return {
        "kind": "Node",
        "metadata": {"name": name, "labels": {"nvidia.com/gpu.present": "true", **labels}},
        "status": {"allocatable": {"nvidia.com/gpu": str(gpus), "cpu": "64", "memory": "512Gi", "pods": "110"}},
    }


def test_live_nodes_are_the_pool_where_nobody_stated_it():
    manifest = rolling(2, maxSurge=1)
    del manifest["metadata"]["annotations"]["warmgate/pool-gpus"]
    assert said_live("WG341", [node("a", 2), node("b", 1)], manifest) == []
    (finding,) = said_live("WG341", [node("a", 2)], manifest)
    assert finding.expected == "no more than the one live node of 2"
    manifest["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "2"}}
    (finding,) = said_live("WG341", [node("a", 3), node("b", 3)], manifest)
    assert finding.expected == "no more than the live pool (2 nodes) of 4"


def test_what_the_cluster_will_not_tell_is_unknown():
    (finding,) = said_live("WG341", [], rolling(2, maxSurge=1), unseen={"ResourceQuota": "forbidden"})
    assert finding.verdict is Verdict.UNKNOWN
    assert "ResourceQuota could not be read" in finding.observed


def test_a_slice_is_no_whole_gpu():
    manifest = rolling(9, maxSurge=1)
    manifest["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/mig-1g.10gb": "1"}}
    assert said("WG341", manifest) == []


@pytest.mark.parametrize(("deadline", "good"), [(301, True), (300, False), (None, True)])
def test_the_deadline_exceeds_the_load(deadline: int | None, good: bool):
    manifest = deployment()
    manifest["spec"]["progressDeadlineSeconds"] = deadline
    assert (said("WG342", manifest) == []) is good


def test_kserves_deadline_has_another_remedy():
    long = {"in": "InferenceService/qwen", "set": 'metadata.annotations["warmgate/load-seconds"]', "to": "900"}
    (finding,) = said("WG342", *changed(base("kserve"), [long]))
    assert finding.observed == "600 s, fixed by KServe, for a load of 900 s"
    assert "Deployment of your own" in finding.remedy
