"""Rules of the documents themselves: each is an object, and each object is written once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from serving.codes.lint import IS_OBJECT, UNIQUE
from serving.facts.kube.manifests import CLUSTER, Bundle, Document
from serving.facts.kube.pods import Workload
from serving.facts.kube.services import services
from serving.facts.kube.workloads import workloads
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity

NAMELESS: Final = ("Kustomization", "Component", "List")  # kinds that are read by tools, or hold objects


def _unique(bundle: Bundle) -> Iterator[Look]:
    first: dict[tuple[str, str, str, str], Document] = {}
    for document in bundle.documents:
        if document.source == CLUSTER or not document.metadata.get("name") or document.kind in NAMELESS:
            continue
        earlier = first.setdefault((document.group, document.kind, document.namespace, document.name), document)
        if earlier is document:
            yield Held(document)
        else:
            observed = f"written again at {document.place}, first at {earlier.place}"
            yield Fault(document, "metadata.name", observed, "each object once", "remove one of both, or rename it")
    yield from _made_twice(bundle, first)


def _made_twice(bundle: Bundle, written: dict[tuple[str, str, str, str], Document]) -> Iterator[Look]:
    """Objects of ours under a name that KServe takes for its own, and two predictors that share one name."""
    made: dict[tuple[str, str], Workload] = {}
    for workload in workloads(bundle):
        if workload.kind != "InferenceService":
            continue
        earlier = made.setdefault((workload.namespace, workload.name), workload)
        own = written.get(("apps", "Deployment", workload.namespace, workload.name))
        if earlier is not workload and earlier.document is not workload.document:
            observed = f"makes Deployment {workload.name}, as does {earlier.label}"
            remedy = "rename one InferenceService or its predictor"
            yield Fault(workload.document, "metadata.name", observed, "a Deployment of its own", remedy, workload.label)
        if own is not None:
            yield _taken(own, workload.name, workload.document)
    for service in services(bundle):
        if service.made_for is not None and service.made_for.by_kserve:
            own = written.get(("", "Service", service.namespace, service.name))
            if own is not None:
                yield _taken(own, service.name, service.document)


def _taken(own: Document, name: str, maker: Document) -> Fault:
    observed, expected = f"{name}, which KServe makes for {maker.id}", "a name that KServe does not use"
    return Fault(own, "metadata.name", observed, expected, "rename it, or leave it to KServe")


def _is_object(bundle: Bundle) -> Iterator[Look]:
    for document in bundle.documents:
        if document.source == CLUSTER:
            continue
        named = document.name or document.kind in NAMELESS
        missing = [
            member
            for member, there in (
                ("apiVersion", document.api_version),
                ("kind", document.kind),
                ("metadata.name", named),
            )
            if not there
        ]
        if not missing:
            yield Held(document)
        else:
            observed = f"no {', no '.join(missing)}"
            remedy = "complete it, or pass rendered manifests only (no values file, no template)"
            who = document.id or document.place
            yield Fault(document, missing[0], observed, "apiVersion, kind and metadata.name", remedy, who)


RULES: Final = (
    Rule(
        UNIQUE,
        Severity.ERROR,
        "Of two documents with one name the later one wins, or two controllers fight over it; nobody is told.",
        _unique,
    ),
    Rule(
        IS_OBJECT,
        Severity.ERROR,
        "The API rejects what names no kind or no object, and no other rule can look at it.",
        _is_object,
    ),
)
