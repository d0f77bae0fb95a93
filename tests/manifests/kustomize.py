"""Builds kustomizations with kubectl: this project's, and ones made up of its components. Skips without kubectl."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

MANIFESTS: Final = Path(__file__).resolve().parents[2] / "manifests"
Object = dict[str, Any]


def _of_kind(kind: str) -> list[str]:
    found = (path for path in MANIFESTS.rglob("kustomization.yaml") if yaml.safe_load(path.read_text())["kind"] == kind)
    return sorted(path.parent.relative_to(MANIFESTS).as_posix() for path in found)


KUSTOMIZATIONS: Final = _of_kind("Kustomization")
COMPONENTS: Final = [path for path in _of_kind("Component") if path.startswith("components/")]


def build(path: str) -> list[Object]:
    """The objects of a kustomization below manifests/."""
    return _objects(text(path))


def endpoint_with(*components: str, resources: Iterable[str] = ("base",), manifests: Path = MANIFESTS) -> list[Object]:
    """The base (or other resources), with components that no overlay has put together."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        overlay = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(manifests / each, here) for each in resources],
            "components": [os.path.relpath(manifests / "components" / each, here) for each in components],
        }
        (here / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        return build_at(here)


def only(objects: Iterable[Object], kind: str, name: str = "") -> Object:
    """The one object of a kind, and of a name where it is given."""
    (found,) = (each for each in objects if each["kind"] == kind and name in ("", each["metadata"]["name"]))
    return found


@cache
def text(path: str) -> str:
    """What kubectl makes of a kustomization below manifests/."""
    return _built(MANIFESTS / path)


def build_at(folder: Path) -> list[Object]:
    """The objects of a kustomization anywhere."""
    return _objects(_built(folder))


def _objects(rendered: str) -> list[Object]:
    return [each for each in yaml.load_all(rendered, yaml.CSafeLoader) if each is not None]


def _built(folder: Path) -> str:
    done = subprocess.run(
        [_kubectl(), "kustomize", str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, f"kubectl warns: {done.stderr}"
    return done.stdout


def _kubectl() -> str:
    beside = Path(sys.executable).with_name("kubectl")
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        pytest.skip("kubectl is neither beside this Python nor on PATH", allow_module_level=True)
    return found
