"""Finds what a selector selects among many things with labels, without looking at each of them every time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Final, Generic, Protocol, TypeVar

from serving.facts.kube.selectors import selects
from serving.facts.kube.shape import as_map, as_maps, text_map

GIVEN: Final = frozenset(  # labels that controllers add to each Pod, with values that nobody knows before
    {
        "pod-template-hash",
        "controller-revision-hash",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "controller-uid",
        "batch.kubernetes.io/controller-uid",
        "batch.kubernetes.io/job-completion-index",
        "isvc.generation",
    }
)
GIVEN_DOMAINS: Final = (
    "ray.io/",
    "leaderworkerset.sigs.k8s.io/",
    "jobset.sigs.k8s.io/",
    "volcano.sh/",
    "serving.knative.dev/",
)


class Labelled(Protocol):
    """A thing with labels in a namespace; an empty one may be any."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""

    @property
    def namespace(self) -> str:
        """Where it is."""


Thing = TypeVar("Thing", bound=Labelled)


class Reach(Generic[Thing]):
    """Things by namespace and by label. Namespaces asked for are a tuple; None is all of them."""

    def __init__(self, things: Iterable[Thing]) -> None:
        self.things = tuple(things)
        self._spaces: dict[str, list[Thing]] = {}
        self._pairs: dict[tuple[str, str], list[Thing]] = {}
        for thing in self.things:
            self._spaces.setdefault(thing.namespace, []).append(thing)
            for pair in thing.labels.items():
                self._pairs.setdefault(pair, []).append(thing)

    def within(self, namespaces: tuple[str, ...] | None) -> Iterator[Thing]:
        """Everything in these namespaces, and what names none."""
        if namespaces is None or "" in namespaces:
            return iter(self.things)
        return chain.from_iterable(self._spaces.get(each, ()) for each in dict.fromkeys((*namespaces, "")))

    def holds_any(self, namespaces: tuple[str, ...] | None) -> bool:
        """Is there anything in these namespaces?"""
        return next(self.within(namespaces), None) is not None

    def selected(self, selector: object, namespaces: tuple[str, ...] | None) -> list[Thing]:
        """What a LabelSelector selects there, if the labels that controllers add to Pods are as it wants them."""
        if not isinstance(selector, Mapping):
            return []
        equal = {key: value for key, value in text_map(selector.get("matchLabels")).items() if not _given(key)}
        rest = [each for each in as_maps(as_map(selector).get("matchExpressions")) if not _given(each.get("key"))]
        first = next(iter(equal.items()), None)
        if first is None:
            near = self.within(namespaces)
        else:
            anywhere = namespaces is None or "" in namespaces
            spaces = ("", *(namespaces or ()))
            near = (each for each in self._pairs.get(first, ()) if anywhere or each.namespace in spaces)
        wanted = {"matchLabels": equal, "matchExpressions": rest}
        return [each for each in near if selects(wanted, each.labels)]


def _given(key: object) -> bool:
    return isinstance(key, str) and (key in GIVEN or key.startswith(GIVEN_DOMAINS))
