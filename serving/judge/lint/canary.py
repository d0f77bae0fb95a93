"""Rules of canaries (`spec.canary` of an InferenceService): what KServe rejects, ignores, or does otherwise than meant.

KServe's validating webhook is written in Go and runs in the cluster only; these rules say the same before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from serving.codes.lint import CANARY_CACHE, CANARY_PROMOTABLE, CANARY_REPLICAS, CANARY_SCALER, CANARY_URI
from serving.facts.kube.manifests import Bundle, Document
from serving.facts.kube.merging import overlaid
from serving.facts.kube.model_cache import OPTED_OUT, cache_of
from serving.facts.kube.predictor import (
    AUTOSCALER,
    canaries,
    deployment_name,
    least_replicas,
    model_of,
    model_path,
    storage_uri,
)
from serving.facts.kube.shape import as_map, as_text, as_whole, dig
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, held_or

EXPLICIT: Final = ("runtime", "command", "args", "env", "resources")


def with_canaries(bundle: Bundle) -> Iterator[tuple[Document, Mapping[str, Any]]]:
    """InferenceServices that have a canary, each with its stable predictor."""
    for document in bundle.of("InferenceService"):
        if canaries(document):
            yield document, as_map(document.spec.get("predictor"))


def canary_name(document: Document, number: int, canary: Mapping[str, Any]) -> str:
    """How a finding names a canary: as its Pods are named, by its place in the list where it has no name."""
    predictor = as_map(canary.get("predictor"))
    named = f"canary {deployment_name(document, predictor)}" if predictor.get("name") else f"canary[{number}]"
    return f"{document.id} ({named})"


def _uri(bundle: Bundle) -> Iterator[Look]:
    for document, stable in with_canaries(bundle):
        taken = {storage_uri(stable): "stable's"}
        unusable = _unusable(stable)
        if unusable:
            path, observed, remedy = unusable
            expected = "one storage URI, which differs from release to release"
            yield Fault(document, f"spec.predictor.{path}", observed, expected, remedy)
            continue
        for number, canary in canaries(document):
            predictor = as_map(canary.get("predictor"))
            who, uri = canary_name(document, number, canary), storage_uri(overlaid(stable, predictor))
            path = f"spec.canary[{number}].predictor.{_uri_path(predictor)}"
            if "storageUris" in predictor:
                path = f"spec.canary[{number}].predictor.storageUris"
                observed, remedy = "storageUris, which KServe ignores in a canary", "use model.storageUri"
                yield Fault(document, path, observed, "one storage URI of its own", remedy, who)
            elif uri in taken:
                observed = f"{uri}, the same as {taken[uri]}" if storage_uri(predictor) else f"none: inherits {uri}"
                remedy = (
                    "give each release a URI of its own, such as pvc://models/NAME/RELEASE; only the text must differ"
                )
                yield Fault(document, path, observed, f"a URI other than {taken[uri]}", remedy, who)
            else:
                taken[uri] = f"canary {as_text(predictor.get('name'))}'s"
                yield Held(document)


def _unusable(stable: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """What makes KServe see no URI of stable: where, what stands there, and what to do."""
    if "storageUris" in stable:
        return "storageUris", "storageUris, which KServe compares as no URI", "use one model.storageUri"
    if storage_uri(stable):
        return None
    if model_of(stable) is None:
        remedy = "give kserve-container a STORAGE_URI variable, such as pvc://models/NAME/RELEASE"
        return "containers", "a custom container without STORAGE_URI", remedy
    return f"{model_path(stable)}.storageUri", "no storageUri", "set storageUri, such as pvc://models/NAME/RELEASE"


def _uri_path(predictor: Mapping[str, Any]) -> str:
    custom = model_of(predictor) is None and "containers" in predictor
    return "containers" if custom else f"{model_path(predictor)}.storageUri"


def _replicas(bundle: Bundle) -> Iterator[Look]:
    for document, stable in with_canaries(bundle):
        most = least_replicas(stable)
        for number, canary in canaries(document):
            path = f"spec.canary[{number}].predictor.minReplicas"
            given = as_whole(dig(canary, "predictor.minReplicas"))
            who, percent = canary_name(document, number, canary), as_whole(canary.get("trafficPercent"))
            if given is None and percent == 0:
                observed = "trafficPercent 0 without minReplicas: 0 Pods"
                yield Fault(document, path, observed, "at least 1 Pod", "set minReplicas: 1", who)
            elif given is not None and given < 1:
                yield Fault(document, path, f"minReplicas: {given}", "at least 1 Pod", "set minReplicas: 1", who)
            elif given is not None and given > most:
                observed, remedy = f"minReplicas: {given}, stable's {most}", f"set minReplicas to {most} or fewer"
                yield Fault(document, path, observed, f"at most stable's minReplicas, {most}", remedy, who)
            else:
                yield Held(document)


def _scaler(bundle: Bundle) -> Iterator[Look]:
    for document, _ in with_canaries(bundle):
        scaler = document.annotations.get(AUTOSCALER)
        if scaler == "keda":
            path = f'metadata.annotations["{AUTOSCALER}"]'
            remedy = f"set {AUTOSCALER}: none while there is a canary, or remove the canary"
            yield Fault(document, path, "autoscalerClass keda beside a canary", "autoscalerClass none", remedy)
        else:
            yield Held(document)


def _cache(bundle: Bundle) -> Iterator[Look]:
    for document, stable in with_canaries(bundle):
        found = cache_of(bundle, document, storage_uri(stable))
        if found is None:
            yield Held(document)
        else:
            remedy = f'annotate it with {OPTED_OUT}: "true", or keep weights on pvc:// or oci://'
            yield Fault(
                document,
                "spec.canary",
                f"a canary beside {found.kind}/{found.name}, which caches {as_text(found.spec.get('sourceModelUri'))}",
                "no model cache of stable's URI",
                remedy,
            )


def _promotable(bundle: Bundle) -> Iterator[Look]:
    for document, stable in with_canaries(bundle):
        faults = [] if stable.get("name") else [_unnamed(document)]
        for number, canary in canaries(document):
            predictor = as_map(canary.get("predictor"))
            who, path = canary_name(document, number, canary), f"spec.canary[{number}].predictor"
            faults += [
                Fault(
                    document,
                    f"{path}.{member}",
                    f"{shown}, which does not override stable's",
                    "a value that overrides, or the same as stable's",
                    "KServe drops 0, false and empty values here: say it in stable too, or another value",
                    who,
                )
                for member, shown in _dropped(stable, predictor)
            ]
            ours, theirs = model_of(stable), model_of(predictor)
            missing = [each for each in EXPLICIT if ours and theirs and each in ours and each not in theirs]
            if missing:
                faults.append(
                    Fault(
                        document,
                        f"{path}.{model_path(predictor)}",
                        f"{', '.join(missing)} only in stable's model",
                        "the same members in both models",
                        f"write {', '.join(missing)} in the canary too, with stable's values where they do not change",
                        who,
                    )
                )
        yield from held_or(document, faults)


def _unnamed(document: Document) -> Fault:
    remedy = "name the first release too, such as r1, before there is a canary: renaming it needs another URI"
    return Fault(document, "spec.predictor.name", "stable has no name", "a name, such as r1", remedy)


def _dropped(stable: Mapping[str, Any], canary: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Members that a canary states as nothing (0, false, empty) where stable has something: KServe keeps stable's."""
    for key, value in canary.items():
        before = stable.get(key)
        if isinstance(value, Mapping) and value:
            yield from _dropped(as_map(before), value, f"{path}{key}.")
        elif value in (None, 0, False, "", [], {}) and before and key != "minReplicas":
            yield f"{path}{key}", f"{key}: {json.dumps(value)}"


