from __future__ import annotations

from typing import Any

import pytest

from serving.facts.kube.container import Container
from serving.facts.kube.environment import environment, unseen_config_maps
from tests.judge.lint.mutate import bundle

SETTINGS = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings", "namespace": "llm"},
    "data": {"LEVEL": "DEBUG", "SIZE": "2"},
}


@pytest.mark.parametrize(
    ("container", "seen"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({"env": [{"name": "A", "value": "1"}]}, {"A": "1"}, id="a literal"),
        pytest.param({"env": [{"name": "A"}]}, {"A": ""}, id="a literal without a value is empty"),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, {"A": "2"}, id="the last one counts"
        ),
        pytest.param(
            {"envFrom": [{"configMapRef": {"name": "settings"}}]},
            {"LEVEL": "DEBUG", "SIZE": "2"},
            id="all of a ConfigMap",
        ),
        pytest.param(
            {"envFrom": [{"prefix": "VLLM_", "configMapRef": {"name": "settings"}}]},
            {"VLLM_LEVEL": "DEBUG", "VLLM_SIZE": "2"},
            id="under a prefix",
        ),
        pytest.param(
            {"envFrom": [{"configMapRef": {"name": "settings"}}], "env": [{"name": "LEVEL", "value": "INFO"}]},
            {"LEVEL": "INFO", "SIZE": "2"},
            id="a literal counts before a ConfigMap",
        ),
        pytest.param(
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "LEVEL"}}}]},
            {"A": "DEBUG"},
            id="one key of a ConfigMap",
        ),
        pytest.param(
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "settings", "key": "LEVEL"}}}]},
            {"A": None},
            id="a Secret's value is not to be seen",
        ),
        pytest.param(
            {"command": ["sh", "-c", "export LEVEL=DEBUG; SIZE=3 vllm serve --set=a=b"]},
            {"LEVEL": "DEBUG", "SIZE": "3"},
            id="a script's assignments",
        ),
    ],
)
def test_the_environment_is_what_the_process_will_see(container: dict[str, Any], seen: dict[str, str | None]):
    assert environment(bundle([SETTINGS]), "llm", Container(container, "c")) == seen


def test_a_config_map_of_another_namespace_is_not_there():
    container = Container({"envFrom": [{"configMapRef": {"name": "settings"}}]}, "c")
    assert environment(bundle([SETTINGS]), "other", container) == {}
    assert unseen_config_maps(bundle([SETTINGS]), "other", container) == ["settings"]
    assert unseen_config_maps(bundle([SETTINGS]), "llm", container) == []
