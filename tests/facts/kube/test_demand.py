from __future__ import annotations

from fractions import Fraction
from typing import Any

from serving.facts.kube.demand import Demand, demand
from serving.facts.kube.manifests import Bundle, Document
from serving.facts.kube.workloads import workloads


def of(spec: dict[str, Any], *beside: dict[str, Any], kind: str = "Pod") -> Demand:
    first = {"kind": kind, "metadata": {"name": "qwen"}, "spec": spec}
    bundle = Bundle(tuple(Document("test.yaml", number, 1, body) for number, body in enumerate((first, *beside))))
    return demand(bundle, workloads(bundle)[0])


def test_containers_add_up_and_a_greedy_init_container_counts_instead():
    containers = [{"resources": {"requests": {"cpu": "500m"}}}, {"resources": {"requests": {"cpu": 2}}}]
    init = [
        {"resources": {"requests": {"cpu": "4", "memory": "1Gi"}}},
        {"restartPolicy": "Always", "resources": {"requests": {"cpu": "250m"}}},
    ]
    found = of({"containers": containers, "initContainers": init, "overhead": {"cpu": "100m"}})
    assert found.requests == {"cpu": Fraction(41, 10), "memory": Fraction(2**30)}


def test_a_limit_is_a_request_too_where_none_is_given():
    found = of(
        {"containers": [{"resources": {"limits": {"nvidia.com/gpu": "2", "cpu": "8"}, "requests": {"cpu": "4"}}}]}
    )
    assert found.requests == {"nvidia.com/gpu": 2, "cpu": 4}
    assert found.limits == {"nvidia.com/gpu": 2, "cpu": 8}
    assert found.unstated == {"requests.memory": ("",), "limits.memory": ("",)}


def test_a_limit_range_fills_in():
    item = {"type": "Container", "default": {"cpu": "2", "memory": "4Gi"}, "defaultRequest": {"cpu": "1"}}
    limits = {"kind": "LimitRange", "metadata": {"name": "a"}, "spec": {"limits": [item]}}
    found = of({"containers": [{"name": "a"}]}, limits)
    assert found.requests == {"cpu": 1, "memory": 4 * 2**30}
    assert found.limits == {"cpu": 2, "memory": 4 * 2**30}
    assert found.unstated == {}


def test_kserve_fills_in_what_its_container_leaves_open():
    spec = {"predictor": {"containers": [{"name": "kserve-container", "image": "a"}]}}
    assert of(spec, kind="InferenceService").limits == {"cpu": 1, "memory": 2 * 2**30}


def test_junk_is_no_amount():
    assert of({"containers": [{"resources": {"limits": {"cpu": "much", "memory": {}}}}, "junk"]}).limits == {}
