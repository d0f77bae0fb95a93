from __future__ import annotations

from typing import Any

import pytest

from tests.judge.lint.asked import asked, deployment, said

OURS = {"matchLabels": {"app.kubernetes.io/instance": "qwen"}}


def budget(selector: Any = None, name: str = "qwen", namespace: str = "llm", **spec: Any) -> dict[str, Any]:
    spec = {"selector": OURS if selector is None else selector, **spec}
    return {"kind": "PodDisruptionBudget", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def replicas(number: int) -> dict[str, Any]:
    manifest = deployment()
    manifest["spec"]["replicas"] = number
    return manifest


@pytest.mark.parametrize(
    ("document", "covered"),
    [
        pytest.param(budget(maxUnavailable=1), True, id="by labels"),
        pytest.param(budget({}, maxUnavailable=1), True, id="an empty selector takes all"),
        pytest.param(budget({}, namespace="web", maxUnavailable=1), False, id="of another namespace"),
        pytest.param(budget({}, namespace="", maxUnavailable=1), True, id="of a namespace not written down"),
        pytest.param(budget("junk", maxUnavailable=1), False, id="no selector"),
        pytest.param(budget({"matchLabels": {"app": "other"}}, maxUnavailable=1), False, id="of other Pods"),
    ],
)
def test_a_budget_covers_what_it_selects(document: dict[str, Any], covered: bool):
    assert (said("WG343", deployment(), document) == []) is covered


def test_a_single_pod_needs_no_budget():
    assert not asked("WG343", replicas(1))
    assert not asked("WG343", deployment({"image": "nginx:1.27", "args": None}))


@pytest.mark.parametrize(
    ("number", "spec", "allowed"),
    [
        pytest.param(2, {"maxUnavailable": 1}, True, id="one may go"),
        pytest.param(2, {"maxUnavailable": "10%"}, True, id="a tenth of two is one, rounded up"),
        pytest.param(2, {"maxUnavailable": "0%"}, False, id="none may go"),
        pytest.param(2, {"minAvailable": 1}, True, id="one must stay"),
        pytest.param(2, {"minAvailable": "50%"}, True, id="half must stay"),
        pytest.param(2, {"minAvailable": "51%"}, False, id="half of two and a bit is two"),
        pytest.param(2, {"minAvailable": "100%"}, False, id="all must stay"),
        pytest.param(2, {"minAvailable": 3}, False, id="more than there are"),
        pytest.param(1, {"minAvailable": 1}, False, id="the only one"),
        pytest.param(1, {"maxUnavailable": 1}, True, id="the only one may go"),
        pytest.param(0, {"minAvailable": 1}, True, id="none is there"),
        pytest.param(2, {"minAvailable": "2"}, True, id="a number in quotes is for the API to refuse"),
        pytest.param(2, {}, True, id="nothing said"),
    ],
)
def test_drains_are_allowed(number: int, spec: dict[str, Any], allowed: bool):
    document = budget(**spec)
    assert asked("WG344", replicas(number), document)
    assert (said("WG344", replicas(number), document) == []) is allowed


def test_a_budget_of_other_pods_is_none_of_our_business():
    assert not asked("WG344", deployment(), budget({"matchLabels": {"app": "web"}}, maxUnavailable=0))


def test_two_budgets_block_each_other():
    (finding,) = said("WG344", deployment(), budget(maxUnavailable=1), budget({}, name="all", maxUnavailable=1))
    assert finding.subject == "PodDisruptionBudget/llm/all"
    assert finding.observed == "selects Pods that PodDisruptionBudget/llm/qwen selects too"
