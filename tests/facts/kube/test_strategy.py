from __future__ import annotations

from typing import Any

import pytest

from serving.facts.kube.manifests import Bundle, Document
from serving.facts.kube.strategy import share, strategy
from serving.facts.kube.workloads import workloads

POD = {"containers": [{"name": "engine", "image": "vllm/vllm-openai:v0.32.0"}]}


def resolved(kind: str, replicas: int, **spec: Any) -> tuple[str, tuple[int, int] | None]:
    body = {"kind": kind, "metadata": {"name": "qwen"}, "spec": {"template": {"spec": POD}, **spec}}
    (workload,) = workloads(Bundle((Document("test.yaml", 0, 1, body),)))
    found = strategy(workload)
    assert found
    return found.name, found.at(replicas)


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [(1, (1, 0)), (2, (1, 0)), (3, (1, 0)), (4, (1, 1)), (7, (2, 1)), (8, (2, 2)), (10, (3, 2))],
)
def test_a_deployment_adds_a_quarter_rounded_up_and_misses_one_rounded_down(replicas: int, expected: tuple[int, int]):
    assert resolved("Deployment", replicas) == ("RollingUpdate", expected)
    assert resolved("Deployment", replicas, strategy={"type": "RollingUpdate"}) == ("RollingUpdate", expected)


@pytest.mark.parametrize(
    ("rolling", "replicas", "expected"),
    [
        pytest.param({"maxUnavailable": 0}, 4, (1, 0), id="the other one keeps its default"),
        pytest.param({"maxSurge": 0}, 4, (0, 1), id="no surge"),
        pytest.param({"maxSurge": "0%", "maxUnavailable": "25%"}, 2, (0, 1), id="both round to zero"),
        pytest.param({"maxSurge": "100%", "maxUnavailable": "0%"}, 3, (3, 0), id="twice as many"),
        pytest.param({"maxSurge": "1", "maxUnavailable": 0}, 3, None, id="a number in quotes is none"),
        pytest.param({"maxSurge": {"a": 1}, "maxUnavailable": 0}, 3, None, id="a map"),
    ],
)
def test_what_is_written_is_resolved_as_kubernetes_does(rolling: Any, replicas: int, expected: tuple[int, int] | None):
    assert resolved("Deployment", replicas, strategy={"rollingUpdate": rolling})[1] == expected


def test_a_stateful_set_has_no_surge_and_a_daemon_set_may():
    assert resolved("StatefulSet", 3) == ("RollingUpdate", (0, 1))
    assert resolved("StatefulSet", 3, updateStrategy={"type": "OnDelete"})[0] == "OnDelete"
    assert resolved("DaemonSet", 3) == ("RollingUpdate", (0, 1))
    rolling = {"rollingUpdate": {"maxSurge": "10%", "maxUnavailable": 0}}
    assert resolved("DaemonSet", 3, updateStrategy=rolling) == ("RollingUpdate", (1, 0))


@pytest.mark.parametrize(
    ("value", "up", "expected"), [("33%", True, 1), ("33%", False, 0), ("x", True, None), (True, True, None)]
)
def test_a_share_is_a_number_or_a_percentage(value: object, up: bool, expected: int | None):
    assert share(value, 3, up) == expected
