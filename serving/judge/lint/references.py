"""The rule of names: what one document calls by name is among the documents, or in the cluster that was asked.

Secrets, ConfigMaps, claims and ServiceAccounts are not asked for: others often make them, and a Pod says so at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from serving.codes.lint import TARGET_EXISTS
from serving.facts.kube.kserve import supports
from serving.facts.kube.llm_inference_service import WHOLE
from serving.facts.kube.manifests import CLUSTER, Bundle, Document
from serving.facts.kube.pods import Workload
from serving.facts.kube.predictor import RUNTIMES, model_of
from serving.facts.kube.services import service_named, services_around
from serving.facts.kube.shape import as_map, as_maps, as_text, dig
from serving.facts.kube.workloads import pods, workloads
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, Unclear
from serving.judge.lint.subjects import written_predictor

SCALED: Final[Mapping[str, str]] = {  # kind -> where it names what it scales
    "HorizontalPodAutoscaler": "spec.scaleTargetRef",
    "ScaledObject": "spec.scaleTargetRef",
    "VerticalPodAutoscaler": "spec.targetRef",
}
MADE: Final = ("Deployment", "LeaderWorkerSet")  # kinds that KServe makes
ROUTES: Final = ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute")

Backend = tuple[Document, str, str, str, str, object]  # document, path, kind, namespace, name, port


def _target_exists(bundle: Bundle) -> Iterator[Look]:
    yield from _scaled(bundle)
    yield from _routed(bundle)
    yield from _runtimes(bundle)


def _scaled(bundle: Bundle) -> Iterator[Look]:
    for kind, path in SCALED.items():
        for document in bundle.of(kind):
            reference = as_map(dig(document.body, path))
            name, wanted = as_text(reference.get("name")), as_text(reference.get("kind")) or "Deployment"
            here = list(pods(bundle).within((document.namespace,)))
            if not here and bundle.live is None:
                continue
            made = [each.name for each in here if each.by_kserve and wanted in MADE]
            if bundle.find(wanted, name, document.namespace) or name in made:
                yield Held(document)
            else:
                names = sorted({each.name for each in here if each.by_kserve or each.kind == wanted})
                observed = f"{wanted} {name or 'without a name'}, which is not there"
                yield Fault(document, f"{path}.name", observed, "an object that is there", _meant(names, "target"))


def _meant(names: list[str], what: str) -> str:
    return f"name the {what} that is meant, such as {', '.join(names[:3])}" if names else f"add the {what}"


def backends(bundle: Bundle) -> Iterator[Backend]:
    """Everything that routes and Ingresses send requests to."""
    for document in bundle.of(*ROUTES):
        for number, rule in enumerate(as_maps(document.spec.get("rules"))):
            for at, reference in enumerate(as_maps(rule.get("backendRefs"))):
                path = f"spec.rules[{number}].backendRefs[{at}]"
                kind = as_text(reference.get("kind")) or "Service"
                namespace = as_text(reference.get("namespace")) or document.namespace
                yield document, path, kind, namespace, as_text(reference.get("name")), reference.get("port")
    for document in bundle.of("Ingress"):
        for path, backend in _ingress(document):
            service = as_map(backend.get("service"))
            port = as_map(service.get("port"))
            wanted = port.get("number", port.get("name"))
            if service:
                yield document, f"{path}.service", "Service", document.namespace, as_text(service.get("name")), wanted


def _ingress(document: Document) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if "defaultBackend" in document.spec:
        yield "spec.defaultBackend", as_map(document.spec.get("defaultBackend"))
    for number, rule in enumerate(as_maps(document.spec.get("rules"))):
        for at, path in enumerate(as_maps(dig(rule, "http.paths"))):
            yield f"spec.rules[{number}].http.paths[{at}].backend", as_map(path.get("backend"))


def _routed(bundle: Bundle) -> Iterator[Look]:
    for document, path, kind, namespace, name, _ in backends(bundle):
        around = services_around(bundle)
        if not around.holds_any((namespace,)) and not pods(bundle).holds_any((namespace,)):
            continue
        there = service_named(bundle, name, namespace) if kind == "Service" else bundle.find(kind, name, namespace)
        if there:
            yield Held(document)
        elif kind == "Service":
            names = sorted({each.name for each in around.within((namespace,))})
            observed = f"Service {name or 'without a name'}, which is not there"
            yield Fault(document, f"{path}.name", observed, "a Service that is there", _meant(names, "Service"))


def _runtimes(bundle: Bundle) -> Iterator[Look]:
    asked = any(each.kind in RUNTIMES and each.source == CLUSTER for each in bundle.live or ())
    told: set[tuple[int, str]] = set()
    for workload in workloads(bundle):
        if workload.role not in ("main", "canary") or workload.kind != "InferenceService":
            continue
        model, where = _model(workload)
        name = as_text(model.get("runtime"))
        if workload.runtime is not None:
            yield from _supported(workload, workload.runtime, model, where)
        elif workload.missing_runtime and (id(workload.document), name) not in told:
            told.add((id(workload.document), name))
            yield _unseen_runtime(workload, model, where, name, asked)
    for workload in workloads(bundle):
        if (
            workload.kind == "LLMInferenceService"
            and workload.missing_runtime
            and (id(workload.document), "") not in told
        ):
            told.add((id(workload.document), ""))
            missing = "its preset (LLMInferenceServiceConfig) is not merged here"
            remedy = f"write the main container with {', '.join(WHOLE)}, or allow this rule here"
            yield Unclear(workload.document, workload.path, missing, remedy)


def _model(workload: Workload) -> tuple[Mapping[str, Any], str]:
    stable = as_map(workload.document.spec.get("predictor"))
    return {**(model_of(stable) or {}), **(model_of(written_predictor(workload)) or {})}, f"{workload.path}.model"


def _unseen_runtime(workload: Workload, model: Mapping[str, Any], where: str, name: str, asked: bool) -> Look:
    if name and asked:
        observed, expected = f"runtime {name}, which is not there", "a runtime that is there"
        remedy = "name a runtime of the namespace or of the cluster, or add it"
        return Fault(workload.document, f"{where}.runtime", observed, expected, remedy, workload.label)
    what = f"its runtime {name}" if name else f"the runtime that takes format {as_text(dig(model, 'modelFormat.name'))}"
    missing = f"{what} is not among the documents"
    return Unclear(workload.document, f"{where}.runtime", missing, "pass it too, or use --cluster", workload.label)


def _supported(workload: Workload, runtime: Document, model: Mapping[str, Any], where: str) -> Iterator[Look]:
    if runtime.spec.get("disabled") is True:
        observed, remedy = f"runtime {runtime.name}, which is disabled", "remove disabled from the runtime"
        yield Fault(workload.document, f"{where}.runtime", observed, "a runtime in use", remedy, workload.label)
    elif supports(runtime, model):
        yield Held(workload.document)
    else:
        taken = [_format(each) for each in as_maps(runtime.spec.get("supportedModelFormats"))]
        observed = f"format {_format(as_map(model.get('modelFormat')))}, which runtime {runtime.name} does not take"
        expected = f"one of {', '.join(taken)}" if taken else "a runtime with supportedModelFormats"
        remedy = "make modelFormat and the runtime's supportedModelFormats the same, version included"
        yield Fault(workload.document, f"{where}.modelFormat", observed, expected, remedy, workload.label)


def _format(body: Mapping[str, Any]) -> str:
    return " ".join(part for part in (as_text(body.get("name")), as_text(body.get("version"))) if part)


RULES: Final = (
    Rule(
        TARGET_EXISTS,
        Severity.ERROR,
        "A name that leads nowhere is accepted by the API: the autoscaler never scales, the route answers 500, and "
        "KServe waits for the runtime.",
        _target_exists,
    ),
)
