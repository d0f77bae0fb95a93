"""Rules of names, labels and annotations around an InferenceService: what restarts Pods, or has objects deleted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from serving.codes.lint import LABELS_OURS, METADATA_CONSTANT, RUNTIME_VERSIONED
from serving.facts.kube.manifests import CLUSTER, Bundle, Document
from serving.facts.kube.predictor import ISVC_LABEL, RUNTIMES
from serving.facts.kube.shape import text_map
from serving.facts.kube.workloads import workloads
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity
from serving.judge.lint.subjects import predictors

MOVING: Final = frozenset({"helm.sh/chart", "app.kubernetes.io/version"})
MOVING_WORD: Final = re.compile(
    r"(?:^|[-_./])(?:checksum|hash|sha|sha256|commit|git|timestamp|revision|build|pipeline"
    r"|(?:re)?started-?at|(?:re)?deployed-?at|updated-?at|generated-?at|date)(?:$|[-_./])",
    re.IGNORECASE,
)
MOVING_VALUE: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}|\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*")
PRESET: Final = "kserve-"  # KServe's own runtimes, which come with its release
MAKERS: Final = ("InferenceService", "LLMInferenceService")


def _constant(bundle: Bundle) -> Iterator[Look]:
    for document, path, said in _copied(bundle):
        moving = {key: value for key, value in said.items() if _moves(key, value)}
        for key, value in moving.items():
            yield Fault(
                document,
                f'{path}["{key}"]',
                f"{key}: {value}",
                "labels and annotations that stay the same from release to release",
                "leave it out here; it is at home on objects that are no source of Pods",
            )
        if not moving:
            yield Held(document)


def _copied(bundle: Bundle) -> Iterator[tuple[Document, str, dict[str, str]]]:
    """Every map of labels and of annotations that KServe copies into a Pod template."""
    used = {id(each.runtime) for each in workloads(bundle) if each.runtime}
    for document in bundle.of("InferenceService"):
        yield document, "metadata.labels", document.labels
        yield document, "metadata.annotations", document.annotations
        for path, predictor, _ in predictors(document):
            for member in ("labels", "annotations"):
                yield document, f"{path}.{member}", text_map(predictor.get(member))
    for runtime in bundle.of(*RUNTIMES):
        for member in ("labels", "annotations"):
            if id(runtime) in used:
                yield runtime, f"spec.{member}", text_map(runtime.spec.get(member))


def _moves(key: str, value: str) -> bool:
    return key in MOVING or bool(MOVING_WORD.search(key)) or bool(MOVING_VALUE.fullmatch(value))


def _labels_ours(bundle: Bundle) -> Iterator[Look]:
    for document in bundle.of("Deployment", "Service"):
        owner = document.labels.get(ISVC_LABEL)
        if owner is not None and document.labels.get("component") == "predictor":
            yield Fault(
                document,
                f'metadata.labels["{ISVC_LABEL}"]',
                f"{ISVC_LABEL}: {owner} with component: predictor",
                "labels of your own",
                "remove both from metadata.labels (they are right in selectors): KServe deletes what it did not make",
            )
        else:
            yield Held(document)
    for workload in workloads(bundle):
        app = workload.labels.get("app", "")
        if workload.kind not in MAKERS and app.startswith("isvc."):
            remedy = "give these Pods another app label"
            path = workload.path.removesuffix(".spec") + ".metadata.labels.app"
            yield Fault(workload.document, path, f"app: {app}", "a label that KServe's Service does not select", remedy)


def _versioned(bundle: Bundle) -> Iterator[Look]:
    seen: set[int] = set()
    for workload in workloads(bundle):
        runtime = workload.runtime
        if runtime is None or not workload.runs_vllm or id(runtime) in seen or runtime.source == CLUSTER:
            continue
        seen.add(id(runtime))
        if any(character.isdigit() for character in runtime.name) or runtime.name.startswith(PRESET):
            yield Held(runtime)
        else:
            yield Fault(
                runtime,
                "metadata.name",
                f"{runtime.name}, which names no version",
                "a version or a hash in the runtime's name",
                f"name it such as {runtime.name}-0-1-0, and give every change of it a new name",
            )


RULES: Final = (
    Rule(
        METADATA_CONSTANT,
        Severity.WARNING,
        "KServe copies labels and annotations of the InferenceService, of its predictors and of the runtime's spec "
        "into the Pod template: one that changes with a release restarts every Pod, and loads every model again.",
        _constant,
    ),
    Rule(
        LABELS_OURS,
        Severity.ERROR,
        "KServe deletes every Deployment and Service that carries its labels and is none of its own, whoever made it; "
        "Pods with its app label get traffic that is not theirs.",
        _labels_ours,
    ),
    Rule(
        RUNTIME_VERSIONED,
        Severity.WARNING,
        "An edit of a runtime restarts every InferenceService that uses it, stable and canary at once: a runtime has "
        "no canary. A new name per version makes the change part of a release.",
        _versioned,
    ),
)
