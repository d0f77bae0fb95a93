"""The Pods that an endpoint leads to, put together as KServe's controller does it, or taken from a Deployment.

Kept apart from what `warmgate lint` does, so that each can show the other wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.helm.scenarios import Object, only

OUTSIDE_THE_POD = {"name", "minReplicas", "maxReplicas", "autoScaling", "timeout", "deploymentStrategy"}
OUTSIDE_THE_POD |= {"model", "workerSpec", "labels", "annotations"}


@dataclass(frozen=True)
class Pod:
    """One Pod template: whose it is, its labels, its annotations, its PodSpec."""

    owner: str
    labels: dict[str, str]
    annotations: dict[str, str]
    spec: dict[str, Any]

    @property
    def container(self) -> dict[str, Any]:
        """The container that serves."""
        first: dict[str, Any] = self.spec["containers"][0]
        return first

    @property
    def env(self) -> dict[str, str]:
        """Its plain variables."""
        return {each["name"]: each["value"] for each in self.container["env"] if "value" in each}


def pods(objects: list[Object]) -> list[Pod]:
    """The Pods of stable, of workers and of the canary, or those of the Deployment."""
    if any(each["kind"] == "InferenceService" for each in objects):
        return list(_kserve(objects))
    deployment = only(objects, "Deployment")
    template = deployment["spec"]["template"]
    meta = template["metadata"]
    return [Pod(deployment["metadata"]["name"], meta["labels"], meta.get("annotations", {}), template["spec"])]


def _kserve(objects: list[Object]) -> Iterator[Pod]:
    service = only(objects, "InferenceService")
    runtimes = {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "ServingRuntime"}
    isvc = service["metadata"]["name"]
    stable = service["spec"]["predictor"]
    for predictor in [stable, *(each["predictor"] for each in service["spec"].get("canary", []))]:
        runtime = runtimes[predictor["model"]["runtime"]]
        owner = "-".join(part for part in (isvc, predictor.get("name", ""), "predictor") if part)
        (container,) = runtime["containers"]
        model = predictor["model"]
        serving = container | {"args": container["args"] + model["args"], "resources": model["resources"]}
        spec = {key: value for key, value in predictor.items() if key not in OUTSIDE_THE_POD}
        spec |= {"containers": [serving], "volumes": runtime["volumes"]}
        yield _pod(service, owner, predictor, spec)
        if "workerSpec" in predictor:
            sizes = ("pipelineParallelSize", "tensorParallelSize")
            mine = {key: value for key, value in predictor["workerSpec"].items() if key not in sizes}
            theirs = {key: value for key, value in runtime["workerSpec"].items() if key not in sizes}
            yield _pod(service, f"{isvc}-predictor-worker", predictor, theirs | mine)


def _pod(service: Object, owner: str, predictor: dict[str, Any], spec: dict[str, Any]) -> Pod:
    meta = service["metadata"]
    labels = meta["labels"] | predictor.get("labels", {})
    labels |= {"serving.kserve.io/inferenceservice": meta["name"], "component": "predictor", "app": f"isvc.{owner}"}
    return Pod(owner, labels, meta["annotations"] | predictor.get("annotations", {}), spec)
