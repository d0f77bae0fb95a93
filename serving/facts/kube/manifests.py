"""What was written down for a cluster: documents, each with the place where it stands, and all of them together.

Holds no knowledge of what a document means; `pods.py` and `kserve.py` do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from serving.facts.kube.shape import as_map, as_text, text_map

CLUSTER = "cluster"  # the source of documents that were read from the API server


@dataclass(frozen=True, eq=False)
class Document:
    """One Kubernetes object. `source` is a file, a template or `cluster`; `index` counts from 0, `line` from 1.

    `find_line` tells the line of a path in it, or of what of the path is there.
    """

    source: str
    index: int
    line: int
    body: Mapping[str, Any]
    find_line: Callable[[str], int] | None = None

    @cached_property
    def kind(self) -> str:
        """Its kind, or the empty string."""
        return as_text(self.body.get("kind"))

    @cached_property
    def api_version(self) -> str:
        """Its apiVersion, group included."""
        return as_text(self.body.get("apiVersion"))

    @cached_property
    def group(self) -> str:
        """The API group; the empty string is the core group."""
        group, slash, _ = self.api_version.rpartition("/")
        return group if slash else ""

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """Its metadata; empty where it has none."""
        return as_map(self.body.get("metadata"))

    @cached_property
    def name(self) -> str:
        """Its name, or the generateName in front of it."""
        return as_text(self.metadata.get("name")) or as_text(self.metadata.get("generateName"))

    @cached_property
    def namespace(self) -> str:
        """The namespace it names; empty where it leaves it to whoever applies it."""
        return as_text(self.metadata.get("namespace"))

    @cached_property
    def labels(self) -> dict[str, str]:
        """Its own labels, not those of a Pod template in it."""
        return text_map(self.metadata.get("labels"))

    @cached_property
    def annotations(self) -> dict[str, str]:
        """Its own annotations."""
        return text_map(self.metadata.get("annotations"))

    @cached_property
    def spec(self) -> Mapping[str, Any]:
        """Its spec; empty where it has none."""
        return as_map(self.body.get("spec"))

    @cached_property
    def id(self) -> str:
        """`Kind/namespace/name`, or `Kind/name`."""
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)

    @cached_property
    def place(self) -> str:
        """Where a person finds it."""
        return self.place_of("")

    def place_of(self, path: str) -> str:
        """Where a person finds what stands at a path of it."""
        if self.source == CLUSTER:
            return self.source
        line = self.line if self.find_line is None or not path else self.find_line(path)
        return f"{self.source}:{line}"


@dataclass(frozen=True, eq=False)
class Bundle:
    """Everything that is judged together: the documents, and what a cluster said if one was asked.

    `live` is None when no cluster was asked. `unseen` names what the cluster would not tell: kind -> why.
    `pool_gpus` is what the person said about the pool, where no object does.
    """

    documents: tuple[Document, ...]
    live: tuple[Document, ...] | None = None
    unseen: Mapping[str, str] = field(default_factory=dict)
    pool_gpus: int | None = None
    answers: dict[object, Any] = field(default_factory=dict, init=False, repr=False)  # what `once.py` keeps

    @cached_property
    def _by_kind(self) -> dict[str, list[Document]]:
        found: dict[str, list[Document]] = {}
        for document in (*self.documents, *(self.live or ())):
            found.setdefault(document.kind, []).append(document)
        return found

    def of(self, *kinds: str) -> Iterator[Document]:
        """The documents of these kinds, not what is live."""
        for kind in kinds:
            yield from (each for each in self._by_kind.get(kind, ()) if each.source != CLUSTER)

    @cached_property
    def _by_name(self) -> dict[tuple[str, str], list[Document]]:
        found: dict[tuple[str, str], list[Document]] = {}
        for kind, documents in self._by_kind.items():
            for document in documents:  # what was written comes before what is live
                found.setdefault((kind, document.name), []).append(document)
        return found

    def find(self, kind: str, name: str, namespace: str = "") -> Document | None:
        """The object of this name in this namespace, written or live; a namespace nobody wrote down fits any."""
        return next(
            (each for each in self._by_name.get((kind, name), ()) if near(each.namespace, namespace)),
            None,
        )

    def known(self, *kinds: str) -> Iterator[Document]:
        """The documents of these kinds, and the live objects that none of them replaces."""
        for kind in kinds:
            for each in self._by_kind.get(kind, ()):
                if each.source != CLUSTER or self.find(kind, each.name, each.namespace) is each:
                    yield each


def near(one: str, other: str) -> bool:
    """Could both be the same namespace? One that is not written down may be any."""
    return not one or not other or one == other
