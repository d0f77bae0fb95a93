"""What the chart's scenarios and the kustomizations render to: `python -m tests.rendered DIR` writes it there.

For checks of all of it at once, in tests and by hand. The chart is rendered as release `qwen` in namespace `llm`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "helm" / "warmgate"
MANIFESTS = ROOT / "manifests"


def scenarios() -> dict[str, Path | None]:
    """The chart's supported scenarios by name, each with its values; `default` has none."""
    return {"default": None} | {
        path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))
    }


def kustomizations() -> dict[str, Path]:
    """Every directory that can be applied with `kubectl apply -k`, by its path below manifests/."""
    found = {}
    for path in sorted(MANIFESTS.rglob("kustomization.yaml")):
        if yaml.safe_load(path.read_text()).get("kind", "Kustomization") == "Kustomization":
            found[path.parent.relative_to(MANIFESTS).as_posix()] = path.parent
    return found


@cache
def chart_text(scenario: str) -> str:
    """One scenario, rendered to many documents."""
    path = scenarios()[scenario]
    values = yaml.safe_load(path.read_text()) if path else {}
    with helm_python.Chart.load(CHART) as chart:
        rendered = chart.render(values or {}, name="qwen", namespace="llm")
    return "".join(
        f"---\n# {name}\n{text.strip()}\n"
        for name, text in rendered.items()
        if text.strip() and not name.endswith("NOTES.txt")
    )


@cache
def kustomization_text(name: str) -> str:
    """One kustomization, built by kubectl."""
    done = subprocess.run(
        [kubectl(), "kustomize", str(kustomizations()[name])], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def kubectl() -> str:
    """The kubectl of this environment, else the one on PATH."""
    beside = Path(sys.executable).with_name("kubectl")
    return str(beside) if beside.exists() else "kubectl"


def documents(text: str) -> list[dict[str, Any]]:
    """The documents of a rendered text."""
    return [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]


def everything() -> Iterator[tuple[str, str]]:
    """Each scenario and each kustomization under a name that fits a file."""
    for name in scenarios():
        yield f"chart-{name}", chart_text(name)
    for name in kustomizations():
        yield f"kustomize-{name.replace('/', '-')}", kustomization_text(name)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for name, text in everything():
        (target / f"{name}.yaml").write_text(text)
        print(target / f"{name}.yaml")
