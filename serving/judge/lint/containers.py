"""Rules of the containers that KServe builds Pods from: their order and names, their ports, and PYTHONPATH."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from serving.codes.lint import PORT_NAMES_PLAIN, PYTHONPATH_UNSET, SERVING_FIRST
from serving.facts.kube.container import Container
from serving.facts.kube.manifests import Bundle, Document
from serving.facts.kube.multinode import WORKER
from serving.facts.kube.pods import Workload
from serving.facts.kube.predictor import RUNTIMES, SERVING, model_of
from serving.facts.kube.shape import as_map, as_maps, as_text
from serving.facts.kube.workloads import of_document, workloads
from serving.facts.kube.written import containers_of
from serving.judge.lint.rule import Fault, Look, Rule, Severity, held_or
from serving.judge.lint.subjects import predictors, written_predictor


def _pythonpath(bundle: Bundle) -> Iterator[Look]:
    remedy = "install the code into the image, or set PYTHONPATH in the image itself"
    for document in bundle.of("InferenceService", *RUNTIMES):
        faults = [
            Fault(document, f"{each.path}.env", "PYTHONPATH is set", "no PYTHONPATH", remedy)
            for each in containers_of(bundle, document)
            if "PYTHONPATH" in each.env_names
        ]
        yield from held_or(document, faults)


def _port_names(bundle: Bundle) -> Iterator[Look]:
    told: set[tuple[int, str]] = set()
    for workload in workloads(bundle):
        if workload.kind != "InferenceService" or workload.missing_runtime:
            continue
        for container in workload.engines:
            document, path = _home(workload, container)
            faults = [] if (id(document), path) in told else list(_wrong_names(document, path, container))
            told.add((id(document), path))
            yield from held_or(document, faults)


def _home(workload: Workload, container: Container) -> tuple[Document, str]:
    """Where the container's ports were written: in the runtime, unless the predictor writes some."""
    number = next(
        (at for at, each in enumerate(as_maps(workload.runtime.spec.get("containers"))) if each.get("name") == SERVING)
        if workload.runtime
        else iter(()),
        None,
    )
    if workload.runtime is None or number is None or container.name != SERVING:
        return workload.document, f"{container.path}.ports"
    if (model_of(written_predictor(workload)) or {}).get("ports"):
        return workload.document, f"{container.path}.ports"
    return workload.runtime, f"spec.containers[{number}].ports"


def _wrong_names(document: Document, path: str, container: Container) -> Iterator[Fault]:
    for number, port in enumerate(container.ports):
        name = as_text(port.get("name"))
        if "grpc" in name or "h2c" in name:
            yield Fault(
                document,
                f"{path}[{number}].name",
                f"port {name}",
                "a name without grpc or h2c",
                "name it http (or admin): vLLM's API server speaks HTTP/1.1",
            )
        elif not name and len(container.ports) > 1:
            observed = f"port {as_text(port.get('containerPort'))} has no name, one of {len(container.ports)}"
            yield Fault(
                document, f"{path}[{number}].name", observed, "a name for each", "name the ports, such as http, admin"
            )


def _serving_first(bundle: Bundle) -> Iterator[Look]:
    for document in bundle.of(*RUNTIMES):
        if document.spec.get("multiModel") is not True:
            yield from held_or(document, list(_runtime_faults(document)))
    for document in bundle.of("InferenceService"):
        faults: list[Fault] = []
        for path, predictor, canary in predictors(document):
            faults += _predictor_faults(document, path, predictor, canary)
        for workload in of_document(bundle, document):
            faults += _doubled(workload)
        yield from held_or(document, faults)


def _runtime_faults(document: Document) -> Iterator[Fault]:
    parts = [("spec", document.spec, SERVING)]
    if "workerSpec" in document.spec:
        parts.append(("spec.workerSpec", as_map(document.spec.get("workerSpec")), WORKER))
    for path, part, name in parts:
        names = [as_text(each.get("name")) for each in as_maps(part.get("containers"))]
        if name not in names:
            observed = f"containers {', '.join(names)}" if names else "no containers"
            remedy = f"name the container of the engine {name}"
            yield Fault(document, f"{path}.containers", observed, f"a container {name}", remedy)


def _predictor_faults(document: Document, path: str, predictor: Mapping[str, Any], canary: bool) -> Iterator[Fault]:
    names = [as_text(each.get("name")) for each in as_maps(predictor.get("containers"))]
    shown, where = ", ".join(name or "(unnamed)" for name in names), f"{path}.containers"
    if model_of(predictor) is not None:
        if SERVING in names:
            remedy = "write its members into the model, or drop the model"
            yield Fault(document, where, f"{SERVING} beside a model", "one of the two", remedy)
    elif SERVING in names[1:]:
        yield Fault(
            document, where, shown, f"{SERVING} first", f"move {SERVING} to the front: KServe overwrites the first"
        )
    elif len(names) > 1 and SERVING not in names and names[0] and not canary:
        remedy = f"name the engine's container {SERVING} and put it first"
        yield Fault(document, where, shown, f"{SERVING} first", remedy)


def _doubled(workload: Workload) -> Iterator[Fault]:
    for name, number in Counter(each.name for each in workload.all_containers if each.name).items():
        if number > 1:
            observed, remedy = f"{number} containers named {name}", "rename the predictor's: KServe merges no sidecars"
            path = f"{workload.path}.containers"
            yield Fault(workload.document, path, observed, "each name once", remedy, workload.label)


RULES: Final = (
    Rule(
        PYTHONPATH_UNSET,
        Severity.ERROR,
        "KServe's webhooks reject PYTHONPATH in every container of a predictor and of a runtime; in a canary they "
        "overlook it, until its promotion.",
        _pythonpath,
    ),
    Rule(
        PORT_NAMES_PLAIN,
        Severity.ERROR,
        "KServe takes a port for gRPC if its name has grpc or h2c in it, and routes HTTP/2 there; a Service with "
        "several ports is rejected unless each has a name.",
        _port_names,
    ),
    Rule(
        SERVING_FIRST,
        Severity.ERROR,
        "KServe writes kserve-container over the first container of a custom predictor, and merges a runtime into the "
        "container of that name only.",
        _serving_first,
    ),
)
