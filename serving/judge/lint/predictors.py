"""Which predictor of an InferenceService a workload comes from, with what a canary inherits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving.facts.kserve import inherited
from serving.facts.pods import Workload
from serving.facts.predictor import canaries
from serving.facts.shape import EMPTY, as_map


def predictor_of(workload: Workload) -> Mapping[str, Any]:
    """The predictor of stable or canary; empty for every other workload."""
    if workload.kind != "InferenceService":
        return EMPTY
    stable = as_map(workload.document.spec.get("predictor"))
    if workload.role == "main":
        return stable
    for number, canary in canaries(workload.document):
        if workload.role == "canary" and workload.path == f"spec.canary[{number}].predictor":
            return inherited(stable, as_map(canary.get("predictor")))
    return EMPTY
