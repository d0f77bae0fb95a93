"""All Pods of a bundle: what Kubernetes' own kinds lead to, and what KServe makes."""

from __future__ import annotations

from collections.abc import Mapping

from serving.facts.kube.kserve import workloads_of
from serving.facts.kube.manifests import CLUSTER, Bundle, Document
from serving.facts.kube.once import once
from serving.facts.kube.pods import Workload, plain_workloads
from serving.facts.kube.reach import Reach


@once
def workloads(bundle: Bundle) -> tuple[Workload, ...]:
    """The workloads of every document that was written, in order; live objects make none."""
    found: list[Workload] = []
    for document in bundle.documents:
        if document.source != CLUSTER:
            found += plain_workloads(document)
            found += workloads_of(bundle, document)
    return tuple(found)


@once
def _by_document(bundle: Bundle) -> Mapping[int, list[Workload]]:
    found: dict[int, list[Workload]] = {}
    for workload in workloads(bundle):
        found.setdefault(id(workload.document), []).append(workload)
    return found


def of_document(bundle: Bundle, document: Document) -> list[Workload]:
    """The workloads that one document leads to, such as an InferenceService's stable, canaries and workers."""
    return _by_document(bundle).get(id(document), [])


@once
def pods(bundle: Bundle) -> Reach[Workload]:
    """The workloads of a bundle by namespace and label."""
    return Reach(workloads(bundle))
