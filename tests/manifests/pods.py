"""The Pods that documents lead to, KServe's included, worked out here apart from the product's own reading of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class Pods:
    """Pods of one kind: what owns them, what they are like, and how many there are at once, a surge included."""

    owner: str
    labels: Mapping[str, str]
    spec: Object
    replicas: int = 1
    surge: int = 0
    finite: bool = False

    @property
    def containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    def asks(self, kind: str, resource: str) -> str:
        """What its containers ask for together; the only one's amount as it was written."""
        amounts = [each["resources"][kind][resource] for each in self.containers if resource in each["resources"][kind]]
        assert len(amounts) < 2, f"{self.owner}: several containers ask for {resource}"
        return str(amounts[0]) if amounts else "0"


def pods(objects: Iterable[Object]) -> list[Pods]:
    """All Pods of these documents."""
    objects = list(objects)
    found = []
    for each in objects:
        kind, spec, name = each["kind"], each.get("spec", {}), each["metadata"]["name"]
        if kind == "Pod":
            found.append(Pods(f"Pod/{name}", each["metadata"].get("labels", {}), spec, finite=True))
        elif kind == "Job":
            template = spec["template"]
            labels = {**template.get("metadata", {}).get("labels", {}), "batch.kubernetes.io/job-name": name}
            found.append(Pods(f"Job/{name}", labels, template["spec"], spec.get("parallelism", 1), finite=True))
        elif kind == "TrainingRuntime":
            template = spec["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
            nodes = spec["mlPolicy"]["numNodes"]
            found.append(Pods(f"TrainingRuntime/{name}", {}, template["spec"], nodes, finite=True))
        elif kind == "InferenceService":
            found += _of_endpoint(each, objects)
    return found


def _of_endpoint(service: Object, objects: Iterable[Object]) -> list[Pods]:
    runtimes = {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "ServingRuntime"}
    stable = service["spec"]["predictor"]
    surge = stable["deploymentStrategy"]["rollingUpdate"]["maxSurge"]
    found = [_predictor(service, stable, runtimes, surge)]
    for canary in service["spec"].get("canary", []):
        inherited = _over(stable, canary["predictor"])
        inherited["model"].pop("name")
        found.append(_predictor(service, inherited, runtimes, surge=1))  # its strategy is KServe's default: 25 % of 1
    return found


def _predictor(service: Object, predictor: Object, runtimes: Mapping[str, Object], surge: int) -> Pods:
    name = service["metadata"]["name"]
    deployment = "-".join(part for part in (name, predictor.get("name"), "predictor") if part)
    runtime, model = runtimes[predictor["model"]["runtime"]], predictor["model"]
    ours = {"modelFormat", "runtime", "storageUri", "protocolVersion"}
    (serving,) = runtime["containers"]
    container = _over(serving, {key: value for key, value in model.items() if key not in ours | {"args", "env"}})
    container["args"] = [*serving.get("args", []), *model.get("args", [])]
    env = {each["name"]: each for each in [*serving.get("env", []), *model.get("env", [])]}
    container["env"] = list(env.values())
    apart = {"name", "minReplicas", "timeout", "deploymentStrategy", "model"}
    spec = {
        **{key: value for key, value in runtime.items() if key == "volumes"},
        **{key: value for key, value in predictor.items() if key not in apart},
        "containers": [container],
    }
    labels = {
        **service["metadata"].get("labels", {}),
        "app": f"isvc.{deployment}",
        "serving.kserve.io/inferenceservice": name,
        "component": "predictor",
    }
    return Pods(deployment, labels, spec, predictor["minReplicas"], surge)


def _over(base: Object, patch: Mapping[str, Any]) -> Object:
    merged = deepcopy(base)
    for key, value in patch.items():
        merged[key] = _over(merged.get(key, {}), value) if isinstance(value, Mapping) else value
    return merged
