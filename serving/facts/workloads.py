"""All Pods of a bundle: what Kubernetes' own kinds lead to, and what KServe makes."""

from __future__ import annotations

from functools import lru_cache

from serving.facts.kserve import workloads_of
from serving.facts.manifests import CLUSTER, Bundle
from serving.facts.pods import Workload, plain_workloads


@lru_cache(maxsize=4)
def workloads(bundle: Bundle) -> tuple[Workload, ...]:
    """The workloads of every document that was written, in order; live objects make none."""
    found: list[Workload] = []
    for document in bundle.documents:
        if document.source != CLUSTER:
            found += plain_workloads(document)
            found += workloads_of(bundle, document)
    return tuple(found)
