from __future__ import annotations

from typing import Any

import pytest

from serving.judge.lint import judge_manifests
from serving.verdict import Finding, Verdict
from tests.judge.lint.asked import asked, deployment, said
from tests.judge.lint.mutate import bundle

GPU = {"limits": {"nvidia.com/gpu": 1}}
CPU = {"limits": {"cpu": "1"}}
TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def node(
    name: str = "gpu-1", taints: list[dict[str, Any]] | None = None, labels: dict[str, str] | None = None
) -> dict[str, Any]:
    return {
        "kind": "Node",
        "metadata": {"name": name, "labels": {"nvidia.com/gpu.present": "true", **(labels or {})}},
        "spec": {"taints": taints or []},
        "status": {"allocatable": {"cpu": "64", "memory": "512Gi", "nvidia.com/gpu": "8"}},
    }


def live(code: str, document: dict[str, Any], *nodes: dict[str, Any]) -> list[Finding]:
    report = judge_manifests(bundle([document], list(nodes)), "test")
    return [each for each in report.findings if each.code.id == code and each.verdict is not Verdict.PASS]


def affinity(key: str, operator: str, *values: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param({"tolerations": [{"operator": "Exists"}]}, id="every taint"),
        pytest.param({"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}, id="every effect"),
        pytest.param({"tolerations": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}]}, id="by value"),
        pytest.param(
            {"nodeSelector": {"team": "llm"}, "tolerations": [{"key": "team", "value": "llm"}]},
            id="the label it selects by is the taint it tolerates",
        ),
        pytest.param(
            {"affinity": affinity("team", "In", "llm"), "nodeSelector": None, "tolerations": [{"key": "team"}]},
            id="the same by affinity",
        ),
        pytest.param(
            {"nodeSelector": {"cloud.google.com/gke-accelerator": "nvidia-l4"}, "tolerations": None},
            id="GKE adds the toleration",
        ),
        pytest.param(
            {"nodeSelector": {"cloud.google.com/compute-class": "h100"}, "tolerations": None},
            id="GKE adds it in every pool",
        ),
    ],
)
def test_a_toleration_that_may_open_the_pool_is_enough(pod: dict[str, Any]):
    assert said("WG301", deployment(**pod)) == []
    assert asked("WG301", deployment(**pod))


def test_a_runtime_class_may_bring_selector_and_toleration():
    runtime = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "nvidia"},
        "scheduling": {"nodeSelector": {"pool": "a100"}, "tolerations": [{"key": "nvidia.com/gpu"}]},
    }
    pod = deployment(nodeSelector=None, tolerations=None, runtimeClassName="nvidia")
    assert said("WG301", pod, runtime) + said("WG302", pod, runtime) == []
    assert said("WG301", pod)
    assert said("WG302", pod)


