from __future__ import annotations

from typing import Any

import pytest

from tests.judge.lint.asked import asked, deployment
from tests.judge.lint.mutate import base
from tests.judge.lint.test_placement import affinity, live, node


@pytest.mark.parametrize("code", ["WG311", "WG312"])
@pytest.mark.parametrize("name", ["kserve", "deployment"])
def test_without_a_cluster_nothing_is_said_of_it(code: str, name: str):
    assert not asked(code, *base(name))


def test_a_priority_class_kept_elsewhere_is_not_asked_for():
    assert not asked("WG311", deployment(priorityClassName="warmgate-inference"))


@pytest.mark.parametrize("name", ["system-node-critical", "system-cluster-critical"])
def test_built_in_priorities_exist(name: str):
    assert live("WG311", deployment(priorityClassName=name), node()) == []


@pytest.mark.parametrize(
    ("pod", "labels"),
    [
        pytest.param({"affinity": affinity("gpus", "Gt", "4")}, {"gpus": "8"}, id="more than"),
        pytest.param({"affinity": affinity("gpus", "Lt", "4")}, {"gpus": "2"}, id="less than"),
        pytest.param({"affinity": affinity("pool", "In", "a", "b")}, {"pool": "b"}, id="one of"),
        pytest.param({"affinity": affinity("pool", "NotIn", "a")}, {}, id="not one of, absent"),
        pytest.param({"affinity": affinity("pool", "DoesNotExist")}, {}, id="absent"),
        pytest.param({"nodeName": "gpu-1"}, {}, id="by name"),
    ],
)
def test_a_node_that_has_what_is_required_fits(pod: dict[str, Any], labels: dict[str, str]):
    assert live("WG312", deployment(**pod), node(labels=labels)) == []


@pytest.mark.parametrize(
    ("pod", "labels", "why"),
    [
        (
            {"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-H100-NVL"}},
            {"nvidia.com/gpu.product": "NVIDIA-L4"},
            "label nvidia.com/gpu.product is NVIDIA-L4, not NVIDIA-H100-NVL",
        ),
        ({"affinity": affinity("gpus", "Gt", "4")}, {"gpus": "4"}, "label gpus is 4, not Gt 4"),
        ({"affinity": affinity("pool", "In", "a", "b")}, {}, "label pool is absent, not In a, b"),
        ({"affinity": affinity("pool", "NotIn", "a")}, {"pool": "a"}, "label pool is a, not NotIn a"),
        ({"nodeName": "gpu-7"}, {}, "name is not gpu-7"),
    ],
)
def test_what_the_nearest_node_lacks_is_said(pod: dict[str, Any], labels: dict[str, str], why: str):
    (found,) = live("WG312", deployment(**pod), node(labels=labels))
    assert found.observed == f"0 of 1 nodes fit; nearest is gpu-1: {why}"


def test_the_nearest_node_is_one_that_has_the_gpu():
    cpu = {"kind": "Node", "metadata": {"name": "cpu-1"}, "status": {"allocatable": {"cpu": "64", "memory": "512Gi"}}}
    small = node("gpu-2")
    small["status"]["allocatable"] |= {"memory": "16Gi", "cpu": "2"}
    (found,) = live("WG312", deployment(nodeSelector=None), cpu, small)
    assert found.observed == ("0 of 2 nodes fit; nearest is gpu-2: cpu: needs 4, has 2; memory: needs 24Gi, has 16Gi")


def test_a_closed_pool_is_told_once():
    tainted = node(taints=[{"key": "nvidia.com/gpu", "effect": "NoSchedule"}])
    assert live("WG301", deployment(tolerations=None), tainted)
    assert live("WG312", deployment(tolerations=None), tainted) == []


def test_a_taint_that_has_nothing_to_do_with_gpus_keeps_a_plain_pod_away():
    plain = deployment({"resources": {}}, nodeSelector=None, tolerations=None)
    (found,) = live("WG312", plain, node(taints=[{"key": "team", "value": "b", "effect": "NoExecute"}]))
    assert "taint team=b:NoExecute not tolerated" in found.observed


def test_a_cordon_can_be_tolerated():
    cordoned = node()
    cordoned["spec"]["unschedulable"] = True
    (found,) = live("WG301", deployment(), cordoned)
    assert "node.kubernetes.io/unschedulable:NoSchedule" in found.observed
    assert live("WG301", deployment(tolerations=[{"operator": "Exists"}]), cordoned) == []
