"""The chart rendered with values of a test's own, as release `qwen` in namespace `llm`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import helm_python
import yaml

CHART = Path(__file__).parents[2] / "helm" / "warmgate"


def rendered(values: dict[str, Any] | None = None, name: str = "qwen") -> list[dict[str, Any]]:
    """All documents. Raises HelmError."""
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(values or {})
        files = chart.render(values or {}, name=name, namespace="llm")
    texts = [text for file, text in sorted(files.items()) if file.endswith(".yaml")]
    return [one for text in texts for one in yaml.load_all(text, yaml.CSafeLoader) if one]


def one(documents: list[dict[str, Any]], kind: str, ending: str = "") -> dict[str, Any]:
    """The only document of a kind whose name ends so."""
    (found,) = (each for each in documents if each["kind"] == kind and each["metadata"]["name"].endswith(ending))
    return found
