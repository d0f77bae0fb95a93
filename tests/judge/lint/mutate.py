"""Mutants: a good bundle, changed in one way, that must trip exactly one rule. They are YAML; adding one is no Python.

Each document of `mutants/*.yaml` has `rule`, `name`, `base` (a file of `bases/`), `change` (a list), and where needed
`also` (rules that cannot but trip too), `live` (what a cluster said), `given` (members of the Bundle) and
`unclear: true` (the rule must say that it cannot tell). A change is one of
    {in: Kind/name, remove: path}      {in: Kind/name, set: path, to: value}      {drop: Kind/name}      {add: document}
A path is dotted, with [n] for a list's item, [+] to append one, and ["a.b/c"] for a key with dots.
"""

from __future__ import annotations

import copy
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from serving.facts.kube.manifests import Bundle, Document

HERE = Path(__file__).parent
STEP = re.compile(r'\["([^"]+)"\]|\[(\d+|\+)\]|([^.\[\]]+)')


def base(name: str) -> list[dict[str, Any]]:
    """The documents of a good bundle, for whoever asks to change."""
    return copy.deepcopy(_read(name))


@cache
def _read(name: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all((HERE / "bases" / f"{name}.yaml").read_text()) if one]


def mutants() -> list[dict[str, Any]]:
    found = []
    for path in sorted((HERE / "mutants").glob("*.yaml")):
        found += [one for one in yaml.safe_load_all(path.read_text()) if one]
    return found


def changed(documents: list[dict[str, Any]], changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    documents = copy.deepcopy(documents)
    for change in changes:
        match change:
            case {"add": document}:
                documents.append(document)
            case {"drop": name}:
                documents.remove(named(documents, name))
            case {"in": name, "remove": path}:
                parent, key = reach(named(documents, name), path)
                del parent[key]
            case {"in": name, "set": path, "to": value}:
                parent, key = reach(named(documents, name), path)
                if key == "+":
                    parent.append(value)
                else:
                    parent[key] = value
            case _:
                raise ValueError(f"not a change: {change}")
    return documents


def named(documents: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = [one for one in documents if f"{one['kind']}/{one['metadata']['name']}" == name]
    return found


def reach(value: Any, path: str) -> tuple[Any, Any]:
    """The container of what a path names, and its key there; mappings on the way are made where they are missing."""
    steps = [
        quoted or (number if number == "+" else int(number) if number else plain)
        for quoted, number, plain in STEP.findall(path)
    ]
    for step in steps[:-1]:
        value = value[step] if isinstance(step, int) else value.setdefault(step, {})
    return value, steps[-1]


def bundle(documents: list[dict[str, Any]], live: list[dict[str, Any]] | None = None, **more: Any) -> Bundle:
    """Documents as facts; what is `live` was said by a cluster."""
    written = tuple(Document("test.yaml", index, 1, body) for index, body in enumerate(documents))
    seen = None if live is None else tuple(Document("cluster", index, 1, body) for index, body in enumerate(live))
    return Bundle(written, seen, **more)
