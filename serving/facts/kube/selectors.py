"""Label selectors as Kubernetes reads them: `matchLabels` and `matchExpressions`, all of which must hold.

An empty selector selects everything, none at all selects nothing. What a selector of some kind means is for judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving.facts.kube.shape import as_map, as_maps, as_text, as_texts


def selects(selector: object, labels: Mapping[str, str]) -> bool:
    """Does a LabelSelector (`{matchLabels, matchExpressions}`) select what has these labels?

    >>> selects({"matchLabels": {"app": "qwen"}}, {"app": "qwen"}), selects({}, {}), selects(None, {})
    (True, True, False)
    """
    if not isinstance(selector, Mapping):
        return False
    for key, value in as_map(selector.get("matchLabels")).items():
        if isinstance(value, str | int | float) and labels.get(key) != as_text(value):
            return False  # at the first that differs: there may be many thousand pairs
    return all(holds(each, labels) for each in as_maps(selector.get("matchExpressions")))


def policy_selector(spec: Mapping[str, Any]) -> object:
    """The podSelector of a NetworkPolicy; the API takes one that is left out for an empty one, which selects all."""
    selector = spec.get("podSelector")
    return {} if selector is None else selector


def holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Does one of `matchExpressions` hold of these labels? Of four operators; the API takes no other for Pods."""
    key, values = as_text(expression.get("key")), as_texts(expression.get("values"))
    match expression.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False
