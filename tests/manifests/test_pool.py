"""Who may take what of the pool: priority classes, quotas, and whether what is to run fits into them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import pytest
import yaml

from tests.manifests.checks import demand
from tests.manifests.kustomize import KUSTOMIZATIONS, MANIFESTS, Object, build, only
from tests.manifests.pods import Pods, pods

POOL_GPUS = 8
GPU = "nvidia.com/gpu"
CLASSES = {each["metadata"]["name"]: each for each in build("pool") if each["kind"] == "PriorityClass"}
JOBS = [
    path for path in KUSTOMIZATIONS if path.startswith(("jobs/", "gpu-smoke-test")) and not path.endswith("/common")
]
SIZES = {"Gi": 2**30, "": 1}


def _quotas(objects: Iterable[Object]) -> list[tuple[str, str, list[str], dict[str, str]]]:
    found = []
    for each in objects:
        if each["kind"] == "ResourceQuota":
            (scope,) = each["spec"]["scopeSelector"]["matchExpressions"]
            assert scope["scopeName"] == "PriorityClass"
            found.append((each["metadata"]["namespace"], scope["operator"], scope["values"], each["spec"]["hard"]))
    return found


QUOTAS = _quotas([*build("pool"), *build("overlays/gpu-pool")])


def _amount(text: str) -> int:
    digits = text.removesuffix("Gi")
    return int(digits) * SIZES[text[len(digits) :]]


def _of_class(quota: tuple[str, str, list[str], dict[str, str]], namespace: str, name: str) -> bool:
    where, operator, values, _ = quota
    return where == namespace and (name in values) == (operator == "In")


def test_production_evicts_and_nobody_else_does():
    values = {name: (each["value"], each["preemptionPolicy"]) for name, each in CLASSES.items()}
    assert values == {
        "warmgate-inference": (100000, "PreemptLowerPriority"),
        "warmgate-batch": (10000, "Never"),
        "warmgate-experiment": (1000, "Never"),
    }
    assert not any(each["globalDefault"] for each in CLASSES.values())


def test_a_gpu_is_left_that_production_cannot_take_and_every_share_fits_the_pool():
    shares = {(where, *values): int(hard[f"requests.{GPU}"]) for where, how, values, hard in QUOTAS if how == "In"}
    assert shares == {
        ("llm", "warmgate-inference"): 7,
        ("llm-batch", "warmgate-batch"): 2,
        ("llm-experiments", "warmgate-experiment"): 1,
    }
    assert shares["llm", "warmgate-inference"] < POOL_GPUS
    service = only(build("overlays/gpu-pool"), "InferenceService")
    assert service["metadata"]["annotations"]["warmgate/pool-gpus"] == str(POOL_GPUS)


@pytest.mark.parametrize("namespace", ["llm", "llm-batch", "llm-experiments"])
def test_whoever_names_the_class_of_another_or_none_gets_no_gpu(namespace: str):
    own = {"llm": "warmgate-inference", "llm-batch": "warmgate-batch", "llm-experiments": "warmgate-experiment"}
    for name, resource in product([*CLASSES, "", "system-cluster-critical"], _every_name_of_a_gpu()):
        bounds = [int(each[3][f"requests.{resource}"]) for each in QUOTAS if _of_class(each, namespace, name)]
        assert (min(bounds) == 0) == (name != own[namespace]), resource


def _every_name_of_a_gpu() -> set[str]:
    """What the operator's configurations may make of one: itself, a turn on it, a slice of it."""
    layouts = yaml.safe_load((MANIFESTS / "gpu-operator" / "mig" / "config.yaml").read_text())["mig-configs"]
    slices = {profile for parts in layouts.values() for part in parts for profile in part.get("mig-devices", {})}
    assert len(slices) > 1
    return {GPU, f"{GPU}.shared", *(f"nvidia.com/mig-{profile}" for profile in slices)}


