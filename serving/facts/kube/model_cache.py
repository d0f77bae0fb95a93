"""Which cache on the nodes KServe takes a model from, if any: LocalModelCache and its namespaced form.

Follows KServe's webhook: a source matches a URI that is it or lies below it, and the annotation that opts out counts
whatever its value.
"""

from __future__ import annotations

from typing import Final

from serving.facts.kube.manifests import Bundle, Document, near
from serving.facts.kube.shape import as_text

OPTED_OUT: Final = "serving.kserve.io/disable-localmodel"


def cache_of(bundle: Bundle, document: Document, uri: str) -> Document | None:
    """The cache from which an object of KServe gets this URI; None where it fetches or mounts it by itself."""
    if OPTED_OUT in document.annotations:
        return None
    for cache in bundle.known("LocalModelCache", "LocalModelNamespaceCache"):
        source = as_text(cache.spec.get("sourceModelUri")).rstrip("/")
        if source and f"{uri}/".startswith(f"{source}/") and near(cache.namespace, document.namespace):
            return cache
    return None
