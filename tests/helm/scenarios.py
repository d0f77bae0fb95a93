"""Renders the chart as `helm template` does, without a cluster: the supported scenarios, and values laid over them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from helm_python import Chart

CHART: Final = Path(__file__).resolve().parents[2] / "helm" / "warmgate"
SCENARIOS: Final = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
Values = dict[str, Any]
Object = dict[str, Any]


@cache
def chart() -> Chart:
    """The chart of this checkout, loaded once."""
    return Chart.load(CHART)


def scenario(name: str) -> Values:
    """The values of one supported scenario."""
    values: Values = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text(encoding="utf-8"))
    return values


def over(base: Mapping[str, Any], *patches: Mapping[str, Any]) -> Values:
    """Values laid over values, as Helm does: maps by key, None removes, everything else replaces."""
    merged = dict(base)
    for patch in patches:
        for key, value in patch.items():
            if value is None:
                merged.pop(key, None)
            elif isinstance(value, Mapping):
                before = merged.get(key)
                merged[key] = over(before if isinstance(before, Mapping) else {}, value)
            else:
                merged[key] = value
    return merged


def texts(values: Mapping[str, Any], name: str = "qwen", namespace: str = "llm", source: Chart | None = None) -> Values:
    """What every template became, by its path within templates/."""
    if source is None:
        return dict(_rendered(json.dumps(values), name, namespace))
    rendered = source.render(dict(values), name=name, namespace=namespace)
    return {path.removeprefix("warmgate/templates/"): text for path, text in rendered.items()}


@cache
def _rendered(values: str, name: str, namespace: str) -> Values:
    return texts(json.loads(values), name, namespace, chart())


def render(values: Mapping[str, Any], **release: Any) -> list[Object]:
    """Every object that the chart renders."""
    return list(_objects(texts(values, **release)))


def notes(values: Mapping[str, Any], **release: Any) -> str:
    """NOTES.txt as a person reads it."""
    return str(texts(values, **release)["NOTES.txt"])


def only(objects: list[Object], kind: str) -> Object:
    """The one object of a kind."""
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


def _objects(rendered: Mapping[str, str]) -> Iterator[Object]:
    for path, text in rendered.items():
        if path.endswith(".yaml"):
            yield from (each for each in yaml.load_all(text, yaml.CSafeLoader) if each is not None)