@pytest.mark.parametrize("path", ["overlays/gpu-pool", "overlays/canary-rehearsal", *JOBS])
def test_all_pods_with_every_surge_fit_the_quota_of_their_class(path: str):
    objects = build(path)
    groups = pods(objects)
    makers = ("InferenceService", "Job", "Pod", "TrainJob")
    (namespace,) = {each["metadata"]["namespace"] for each in objects if each["kind"] in makers}
    (name,) = {each.spec["priorityClassName"] for each in groups}
    bounds = [each[3] for each in QUOTAS if _of_class(each, namespace, name)]
    assert bounds
    for hard in bounds:
        assert _wanted(groups, hard) == [], f"{path} does not fit {hard}"


def _wanted(groups: list[Pods], hard: dict[str, str]) -> list[str]:
    short = []
    for resource, bound in hard.items():
        kind, _, name = resource.partition(".")
        if resource == "pods":
            wanted = sum(each.replicas + each.surge for each in groups)
        elif name == GPU:
            wanted = demand(groups, GPU)
        else:
            wanted = sum((each.replicas + each.surge) * _amount(each.asks(kind, name)) for each in groups)
        if wanted > _amount(bound):
            short.append(f"{resource}: {wanted} of {bound}")
    return short


@pytest.mark.parametrize(
    "resource", ["pods", f"requests.{GPU}", "requests.cpu", "limits.cpu", "requests.memory", "limits.memory"]
)
def test_a_quota_that_is_one_short_is_told(resource: str):
    objects = build("overlays/canary-rehearsal")
    hard = only(objects, "ResourceQuota", "inference")["spec"]["hard"]
    assert _wanted(pods(objects), hard) == []
    one_less = {"Gi": "167Gi"}.get(hard[resource][-2:], str(_amount(hard[resource]) - 1))
    assert [each.partition(":")[0] for each in _wanted(pods(objects), hard | {resource: one_less})] == [resource]


@pytest.mark.parametrize(
    "path", [path for path in KUSTOMIZATIONS if "jobs" in path or "overlays" in path or "smoke" in path]
)
def test_a_priority_class_that_is_named_exists(path: str):
    for each in pods(build(path)):
        assert each.spec.get("priorityClassName", "warmgate-batch") in CLASSES


def test_no_default_gives_every_container_a_gpu():
    for each in [*build("pool"), *build("overlays/gpu-pool")]:
        if each["kind"] == "LimitRange":
            for limit in each["spec"]["limits"]:
                assert {key for part in limit.values() if isinstance(part, dict) for key in part} == {"cpu", "memory"}


def test_both_limit_ranges_say_the_same():
    one, other = (MANIFESTS / path / "limit-range.yaml" for path in ("pool/namespace", "components/quota"))
    assert one.read_text() == other.read_text()


def test_every_layout_fits_a_gpu_with_seven_slices_and_eighty_gigabytes():
    layouts = yaml.safe_load((MANIFESTS / "gpu-operator" / "mig" / "config.yaml").read_text())["mig-configs"]
    most = {"1g.10gb": 7, "2g.20gb": 3, "3g.40gb": 2}  # NVIDIA's placements for A100-80GB and H100-80GB
    for name, ((part),) in layouts.items():
        devices = part.get("mig-devices", {})
        assert part["mig-enabled"] is (name != "all-disabled")
        assert devices.keys() <= most.keys()
        assert all(count <= most[profile] for profile, count in devices.items())
        assert sum(int(profile[0]) * count for profile, count in devices.items()) <= 7
        assert sum(int(profile[3:-2]) * count for profile, count in devices.items()) <= 80


def test_the_operator_is_told_of_configurations_that_exist_and_of_no_label_of_ours():
    objects = build("gpu-operator")
    policy = only(objects, "ClusterPolicy")
    plugin, mig = policy["spec"]["devicePlugin"]["config"], policy["spec"]["migManager"]["config"]
    assert plugin["default"] in only(objects, "ConfigMap", plugin["name"])["data"]
    assert "config.yaml" in only(objects, "ConfigMap", mig["name"])["data"]
    assert policy["metadata"] == {"name": "cluster-policy"}
