from __future__ import annotations

from typing import Any

import pytest

from serving.facts.kube.selectors import selects

QWEN = {"app": "qwen", "tier": "1"}


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        pytest.param({}, True, id="an empty selector selects everything"),
        pytest.param(None, False, id="none selects nothing"),
        pytest.param("app=qwen", False, id="text is no selector"),
        pytest.param({"matchLabels": {"app": "qwen"}}, True, id="one label of two"),
        pytest.param({"matchLabels": {"app": "qwen", "zone": "a"}}, False, id="one label too many"),
        pytest.param({"matchLabels": {"tier": 1}}, True, id="a number that should have been quoted"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "qwen"]}]}, True, id="in"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "In"}]}, False, id="in nothing"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["qwen"]}]}, False, id="not"),
        pytest.param(
            {"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]},
            True,
            id="a label that is absent is not in any list",
        ),
        pytest.param({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}, False, id="exists"),
        pytest.param({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}, True, id="does not exist"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "Equals"}]}, False, id="no such operator"),
        pytest.param(
            {"matchLabels": {"app": "qwen"}, "matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]},
            False,
            id="both must hold",
        ),
    ],
)
def test_a_selector_selects_as_the_api_server_does(selector: Any, selected: bool):
    assert selects(selector, QWEN) is selected
