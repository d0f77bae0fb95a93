"""Two ways of merging: Kubernetes' strategic merge, and the one by which a canary inherits."""

from __future__ import annotations

from typing import Any

import pytest

from serving.facts.kube.merging import merge, overlaid


@pytest.mark.parametrize(
    ("base", "patch", "expected"),
    [
        pytest.param({"a": 1, "b": 2}, {"b": 3}, {"a": 1, "b": 3}, id="members"),
        pytest.param({"m": {"a": 1}}, {"m": {"b": 2}}, {"m": {"a": 1, "b": 2}}, id="maps"),
        pytest.param({"args": [1]}, {"args": [2]}, {"args": [2]}, id="lists"),
        pytest.param(
            {"ports": [{"containerPort": 1}, {"containerPort": 2}]},
            {"ports": [{"containerPort": 2, "name": "b"}]},
            {"ports": [{"containerPort": 1}, {"containerPort": 2, "name": "b"}]},
            id="an-item-that-was-there-keeps-its-place",
        ),
        pytest.param(
            {"ports": [{"containerPort": 1}]},
            {"ports": [{"containerPort": 9}]},
            {"ports": [{"containerPort": 9}, {"containerPort": 1}]},
            id="a-new-item-comes-first",
        ),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "A", "valueFrom": {"b": 1}}]},
            {"env": [{"name": "A", "valueFrom": {"b": 1}}]},
            id="a-reference-replaces-a-value",
        ),
        pytest.param(
            {"env": [{"name": "A", "valueFrom": {"b": 1}}]},
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "A", "value": "1"}]},
            id="a-value-replaces-a-reference",
        ),
        pytest.param({"tolerations": [1]}, {"tolerations": []}, {"tolerations": [1]}, id="an-empty-list-is-not-sent"),
        pytest.param({"image": "a"}, {"image": ""}, {"image": "a"}, id="empty-text-is-not-sent"),
        pytest.param({"periodSeconds": 5}, {"periodSeconds": 0}, {"periodSeconds": 5}, id="zero-is-not-sent"),
        pytest.param(
            {"enableServiceLinks": True}, {"enableServiceLinks": False}, {"enableServiceLinks": False}, id="pointer"
        ),
        pytest.param({"env": "junk"}, {"env": [{"name": "A"}]}, {"env": [{"name": "A"}]}, id="malformed"),
    ],
)
def test_strategic_merge(base: dict[str, Any], patch: dict[str, Any], expected: dict[str, Any]):
    assert merge(base, patch) == expected


@pytest.mark.parametrize(
    ("base", "over", "expected"),
    [
        pytest.param({"a": 1}, {"a": 2, "b": 3}, {"a": 2, "b": 3}, id="members"),
        pytest.param({"m": {"a": 1}}, {"m": {"b": 2}}, {"m": {"a": 1, "b": 2}}, id="maps"),
        pytest.param({"l": [1]}, {"l": [2]}, {"l": [2]}, id="lists"),
        pytest.param(
            {"a": True, "b": 1, "c": "x"}, {"a": False, "b": 0, "c": ""}, {"a": True, "b": 1, "c": "x"}, id="0"
        ),
        pytest.param({}, {"a": False}, {"a": False}, id="zero-where-nothing-was"),
        pytest.param({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}, id="malformed"),
    ],
)
def test_a_canary_is_merged_without_zero_values(base: dict[str, Any], over: dict[str, Any], expected: dict[str, Any]):
    assert overlaid(base, over) == expected
