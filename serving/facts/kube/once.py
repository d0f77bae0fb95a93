"""Finds out about a bundle once: the answer stays with the bundle that was asked about, and goes with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from serving.facts.kube.manifests import Bundle

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


def once(find: Callable[Concatenate[Bundle, Asked], Answer]) -> Callable[Concatenate[Bundle, Asked], Answer]:
    """Keeps every answer of a function of a bundle (and of hashable arguments) in the bundle."""

    @wraps(find)
    def kept(bundle: Bundle, /, *args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        key = (find, *args, *kwargs.items())
        if key not in bundle.answers:
            bundle.answers[key] = find(bundle, *args, **kwargs)
        answer: Answer = bundle.answers[key]
        return answer

    return kept
