"""The schema of the values is closed at every level and covers exactly what values.yaml states."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python import Chart, HelmValuesError

from tests.helm.scenarios import CHART, chart

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
AS_KUBERNETES_HAS_IT = {"pod.affinity.nodeAffinity", "pod.affinity.podAffinity", "pod.affinity.podAntiAffinity"}
FREE = {"loadtest.profile.body", "global"}


def levels(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object of the schema, with its path; items of lists as `[]`."""
    if schema.get("type") == "object":
        yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from levels(part, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from levels(schema["items"], f"{path}[]")


LEVELS = dict(levels(SCHEMA))


def test_every_level_is_closed_or_a_map_that_kubernetes_has() -> None:
    for path, level in LEVELS.items():
        if path in AS_KUBERNETES_HAS_IT | FREE:
            continue
        if "properties" in level:
            assert level["additionalProperties"] is False, path
        else:
            assert isinstance(level["additionalProperties"], dict), path


def test_everything_has_a_description() -> None:
    for path, level in LEVELS.items():
        for name, part in level.get("properties", {}).items():
            assert part.get("description") or part.get("properties") or path.startswith("model.resources"), (path, name)


def test_the_schema_has_every_value_and_no_other() -> None:
    def keys(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
        for name, value in values.items():
            inner = f"{path}.{name}".lstrip(".")
            yield inner
            if isinstance(value, Mapping) and "properties" in LEVELS.get(inner, {}):
                yield from keys(value, inner)

    def known(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
        for name, part in schema.get("properties", {}).items():
            inner = f"{path}.{name}".lstrip(".")
            if path != "pod.affinity":
                yield inner
            yield from known(part, inner)

    assert set(keys(VALUES)) | {"global"} == set(known(SCHEMA))


def test_a_value_taken_away_is_refused_by_its_name() -> None:
    """A null removes a value, and so does a key whose members are all comments."""
    fixed = {path: level["properties"] for path, level in LEVELS.items() if "properties" in level and "[]" not in path}
    taken = [f"{path}.{name}".lstrip(".") for path, names in fixed.items() for name in names]
    for path in set(taken) - AS_KUBERNETES_HAS_IT - {"global"}:
        *parents, name = path.split(".")
        values: dict[str, Any] = {name: None}
        for parent in reversed(parents):
            values = {parent: values}
        with pytest.raises(HelmValuesError, match=f"'/{'/'.join(parents)}': missing property '{name}'|at '': missing"):
            chart().validate_schema(values)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"model": {"servedName": "Qwen/Qwen3-0.6B"}}, id="a-name-of-the-hub"),
        pytest.param({"model": {"resources": {"limits": {"cpu": 8, "memory": "25.5Gi"}}}}, id="quantities"),
        pytest.param(
            {"model": {"resources": {"requests": {"cpu": "500m", "ephemeral-storage": "1e9"}}}}, id="an-exponent"
        ),
    ],
)
def test_what_kubernetes_and_vllm_take_is_taken(values: dict[str, Any]) -> None:
    chart().validate_schema(values)


def test_entries_of_maps_may_be_taken_away() -> None:
    chart().validate_schema({"gpu": {"nodeSelector": {"nvidia.com/gpu.present": None}}})


def test_the_chart_may_be_part_of_another(tmp_path: Path) -> None:
    """Helm gives every part the values of `global`, asked or not."""
    shutil.copytree(CHART, tmp_path / "charts" / "warmgate")
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: site\nversion: 1.0.0\n", encoding="utf-8")
    values = {"global": {"region": "north"}, "warmgate": {"gpu": {"count": 2}}}
    rendered = Chart.load(tmp_path).render(values, name="qwen", namespace="llm")
    assert "--tensor-parallel-size=2" in rendered["site/charts/warmgate/templates/inferenceservice.yaml"]


@pytest.mark.parametrize("path", sorted(path for path, level in LEVELS.items() if "properties" in level))
def test_a_typo_is_refused_at(path: str) -> None:
    """At every level, inside lists too."""
    typo: Any = {"tpyo": 1}
    for name in reversed(path.split(".")) if path else ():
        plain = name.removesuffix("[]")
        typo = {plain: [typo] if name.endswith("[]") else typo}
    with pytest.raises(HelmValuesError, match="tpyo"):
        chart().validate_schema(typo)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"gpu": {"count": 0.5}}, id="a-fraction-of-a-gpu"),
        pytest.param({"gpu": {"count": "1"}}, id="a-count-as-text"),
        pytest.param({"gpu": {"resource": "gpu"}}, id="a-resource-without-domain"),
        pytest.param({"class": "prod"}, id="an-unknown-class"),
        pytest.param({"endpoint": {"drainSeconds": 0}}, id="no-drain"),
        pytest.param({"endpoint": {"loadMargin": 0.9}}, id="a-margin-below-one"),
        pytest.param({"canary": {"trafficPercent": 101}}, id="more-than-all-traffic"),
        pytest.param({"model": {"resources": {"limits": {"memory": None}}}}, id="no-memory-limit"),
        pytest.param({"model": {"release": "R1"}}, id="a-release-kserve-rejects"),
        pytest.param({"model": {"args": [64]}}, id="an-argument-that-is-a-number"),
        pytest.param({"model": {"storageUri": "pvc:///r1"}}, id="a-uri-without-a-claim"),
        pytest.param({"model": {"storageUri": "pvc://models/r 1"}}, id="a-uri-with-a-blank"),
        pytest.param(
            {"networkPolicy": {"modelStore": [{"cidr": "10.0.0.1", "ports": [443]}]}},
            id="an-address-without-its-prefix",
        ),
        pytest.param({"model": {"servedName": 'qwen"} or vector(0)'}}, id="a-name-that-ends-a-query"),
        pytest.param({"model": {"resources": {"limits": {"memory": "24GB"}}}}, id="no-quantity"),
        pytest.param({"pod": {"sharedMemory": "2 Gi"}}, id="a-quantity-with-a-blank"),
        pytest.param({"image": {"digest": "sha256:abc"}}, id="a-short-digest"),
        pytest.param({"lint": {"allow": {"WG101": "no"}}}, id="a-code-that-is-not-lints"),
    ],
)
def test_a_wrong_value_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(HelmValuesError):
        chart().validate_schema(values)
