"""Every Service that will be there: those that were written, and those that KServe makes of its predictors.

A made Service stands at the document that leads to it. Says what each sends where; whether that meets is for judges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from serving.facts.kube.manifests import CLUSTER, Bundle, Document, near
from serving.facts.kube.once import once
from serving.facts.kube.pods import RAY, Workload
from serving.facts.kube.predictor import TRANSFORMER
from serving.facts.kube.reach import Reach
from serving.facts.kube.shape import as_map, as_maps, as_text, as_whole, dig, text_map
from serving.facts.kube.workloads import pods, workloads

AGENT_PORT = 9081  # KServe's own agent, where port 80 goes with a logger or a batcher


@dataclass(frozen=True)
class ServicePort:
    """A port of a Service: what it is called, and the Pods' port that it leads to, by name or by number."""

    name: str
    number: int | None
    target: str | int
    path: str


@dataclass(frozen=True, eq=False)
class Service:
    """A Service; `made_for` are the Pods for which KServe makes it. No selector is None."""

    document: Document
    name: str
    namespace: str
    labels: Mapping[str, str]
    selector: Mapping[str, str] | None
    ports: tuple[ServicePort, ...] = ()
    made_for: Workload | None = None
    open_ended: bool = False  # its ports are not all known

    def port(self, reference: object) -> ServicePort | None:
        """The port of this name or number."""
        return next((each for each in self.ports if reference in (each.number, each.name) and reference != ""), None)


@once
def services(bundle: Bundle) -> tuple[Service, ...]:
    """The Services of all documents, written and made, then the live ones that nobody wrote."""
    written = [_written(each) for each in bundle.known("Service") if each.group == ""]
    made = [service for workload in workloads(bundle) for service in _made(workload)]
    here = [each for each in written if each.document.source != CLUSTER]
    return (*here, *made, *(each for each in written if each.document.source == CLUSTER))


@once
def services_around(bundle: Bundle) -> Reach[Service]:
    """The Services of a bundle by namespace and label."""
    return Reach(services(bundle))


@once
def _by_name(bundle: Bundle) -> dict[str, list[Service]]:
    found: dict[str, list[Service]] = {}
    for service in services(bundle):
        found.setdefault(service.name, []).append(service)
    return found


def service_named(bundle: Bundle, name: str, namespace: str) -> Service | None:
    """The Service of this name in this namespace: a written one before one that KServe makes before a live one."""
    return next((each for each in _by_name(bundle).get(name, ()) if near(each.namespace, namespace)), None)


def selected(bundle: Bundle, service: Service) -> list[Workload]:
    """The Pods behind a Service."""
    if service.made_for is not None:
        return [service.made_for]
    if service.selector is None:
        return []
    return pods(bundle).selected({"matchLabels": service.selector}, (service.namespace,))


def _written(document: Document) -> Service:
    spec = document.spec
    external = spec.get("type") == "ExternalName"
    selector = text_map(spec.get("selector"))
    ports = []
    for number, port in enumerate(as_maps(spec.get("ports"))):
        target = port.get("targetPort", port.get("port"))
        if isinstance(target, str | int) and not isinstance(target, bool):
            path = f"spec.ports[{number}].targetPort"
            ports.append(ServicePort(as_text(port.get("name")), as_whole(port.get("port")), target, path))
    return Service(
        document,
        document.name,
        document.namespace,
        document.labels,
        None if external or not selector else selector,
        tuple(ports),
        open_ended=external,
    )


def _made(workload: Workload) -> Iterator[Service]:
    if workload.kind in RAY and "headGroupSpec" in workload.path:
        body = workload.document.body
        group = dig(body, workload.path.removesuffix(".template.spec"))
        for kind, given in (("head", dig(group, "headService")), ("serve", dig(body, "spec.serveService"))):
            name = as_text(dig(given, "metadata.name")) or f"{workload.document.name}-{kind}-svc"
            yield replace(_plain(workload, name, ()), open_ended=True)
    if workload.kind == "LLMInferenceService":
        if workload.role == "main" and "prefill" not in workload.path:
            yield _plain(
                workload, f"{workload.document.name}-kserve-workload-svc", (_port("http", 8000, 8000, workload),)
            )
    elif workload.kind == "InferenceService" and workload.role != "worker":
        yield _plain(workload, workload.name, tuple(_predictor_ports(workload)))
        if workload.role == "main":  # the InferenceService's own name, for clients inside the cluster
            yield Service(
                workload.document,
                workload.document.name,
                workload.namespace,
                {},
                None,
                made_for=workload,
                open_ended=True,
            )


def _plain(workload: Workload, name: str, ports: tuple[ServicePort, ...]) -> Service:
    return Service(
        workload.document,
        name,
        workload.namespace,
        workload.labels,
        {"app": workload.labels.get("app", "")} if "app" in workload.labels else dict(workload.labels),
        ports,
        workload,
        open_ended=workload.missing_runtime,
    )


def _port(name: str, number: int, target: int, workload: Workload) -> ServicePort:
    return ServicePort(name, number, target, workload.path)


def _predictor_ports(workload: Workload) -> Iterator[ServicePort]:
    """Port 80 leads to the serving container's first port, 8080 if it has none; its other ports keep their number."""
    bodies = [each for each in workload.containers if not each.path.startswith(f"{workload.path}.initContainers")]
    serving = next((each for each in bodies if each.name == TRANSFORMER), bodies[0] if bodies else None)
    numbers = (
        [(as_text(each.get("name")), as_whole(each.get("containerPort"))) for each in serving.ports] if serving else []
    )
    known = [(name, number) for name, number in numbers if number is not None]
    name, first = known[0] if known else (workload.name, 8080)
    predictor = as_map(workload.document.spec.get("predictor"))
    redirected = workload.role == "main" and ("logger" in predictor or "batcher" in predictor)
    yield _port(name, 80, AGENT_PORT if redirected else first, workload)
    for name, number in known[1:]:
        yield _port(name, number, number, workload)
