from __future__ import annotations

from typing import Any

import pytest

from serving.verdict import Verdict
from tests.judge.lint.asked import asked, deployment, said
from tests.judge.lint.test_placement import live, node


def with_limits(limits: dict[str, Any], requests: dict[str, Any] | None = None) -> dict[str, Any]:
    return deployment({"resources": {"requests": requests or {}, "limits": limits}})


@pytest.mark.parametrize("amount", ["1", 1, "1000m", 1.0, "1e0"])
def test_one_gpu_can_be_written_in_many_ways(amount: Any):
    assert said("WG304", with_limits({"nvidia.com/gpu": amount})) == []
    assert said("WG304", with_limits({"nvidia.com/gpu": amount}, {"nvidia.com/gpu": "1"})) == []


@pytest.mark.parametrize(
    ("requests", "limits", "observed"),
    [
        ({"nvidia.com/gpu": 1}, {}, "request 1, no limit"),
        ({"nvidia.com/gpu": 2}, {"nvidia.com/gpu": 1}, "request 2, limit 1"),
        ({}, {"nvidia.com/gpu": "500m"}, "limit 500m"),
        ({}, {"nvidia.com/gpu": -1}, "limit -1"),
        ({}, {"nvidia.com/gpu": ""}, "limit empty"),
        ({}, {"rdma/hca": 0.5}, "limit 0.5"),
    ],
)
def test_amounts_that_the_api_rejects_are_named(requests: Any, limits: Any, observed: str):
    (found,) = said("WG304", with_limits(limits, requests))
    assert observed in found.observed


@pytest.mark.parametrize(
    "name",
    [
        "nvidia.com/gpu",
        "nvidia.com/gpu.shared",
        "nvidia.com/mig-1g.10gb.me",
        "nvidia.com/mig-1g.10gb.shared",
        "nvidia.com/gpumem",
        "amd.com/gpu",
        "gpu.intel.com/xe",
        "google.com/tpu",
        "aws.amazon.com/neuroncore",
        "vpc.amazonaws.com/efa",
        "rdma/hca_shared_devices_a",
        "vke.volcengine.com/rdma",
        "rebellions.ai/ATOM",
        "huawei.com/Ascend910",
    ],
)
def test_names_that_device_plugins_advertise_are_known(name: str):
    assert said("WG305", with_limits({name: 1})) == []
    assert asked("WG305", with_limits({name: 1}))


@pytest.mark.parametrize("name", ["cpu", "memory", "ephemeral-storage", "hugepages-2Mi"])
def test_kubernetes_own_resources_are_no_devices(name: str):
    assert not asked("WG305", with_limits({name: "1Gi"}))


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("nvidia.com/gpus", "nvidia.com/gpu"),
        ("nvidia.com/GPU", "nvidia.com/gpu"),
        ("nvdia.com/gpu", "nvidia.com/gpu"),
        ("nvidia/gpu", "nvidia.com/gpu"),
        ("gpu", "nvidia.com/gpu"),
        ("nvidia.com/gpu-shared", "nvidia.com/gpu.shared"),
        ("amd.com/gpus", "amd.com/gpu"),
    ],
)
def test_misspelt_names_are_set_right(name: str, right: str):
    (found,) = said("WG305", with_limits({name: 1}))
    assert found.verdict is Verdict.FAIL
    assert found.remedy == f"write {right}"


def test_a_device_of_somebodys_own_is_judged_by_the_nodes():
    fpga = with_limits({"example.com/fpga": 1})
    assert [each.verdict for each in said("WG305", fpga)] == [Verdict.UNKNOWN]
    with_one = node()
    with_one["status"]["allocatable"]["example.com/fpga"] = "2"
    assert live("WG305", fpga, with_one) == []
    assert [each.verdict for each in live("WG305", fpga, node())] == [Verdict.FAIL]


def test_a_device_class_may_stand_for_a_resource():
    definition = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": "fpga"},
        "spec": {"extendedResourceName": "example.com/fpga"},
    }
    assert said("WG305", with_limits({"example.com/fpga": 1}), definition) == []


@pytest.mark.parametrize(
    ("key", "right"),
    [
        ("requests.nvidia.com/gpu", ""),
        ("requests.nvidia.com/mig-1g.10gb", ""),
        ("requests.cpu", ""),
        ("count/jobs.batch", ""),
        ("gpu.deviceclass.resource.k8s.io/devices", ""),
        ("nvidia.com/gpu", "requests.nvidia.com/gpu"),
        ("limits.nvidia.com/gpu", "requests.nvidia.com/gpu"),
        ("requests.nvidia.com/gpus", "requests.nvidia.com/gpu"),
    ],
)
def test_a_quota_on_gpus_is_written_as_requests(key: str, right: str):
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {key: "4"}}}
    assert [each.expected for each in said("WG305", quota)] == ([right] if right else [])


@pytest.mark.parametrize(
    ("name", "product", "remedy"),
    [
        ("1g.10gb", "", ""),
        ("1g.10gb.me", "", ""),
        ("7g.141gb", "NVIDIA-H200", ""),
        ("1g.23gb", "NVIDIA-B200", ""),
        ("3g.40gb", "NVIDIA-A100-SXM4-80GB", ""),
        ("3g.40gb", "NVIDIA-L4", ""),
        ("1g.24gb-me", "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", ""),
        ("3g.20gb", "NVIDIA-A100-SXM4-80GB", "write one of them, or select A100 40GB"),
        ("3g.40gb", "NVIDIA-H100-NVL", ""),
        ("1g.10GB", "", "write nvidia.com/mig-1g.10gb, which A100 40GB or A100 80GB or H100 80GB has"),
        ("1g.5gb+me", "", "write nvidia.com/mig-1g.5gb.me, which A100 40GB has"),
        ("9g.999gb", "", "write a profile that `nvidia-smi mig -lgip` shows for your GPU"),
    ],
)
def test_a_profile_must_be_one_of_the_gpu(name: str, product: str, remedy: str):
    document = with_limits({f"nvidia.com/mig-{name}": 1})
    if product:
        document["spec"]["template"]["spec"]["nodeSelector"]["nvidia.com/gpu.product"] = product
    assert [each.remedy for each in said("WG306", document)] == ([remedy] if remedy else [])


def test_a_profile_that_a_node_offers_exists_whatever_the_table_says():
    document = with_limits({"nvidia.com/mig-1g.42gb": 1})
    assert said("WG306", document)
    new = node()
    new["status"]["allocatable"]["nvidia.com/mig-1g.42gb"] = "7"
    assert live("WG306", document, new) == []


@pytest.mark.parametrize("stated", ["development", "batch", "experiment"])
def test_who_is_not_production_may_share(stated: str):
    document = with_limits({"nvidia.com/gpu.shared": 1})
    document["metadata"]["annotations"]["warmgate/class"] = stated
    assert said("WG307", document) == []
    assert asked("WG307", document)


def test_a_pod_that_serves_nothing_needs_no_class_to_share():
    document = deployment(
        {"resources": {"limits": {"nvidia.com/gpu.shared": 1}}, "command": ["python3"], "args": ["x.py"]}
    )
    del document["metadata"]["annotations"]["warmgate/class"]
    assert said("WG307", document) == []


def test_production_is_safe_where_only_other_pools_share():
    shared = node("gpu-2", [{"key": "dev", "effect": "NoSchedule"}], {"nvidia.com/gpu.sharing-strategy": "mps"})
    assert live("WG307", deployment(), shared, node()) == []