def test_kueue_brings_them_too():
    pod = deployment(nodeSelector=None, tolerations=None)
    pod["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "gpus"
    assert said("WG301", pod) + said("WG302", pod) == []


@pytest.mark.parametrize(
    ("tolerations", "taints", "observed"),
    [
        pytest.param([], [], "", id="a pool without taint needs none"),
        pytest.param([{"key": "nvidia.com/gpu", "operator": "Exists"}], [TAINT], "", id="the key is enough"),
        pytest.param([{"key": "nvidia.com/gpu", "value": "present"}], [TAINT], "", id="the value is the taint's"),
        pytest.param(
            [{"key": "nvidia.com/gpu"}], [TAINT], "nvidia.com/gpu=present:NoSchedule", id="Equal to nothing is not it"
        ),
        pytest.param(
            [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute"}],
            [TAINT],
            "nvidia.com/gpu=present:NoSchedule",
            id="of another effect",
        ),
        pytest.param(
            [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            [TAINT, {"key": "team", "value": "b", "effect": "NoExecute"}],
            "team=b:NoExecute",
            id="a second taint",
        ),
        pytest.param([], [{**TAINT, "effect": "PreferNoSchedule"}], "", id="a taint that only asks"),
    ],
)
def test_live_taints_are_what_must_be_tolerated(tolerations: Any, taints: Any, observed: str):
    found = live("WG301", deployment(tolerations=tolerations), node(taints=taints))
    assert [observed in each.observed for each in found] == ([True] if observed else [])


def test_one_open_node_of_the_pool_is_enough():
    closed = node("gpu-2", [{"key": "maintenance", "effect": "NoSchedule"}])
    assert live("WG301", deployment(), closed, node()) == []
    assert live("WG301", deployment(), closed)


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param({"affinity": affinity("pool", "In", "a100"), "nodeSelector": None}, id="required affinity"),
        pytest.param({"nodeSelector": {"node.kubernetes.io/instance-type": "p5.48xlarge"}}, id="instance type"),
        pytest.param({"nodeSelector": {"karpenter.sh/nodepool": "h100"}}, id="node pool"),
        pytest.param({"nodeSelector": None, "nodeName": "gpu-1"}, id="one node by name"),
    ],
)
def test_any_label_of_a_pool_selects_it(pod: dict[str, Any]):
    assert said("WG302", deployment(**pod)) == []
    assert asked("WG302", deployment(**pod))


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param({"affinity": affinity("pool", "NotIn", "cpu"), "nodeSelector": None}, id="only excludes"),
        pytest.param({"nodeSelector": {"topology.kubernetes.io/zone": "a"}}, id="a zone"),
        pytest.param({"nodeSelector": {}}, id="empty"),
    ],
)
def test_what_leaves_every_pool_open_selects_none(pod: dict[str, Any]):
    assert len(said("WG302", deployment(**pod))) == 1


@pytest.mark.parametrize(
    ("container", "pod"),
    [
        pytest.param(
            {"resources": CPU}, {"nodeSelector": None, "tolerations": [{"operator": "Exists"}]}, id="wildcard"
        ),
        pytest.param({"resources": CPU}, {"nodeSelector": {"pool": "cpu"}, "tolerations": None}, id="a CPU pool"),
        pytest.param(
            {"resources": CPU},
            {"nodeSelector": {"nvidia.com/gpu.present": "false"}, "tolerations": None},
            id="away from GPUs",
        ),
        pytest.param(
            {"resources": CPU},
            {"nodeSelector": None, "tolerations": None, "affinity": affinity("nvidia.com/gpu.present", "DoesNotExist")},
            id="away from GPUs by affinity",
        ),
        pytest.param({"resources": {"limits": {"google.com/tpu": 4}}}, {}, id="another accelerator"),
        pytest.param(
            {"resources": CPU},
            {"nodeSelector": {"cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice"}, "tolerations": None},
            id="TPU nodes",
        ),
        pytest.param({"resources": {"limits": {"nvidia.com/mig-1g.10gb": "1"}}}, {}, id="a MIG slice"),
        pytest.param({"resources": CPU}, {"resourceClaims": [{"name": "gpu"}]}, id="a claim"),
    ],
)
def test_pods_that_have_a_device_or_go_nowhere_near_one_are_fine(container: dict[str, Any], pod: dict[str, Any]):
    assert said("WG303", deployment(container, **pod)) == []


def test_a_limit_on_any_container_counts():
    sidecar = {"name": "exporter", "image": "exporter:1.0"}
    good = deployment()
    good["spec"]["template"]["spec"]["containers"].insert(0, sidecar)
    assert said("WG303", good) == []


def test_a_daemon_set_may_visit_gpu_nodes_without_a_gpu():
    exporter = deployment({"resources": CPU})
    assert said("WG303", exporter)
    exporter["kind"] = "DaemonSet"
    assert said("WG303", exporter) == []


def test_the_finding_names_what_leads_to_the_gpu_nodes():
    (found,) = said("WG303", deployment({"resources": CPU}))
    assert found.observed == (
        "selector nvidia.com/gpu.present, toleration nvidia.com/gpu, but no container has a GPU limit"
    )
