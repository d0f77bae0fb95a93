"""How KServe merges what people wrote: runtime under predictor, and stable under canary.

Two ways, because the controller uses two: Kubernetes' strategic merge patch for the former, a merge of Go structs
(mergo, with override) for the latter. Knows nothing of what is merged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from serving.facts.kube.shape import as_map, as_maps, as_text, text_map

MERGE_KEYS: Final = {  # lists of a Pod or a container that strategic merge joins by a key; every other list replaces
    "env": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "volumes": "name",
    "imagePullSecrets": "name",
    "resourceClaims": "name",
}
PLAIN: Final = frozenset(  # members that Go holds without a pointer: written as zero, they are not written at all
    {
        "readOnly",
        "stdin",
        "stdinOnce",
        "tty",
        "initialDelaySeconds",
        "periodSeconds",
        "timeoutSeconds",
        "successThreshold",
        "failureThreshold",
        "hostNetwork",
        "hostPID",
        "hostIPC",
    }
)
PLACEHOLDER: Final = re.compile(r"\{\{-?\s*\.(Name|Namespace|Labels|Annotations)(?:\.([\w]+))?\s*-?\}\}")


def merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Kubernetes' strategic merge: maps by key, some lists by their items' key, others whole.

    What was added to a joined list stands before what was there, so a port that a predictor adds becomes the first.

    >>> merge({"env": [{"name": "A", "value": "1"}], "args": ["a"]}, {"env": [{"name": "B"}], "args": ["b"]})
    {'env': [{'name': 'B'}, {'name': 'A', 'value': '1'}], 'args': ['b']}
    """
    merged = dict(base)
    for key, value in patch.items():
        before = merged.get(key)
        if value in (None, "", [], {}) or (key in PLAIN and not value):
            continue
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            merged[key] = merge(before, value)
        elif key in MERGE_KEYS and isinstance(value, list) and isinstance(before, list):
            merged[key] = _joined(as_maps(before), as_maps(value), MERGE_KEYS[key])
        else:
            merged[key] = value
    return merged


def _joined(before: list[Mapping[str, Any]], items: list[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    there = {as_text(each.get(key)): each for each in before}
    order = list(there)
    patched = [_patched(there.get(as_text(each.get(key)), {}), each) for each in items]
    names = [as_text(each.get(key)) for each in items]
    kept = [name for name in order if name not in names]
    found: list[Mapping[str, Any]] = []
    while kept or patched:  # two orders are kept: that of the patch, and, between items that were there, that of before
        earlier = kept and patched and names[0] in there and order.index(kept[0]) < order.index(names[0])
        if kept and (earlier or not patched):
            found.append(there[kept.pop(0)])
        else:
            found.append(patched.pop(0))
            names.pop(0)
    return found


def _patched(before: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    merged = merge(before, item)
    if "valueFrom" in merged and merged.get("value"):  # of a variable's two forms the later one counts
        del merged["value" if item.get("valueFrom") else "valueFrom"]
    return merged


def overlaid(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Mergo's merge with override: maps by key, lists whole, and no zero value (0, false, "", []) overrides.

    >>> overlaid({"replicas": 2, "env": [1], "on": True}, {"replicas": 0, "env": [2], "on": False})
    {'replicas': 2, 'env': [2], 'on': True}
    """
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping):
            merged[key] = overlaid(as_map(merged.get(key)), value)
        elif value not in (None, 0, False, "", []) or key not in merged:
            merged[key] = value
    return merged


def filled(value: Any, metadata: Mapping[str, Any]) -> Any:
    """A runtime's container with `{{.Name}}` and its like replaced by what the InferenceService's metadata says."""
    if isinstance(value, Mapping):
        return {key: filled(item, metadata) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, metadata) for item in value]
    if not isinstance(value, str) or "{{" not in value:
        return value

    def said(found: re.Match[str]) -> str:
        member, key = found[1].lower(), found[2]
        return text_map(metadata.get(member)).get(key, "") if key else as_text(metadata.get(member))

    return PLACEHOLDER.sub(said, value)
