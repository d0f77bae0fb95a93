"""Rule of images: what runs must be named by something that does not move."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from serving.codes.lint import IMAGE_PINNED
from serving.facts.kube.image import Image, read_image
from serving.facts.kube.manifests import CLUSTER, Bundle, Document
from serving.facts.kube.predictor import components, model_of, model_path
from serving.facts.kube.shape import as_maps, as_text, dig
from serving.facts.kube.workloads import workloads
from serving.facts.kube.written import written_containers
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity

MOVING: Final = re.compile(r"latest(-.*)?|nightly", re.IGNORECASE)
FILLED_IN_LATER: Final = re.compile(r"\{\{|\$")  # a template's expression, or a variable


def _pinned(bundle: Bundle) -> Iterator[Look]:
    for document, path, image, who in _images(bundle):
        if not image or FILLED_IN_LATER.search(image):
            continue
        parts = read_image(image)
        problem = _problem(parts)
        if problem:
            expected = "a tag that never moves, or a digest"
            name = parts.repository
            remedy = f"name a release of {name}, best with its digest: {name}:TAG@sha256:..."
            yield Fault(document, path, f"{image}: {problem}", expected, remedy, who)
        else:
            yield Held(document)


def _images(bundle: Bundle) -> Iterator[tuple[Document, str, str, str]]:
    for document, container in written_containers(bundle):
        who = container.who(document.id)
        yield document, f"{container.path}.image", container.image, who
    for workload in workloads(bundle):
        for number, volume in enumerate(as_maps(workload.spec.get("volumes"))):
            path = f"{workload.path}.volumes[{number}].image.reference"
            yield workload.document, path, as_text(dig(volume, "image.reference")), workload.label
    for document in bundle.of("InferenceService"):
        if document.source != CLUSTER:
            yield from _model_images(document)


def _model_images(document: Document) -> Iterator[tuple[Document, str, str, str]]:
    """Models that are images: `oci://`, whose weights move with the tag."""
    for path, component in components(document):
        scheme, separator, image = as_text((model_of(component) or {}).get("storageUri")).partition("://")
        if separator and scheme in ("oci", "oci+native", "oci+fetch"):
            yield document, f"{path}.{model_path(component)}.storageUri", image, document.id


def _problem(image: Image) -> str:
    if image.digest:
        return ""
    if not image.tag:
        return "no tag, which means latest"
    return "a tag that moves" if MOVING.fullmatch(image.tag) else ""


RULES: Final = (
    Rule(
        IMAGE_PINNED,
        Severity.WARNING,
        "Under a tag that moves, a Pod that is rescheduled runs another engine than its neighbours: replicas differ, "
        "a rollback brings nothing back, and no load test speaks for what runs.",
        _pinned,
    ),
)