RULES: Final = (
    Rule(
        CANARY_URI,
        Severity.ERROR,
        "Promotion renames the predictor, and KServe refuses that unless one storage URI changes with it; it compares "
        "the text, and takes several URIs, or none, for no change.",
        _uri,
    ),
    Rule(
        CANARY_REPLICAS,
        Severity.ERROR,
        "Without minReplicas KServe rounds stable's minReplicas x trafficPercent up: 0 percent makes no Pod, so the "
        "canary never gets Ready. More than stable's minReplicas is rejected.",
        _replicas,
    ),
    Rule(
        CANARY_SCALER,
        Severity.ERROR,
        "KServe makes the canary a ScaledObject without triggers, which KEDA's CRD rejects; that ends the reconcile of "
        "stable too.",
        _scaler,
    ),
    Rule(
        CANARY_CACHE,
        Severity.ERROR,
        "The cache is matched by stable's URI for the whole InferenceService: the canary mounts a path that is not in "
        "the cache, and promotion changes labels, which restarts the Pods.",
        _cache,
    ),
    Rule(
        CANARY_PROMOTABLE,
        Severity.WARNING,
        "A promotion restarts no Pod only if the promoted predictor makes the very Pod template that the canary has; "
        "what a canary inherits, or could not override, is easily another after it.",
        _promotable,
    ),
)
