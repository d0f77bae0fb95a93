"""Every Pod that the documents will lead to, whatever kind wrote it: one form for judges, InferenceServices included.

Says what will run, not whether it is right. How KServe makes Pods is in `kserve.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from serving.facts.kube.container import Container
from serving.facts.kube.manifests import Document
from serving.facts.kube.shape import as_map, as_maps, as_text, as_whole, dig, text_map

TEMPLATES: Final[Mapping[str, tuple[str, ...]]] = {  # kind -> where its Pod templates stand ("*" steps into a list)
    "Deployment": ("spec.template",),
    "StatefulSet": ("spec.template",),
    "DaemonSet": ("spec.template",),
    "ReplicaSet": ("spec.template",),
    "ReplicationController": ("spec.template",),
    "Rollout": ("spec.template",),  # Argo's Deployment
    "Service": ("spec.template",),  # Knative's; a Service of the core group has no template
    "Job": ("spec.template", "spec.tasks.*.template"),  # batch/v1, and Volcano's
    "CronJob": ("spec.jobTemplate.spec.template",),
    "LeaderWorkerSet": ("spec.leaderWorkerTemplate.leaderTemplate", "spec.leaderWorkerTemplate.workerTemplate"),
    "JobSet": ("spec.replicatedJobs.*.template.spec.template",),
    "TrainingRuntime": ("spec.template.spec.replicatedJobs.*.template.spec.template",),
    "ClusterTrainingRuntime": ("spec.template.spec.replicatedJobs.*.template.spec.template",),
    "RayCluster": ("spec.headGroupSpec.template", "spec.workerGroupSpecs.*.template"),
    "RayService": (
        "spec.rayClusterConfig.headGroupSpec.template",
        "spec.rayClusterConfig.workerGroupSpecs.*.template",
    ),
    "RayJob": ("spec.rayClusterSpec.headGroupSpec.template", "spec.rayClusterSpec.workerGroupSpecs.*.template"),
}
NAMED_BY: Final[Mapping[str, tuple[str, ...]]] = {  # labels with the owner's name that controllers give to its Pods
    "Job": ("job-name", "batch.kubernetes.io/job-name", "volcano.sh/job-name"),
    "LeaderWorkerSet": ("leaderworkerset.sigs.k8s.io/name",),
    "JobSet": ("jobset.sigs.k8s.io/jobset-name",),
    "RayCluster": ("ray.io/cluster",),
    "Service": ("serving.knative.dev/service",),
}
RAY: Final = frozenset({"RayCluster", "RayService", "RayJob"})
FINITE: Final = frozenset({"Job", "CronJob", "JobSet", "RayJob", "TrainingRuntime", "ClusterTrainingRuntime"})


@dataclass(frozen=True, eq=False)
class Workload:
    """Pods of one kind: `name` is what owns them, `path` where a person wrote them, `spec` the PodSpec that results.

    `labels` and `annotations` are the Pods', what KServe adds included. `strategy` is a Deployment's, as it will be.
    `replicas` is the least number where an autoscaler decides. `role` tells a canary, multi-node workers, a transformer
    or an explainer from the main one. `places` tells where containers were written that do not stand in the PodSpec.
    """

    document: Document
    name: str
    path: str
    spec: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    replicas: int | None = 1
    strategy: Mapping[str, Any] = field(default_factory=dict)
    role: str = "main"  # main | canary | worker | transformer | explainer
    runtime: Document | None = None
    missing_runtime: bool = False  # KServe's runtime or preset was named, and nobody told what is in it
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The kind that a person wrote."""
        return self.document.kind

    @property
    def namespace(self) -> str:
        """The namespace that was written down; may be empty."""
        return self.document.namespace

    @property
    def finite(self) -> bool:
        """Is it meant to end? A bare Pod that never restarts is, too."""
        return self.kind in FINITE or (self.kind == "Pod" and self.spec.get("restartPolicy") in ("Never", "OnFailure"))

    @property
    def by_kserve(self) -> bool:
        """Does KServe make its Pods?"""
        return self.kind in ("InferenceService", "LLMInferenceService")

    @property
    def label(self) -> str:
        """How a finding names it: the document, and which of its Pods where there are several."""
        return self.document.id if self.role == "main" else f"{self.document.id} ({self.role} {self.name})"

    @cached_property
    def containers(self) -> tuple[Container, ...]:
        """Containers that run together; a sidecar (an init container that always restarts) is one of them."""
        return tuple(each for each in self.all_containers if not each.init)

    @cached_property
    def all_containers(self) -> tuple[Container, ...]:
        """Init containers first, then the others."""
        found = []
        for member in ("initContainers", "containers"):
            for number, body in enumerate(as_maps(self.spec.get(member))):
                init = member == "initContainers" and body.get("restartPolicy") != "Always"
                place = self.places.get(as_text(body.get("name"))) if number == 0 else None
                found.append(Container(body, place or f"{self.path}.{member}[{number}]", init))
        return tuple(found)

    @cached_property
    def engines(self) -> tuple[Container, ...]:
        """The containers in which a vLLM server runs."""
        return tuple(each for each in self.containers if each.serves)

    @cached_property
    def runs_vllm(self) -> bool:
        """Does vLLM run anywhere in it, as a server or not?"""
        return any(each.runs_vllm for each in self.all_containers)

    @property
    def grace_s(self) -> int:
        """Seconds between SIGTERM and SIGKILL; Kubernetes' default is 30."""
        given = as_whole(self.spec.get("terminationGracePeriodSeconds"))
        return 30 if given is None else given

    @property
    def node_selector(self) -> dict[str, str]:
        """Its nodeSelector; affinity is not in it."""
        return text_map(self.spec.get("nodeSelector"))

    @property
    def tolerations(self) -> list[Mapping[str, Any]]:
        """Its tolerations."""
        return as_maps(self.spec.get("tolerations"))

    def says(self, annotation: str) -> str | None:
        """An annotation of the Pods or of the document that makes them, such as `warmgate/load-seconds`."""
        return self.annotations.get(annotation, self.document.annotations.get(annotation))


def plain_workloads(document: Document) -> Iterator[Workload]:
    """The Pods of a document of Kubernetes itself or of an operator that takes Pod templates; none for other kinds."""
    if document.kind == "Pod":
        yield Workload(document, document.name, "spec", document.spec, document.labels, document.annotations)
    for pattern in TEMPLATES.get(document.kind, ()):
        for path, template in _stepped(document.body, pattern):
            metadata = as_map(template.get("metadata"))
            replicas = as_whole(document.spec.get("replicas"))
            yield Workload(
                document,
                document.name,
                f"{path}.spec",
                as_map(template.get("spec")),
                _given_labels(document) | text_map(metadata.get("labels")),
                text_map(metadata.get("annotations")),
                replicas=1 if replicas is None else replicas,
                strategy=as_map(document.spec.get("strategy") or document.spec.get("updateStrategy")),
            )


def _given_labels(document: Document) -> dict[str, str]:
    return dict.fromkeys(NAMED_BY.get(document.kind, ()), document.name)


def _stepped(body: Mapping[str, Any], pattern: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    head, star, tail = pattern.partition(".*.")
    if not star:
        found = dig(body, pattern)
        if isinstance(found, Mapping):
            yield pattern, found
        return
    for number, item in enumerate(as_maps(dig(body, head))):
        for path, found in _stepped(item, tail):
            yield f"{head}[{number}].{path}", found
