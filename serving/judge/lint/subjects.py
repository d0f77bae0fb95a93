"""Which documents the rules about KServe are about: InferenceServices that serve a language model, and their parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from serving.facts.kube.kserve import inherited
from serving.facts.kube.manifests import Bundle, Document
from serving.facts.kube.pods import Workload
from serving.facts.kube.predictor import FRAMEWORKS, canaries, model_of
from serving.facts.kube.shape import EMPTY, as_map, as_text, dig
from serving.facts.kube.workloads import workloads

CLASSICAL: Final = frozenset(FRAMEWORKS) - {"huggingface", "triton"}


def services_of_models(bundle: Bundle) -> Iterator[Document]:
    """InferenceServices in which vLLM runs, or may run as far as one can see."""
    seen: set[int] = set()
    for workload in workloads(bundle):
        document = workload.document
        if workload.kind == "InferenceService" and id(document) not in seen and _may_run_vllm(workload):
            seen.add(id(document))
            yield document


def _may_run_vllm(workload: Workload) -> bool:
    return not is_classical(workload.document) if workload.missing_runtime else workload.runs_vllm


def is_classical(document: Document) -> bool:
    """Is it an InferenceService of a model of megabytes, such as scikit-learn's, that answers no prompts?"""
    model = model_of(as_map(document.spec.get("predictor"))) or {}
    return as_text(dig(model, "modelFormat.name")).lower() in CLASSICAL


def predictors(document: Document) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """The predictors that a person wrote: where, what, and whether it is a canary's."""
    yield "spec.predictor", as_map(document.spec.get("predictor")), False
    for number, canary in canaries(document):
        yield f"spec.canary[{number}].predictor", as_map(canary.get("predictor")), True


def written_predictor(workload: Workload) -> Mapping[str, Any]:
    """The predictor, stable's or a canary's, that a person wrote for these Pods; empty for all other Pods."""
    if workload.kind != "InferenceService":
        return EMPTY
    return next((each for path, each, _ in predictors(workload.document) if path == workload.path), EMPTY)


def predictor_of(workload: Workload) -> Mapping[str, Any]:
    """The predictor of these Pods, with what a canary inherits from stable; empty for all other Pods."""
    written = written_predictor(workload)
    if workload.role != "canary":
        return written
    return inherited(as_map(workload.document.spec.get("predictor")), written)
