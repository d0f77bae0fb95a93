"""Containers where a person wrote them, before KServe merges runtime and predictor: each once, in its own document.

For rules about what stands in a file (an image, a literal value). What will run is in `workloads.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from serving.facts.container import Container
from serving.facts.manifests import CLUSTER, Bundle, Document
from serving.facts.once import once
from serving.facts.shape import as_map, as_maps, dig
from serving.facts.workloads import workloads

RUNTIMES: Final = frozenset({"ServingRuntime", "ClusterServingRuntime"})
COMPONENTS: Final = ("predictor", "transformer", "explainer")


@once
def written_containers(bundle: Bundle) -> tuple[tuple[Document, Container], ...]:
    """Every container that was written, with its document; an InferenceService's `model` is one of them."""
    plain: dict[int, list[Container]] = {}
    for workload in workloads(bundle):
        plain.setdefault(id(workload.document), []).extend(workload.all_containers)
    return tuple(
        (document, container)
        for document in bundle.documents
        if document.source != CLUSTER
        for container in _containers(document, plain.get(id(document), []))
    )


def _containers(document: Document, plain: list[Container]) -> Iterator[Container]:
    if document.kind in RUNTIMES:
        yield from _pod(document.spec, "spec")
        yield from _pod(as_map(document.spec.get("workerSpec")), "spec.workerSpec")
    elif document.kind == "InferenceService":
        for component in COMPONENTS:
            yield from _component(dig(document.body, f"spec.{component}"), f"spec.{component}")
        for number, canary in enumerate(as_maps(document.spec.get("canary"))):
            yield from _component(canary.get("predictor"), f"spec.canary[{number}].predictor")
    else:
        yield from plain


def _component(value: object, path: str) -> Iterator[Container]:
    body = as_map(value)
    yield from _pod(body, path)
    yield from _pod(as_map(body.get("workerSpec")), f"{path}.workerSpec")
    model = body.get("model")
    if isinstance(model, Mapping):
        yield Container(model, f"{path}.model")


def _pod(spec: Mapping[str, Any], path: str) -> Iterator[Container]:
    for member in ("initContainers", "containers"):
        for number, body in enumerate(as_maps(spec.get(member))):
            yield Container(body, f"{path}.{member}[{number}]", member == "initContainers")
