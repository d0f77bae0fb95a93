"""What the chart's scenarios and the kustomizations render to: `python -m tests.rendered DIR` writes it there.

For checks of all of it at once, in tests and by hand. The chart is rendered as release `qwen` in namespace `llm`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.helm.scenarios import CHART, SCENARIOS, scenario, texts
from tests.manifests.kustomize import KUSTOMIZATIONS, text


def scenarios() -> dict[str, Path | None]:
    """The chart's supported scenarios by name, each with its values; `default` has none."""
    return {"default": None} | {name: CHART / "ci" / f"{name}-values.yaml" for name in SCENARIOS}


@cache
def chart_text(name: str) -> str:
    """One scenario, rendered to many documents."""
    rendered = texts({} if name == "default" else scenario(name))
    return "".join(
        f"---\n# {path}\n{each.strip()}\n" for path, each in rendered.items() if path.endswith(".yaml") and each.strip()
    )


def documents(rendered: str) -> list[dict[str, Any]]:
    """The documents of a rendered text."""
    return [one for one in yaml.load_all(rendered, yaml.CSafeLoader) if one]


def everything() -> Iterator[tuple[str, str]]:
    """Each scenario and each kustomization under a name that fits a file."""
    for name in scenarios():
        yield f"chart-{name}", chart_text(name)
    for name in KUSTOMIZATIONS:
        yield f"kustomize-{name.replace('/', '-')}", text(name)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for name, rendered in everything():
        (target / f"{name}.yaml").write_text(rendered)
        print(target / f"{name}.yaml")
