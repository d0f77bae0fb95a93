"""Builds kustomizations with `kubectl kustomize`, and tells what one refers to.

Knows which directory is a kustomization; reads no manifest itself.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serving.errors import CannotObserve, Refused
from serving.facts.kube.shape import as_map, as_maps, as_text, as_texts
from serving.observe.manifest_files import innermost, read_file
from serving.observe.manifest_yaml import parse

NAMES: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
BUILD_SECONDS: Final = 60.0
LISTS: Final = (
    "resources",
    "bases",
    "components",
    "crds",
    "configurations",
    "generators",
    "transformers",
    "validators",
)
OUT_OF_REACH: Final = ("unable to access", "Could not resolve host", "dial tcp", "no such host", "hit timeout")
PATCHES: Final = ("patches", "replacements", "patchesStrategicMerge", "patchesJson6902", "openapi")


@dataclass(frozen=True)
class References:
    """What a kustomization is, and the local paths that it takes in."""

    component: bool
    paths: frozenset[Path]


def kustomization_in(names: Collection[str]) -> str | None:
    """The file among a directory's names that makes it a kustomization."""
    return next((name for name in NAMES if name in names), None)


def build(directory: Path) -> str:
    """The documents that a kustomization stands for, as one YAML text."""
    import asyncio  # 30 ms at the start of a command that mostly needs none of it

    from serving.observe.kubectl import kubectl

    answer = asyncio.run(kubectl(["kustomize", str(directory)], BUILD_SECONDS))
    if answer.code == 0:
        return answer.out.decode(errors="replace")
    lines = [line for line in answer.errors.splitlines() if line.strip() and not line.startswith("#")]
    said = " ".join(" ".join(lines).removeprefix("error: ").split()) or f"exit code {answer.code}"
    if any(text in said for text in OUT_OF_REACH):
        raise CannotObserve(
            f"{directory}: what it takes from elsewhere is out of reach: {innermost(said)}: check the net"
        )
    if "permission denied" in said:
        raise CannotObserve(f"{directory}: not all of it may be read: {innermost(said)}: change its files' modes")
    if answer.code < 0 or "executable file not found" in said:
        raise CannotObserve(f"{directory}: kubectl kustomize did not run ({said[:200]}): run it by hand")
    raise Refused(f"{directory}: kustomize cannot build it: {innermost(said)}: correct it, then `kubectl kustomize` it")


def references(file: Path) -> References:
    """What the kustomization of this file takes in."""
    paths: set[Path] = set()
    component = False
    for parsed in parse(read_file(file), str(file)):
        body = as_map(parsed.body)
        component = component or as_text(body.get("kind")) == "Component"
        named = [text for key in LISTS for text in as_texts(body.get(key))]
        for key in PATCHES:
            value = body.get(key)
            named += as_texts(value)
            named += [as_text(each.get("path")) for each in [*as_maps(value), as_map(value)]]
        paths |= {(file.parent / text).resolve() for text in named if text and "\n" not in text and "://" not in text}
    return References(component, frozenset(paths))
