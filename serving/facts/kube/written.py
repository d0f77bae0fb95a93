"""Containers where a person wrote them, before KServe merges runtime and predictor: each once, in its own document.

For rules about what stands in a file (an image, a literal value). What will run is in `workloads.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from serving.facts.kube.container import Container
from serving.facts.kube.manifests import CLUSTER, Bundle, Document
from serving.facts.kube.once import once
from serving.facts.kube.predictor import FRAMEWORKS, RUNTIMES, components
from serving.facts.kube.shape import as_map, as_maps
from serving.facts.kube.workloads import of_document


@once
def written_containers(bundle: Bundle) -> tuple[tuple[Document, Container], ...]:
    """Every container that was written, with its document; an InferenceService's `model` is one of them."""
    return tuple(
        (document, container)
        for document in bundle.documents
        if document.source != CLUSTER
        for container in containers_of(bundle, document)
    )


def containers_of(bundle: Bundle, document: Document) -> Iterator[Container]:
    """The containers that were written in one document."""
    if document.kind in RUNTIMES:
        yield from _pod(document.spec, "spec")
        yield from _pod(as_map(document.spec.get("workerSpec")), "spec.workerSpec")
    elif document.kind == "InferenceService":
        for path, component in components(document):
            yield from _component(component, path)
    else:
        for workload in of_document(bundle, document):
            yield from workload.all_containers


def _component(body: Mapping[str, Any], path: str) -> Iterator[Container]:
    yield from _pod(body, path)
    yield from _pod(as_map(body.get("workerSpec")), f"{path}.workerSpec")
    for member in ("model", *FRAMEWORKS):
        model = body.get(member)
        if isinstance(model, Mapping):
            yield Container(model, f"{path}.{member}")


def _pod(spec: Mapping[str, Any], path: str) -> Iterator[Container]:
    for member in ("initContainers", "containers"):
        for number, body in enumerate(as_maps(spec.get(member))):
            yield Container(body, f"{path}.{member}[{number}]", member == "initContainers")
