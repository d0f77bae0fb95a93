"""The rule of ports between objects: Service to Pod, monitor to Pod, route to Service, policy to Pod.

A name must be declared by the Pods. A number needs no declaration, so numbers count where it is known what listens:
at a vLLM server.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from serving.codes.lint import PORT_EXISTS
from serving.facts.kube.engine import engines_of
from serving.facts.kube.manifests import CLUSTER, Bundle, Document
from serving.facts.kube.pods import RAY, Workload
from serving.facts.kube.selectors import policy_selector
from serving.facts.kube.services import AGENT_PORT, Service, selected, service_named, services, services_around
from serving.facts.kube.shape import as_count, as_maps, as_text, as_whole
from serving.facts.kube.workloads import pods
from serving.judge.lint.references import backends
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity
from serving.judge.lint.wiring import in_reach

RAY_METRICS: Final = ("metrics", 8080)  # the port that KubeRay adds where none is called so


def _port_exists(bundle: Bundle) -> Iterator[Look]:
    yield from _services(bundle)
    yield from _pod_monitors(bundle)
    yield from _service_monitors(bundle)
    yield from _policies(bundle)
    yield from _backends(bundle)


def _services(bundle: Bundle) -> Iterator[Look]:
    for service in services(bundle):
        chosen = selected(bundle, service)
        if service.document.source == CLUSTER or not _seen(chosen):
            continue
        looks = []
        for port in service.ports:
            if service.made_for is None or port.target != AGENT_PORT:
                whose = f"{_called(service)} port {port.number}"
                looks.append((port.target, _judged(bundle, service.document, port.path, port.target, chosen, whose)))
        reached = any(isinstance(look, Held) for _, look in looks)
        for target, look in looks:  # beside the engine's API a declared port may be that of a cache or of its events
            yield Held(service.document) if reached and _declares(chosen, target) else look


def _declares(chosen: Sequence[Workload], target: str | int) -> bool:
    return any(
        target in (port.get("name"), port.get("containerPort"))
        for pod in chosen
        for container in pod.containers
        for port in container.ports
    )


def _called(service: Service) -> str:
    return f"KServe's Service {service.name}" if service.made_for else "the Service's"


def _seen(found: Sequence[Workload]) -> bool:
    """Are there Pods, and is all of them in sight?"""
    return bool(found) and not any(each.missing_runtime for each in found)


def _judged(
    bundle: Bundle, document: Document, path: str, target: str | int, chosen: Sequence[Workload], whose: str
) -> Look:
    """One reference to a port of Pods, by name or by number."""
    declared: list[tuple[str, int | None]] = [
        (as_text(port.get("name")), as_whole(port.get("containerPort")))
        for pod in chosen
        for container in pod.all_containers
        for port in container.ports
    ]
    declared += [RAY_METRICS for pod in chosen if pod.kind in RAY]
    names = sorted({name for name, _ in declared if name})
    number = as_count(as_text(target))
    numbers: set[int | None] = {number}
    if number is None:
        numbers = {number for name, number in declared if name == target}
        if not numbers:
            observed = f"{whose} leads to port {target}, which no container declares"
            remedy = f"use one of the declared names: {', '.join(names)}" if names else f"declare a port named {target}"
            return Fault(document, path, observed, "a port that the selected Pods declare", remedy)
    silent = _silent(bundle, numbers, chosen)
    if silent is None:
        return Held(document)
    wrong, listening = silent
    heard = ", ".join(str(each) for each in listening)
    observed = f"{whose} leads to {wrong}, the engine listens on {heard}"
    return Fault(document, path, observed, f"one of {heard}", "make --port, containerPort and this number the same")


def _silent(bundle: Bundle, numbers: set[int | None], chosen: Sequence[Workload]) -> tuple[int, list[int]] | None:
    """A port at which nothing listens, as far as that is known, and those at which something does.

    It is known of Pods with one container, a vLLM server whose port was written down.
    """
    for pod in chosen:
        found = engines_of(bundle, pod)
        if len(found) != 1 or len(pod.containers) != 1 or found[0].port is None:
            return None
        listening = [each for each in (found[0].port, found[0].admin_port) if each is not None]
        if found[0].under_agent and found[0].admin_port is None:
            return None
        wrong = [each for each in numbers if each is not None and each not in listening]
        if not wrong or len(wrong) < len(numbers):
            return None
        return wrong[0], listening
    return None


def _pod_monitors(bundle: Bundle) -> Iterator[Look]:
    for document in bundle.of("PodMonitor"):
        reach = in_reach(document, document.spec.get("namespaceSelector"))
        selector = document.spec.get("selector")
        chosen = pods(bundle).selected(selector, reach)
        if not _seen(chosen):
            continue
        for number, endpoint in enumerate(as_maps(document.spec.get("podMetricsEndpoints"))):
            target = endpoint.get("port", endpoint.get("portNumber", endpoint.get("targetPort")))
            if isinstance(target, str | int) and not isinstance(target, bool):
                path = f"spec.podMetricsEndpoints[{number}].port"
                yield _judged(bundle, document, path, target, chosen, "the monitor's endpoint")


def _service_monitors(bundle: Bundle) -> Iterator[Look]:
    for document in bundle.of("ServiceMonitor"):
        reach = in_reach(document, document.spec.get("namespaceSelector"))
        selector = document.spec.get("selector")
        chosen = services_around(bundle).selected(selector, reach)
        if not chosen or any(each.open_ended for each in chosen):
            continue
        for number, endpoint in enumerate(as_maps(document.spec.get("endpoints"))):
            target, path = endpoint.get("port"), f"spec.endpoints[{number}].port"
            names = sorted({port.name for each in chosen for port in each.ports if port.name})
            if target is None:
                continue
            if as_text(target) in names:
                yield Held(document)
            else:
                observed = f"port {as_text(target) or 'without a name'}, which no selected Service has"
                remedy = f"name a port of the Service: {', '.join(names)}" if names else "name the Service's ports"
                yield Fault(document, path, observed, "a named port of the selected Services", remedy)


def _policies(bundle: Bundle) -> Iterator[Look]:
    for document in bundle.of("NetworkPolicy"):
        chosen = pods(bundle).selected(policy_selector(document.spec), (document.namespace,))
        if not _seen(chosen):
            continue
        for number, rule in enumerate(as_maps(document.spec.get("ingress"))):
            for at, port in enumerate(as_maps(rule.get("ports"))):
                target, path = port.get("port"), f"spec.ingress[{number}].ports[{at}].port"
                if isinstance(target, str):
                    yield _judged(bundle, document, path, target, chosen, "the policy")


def _backends(bundle: Bundle) -> Iterator[Look]:
    for document, path, kind, namespace, name, port in backends(bundle):
        service = service_named(bundle, name, namespace) if kind == "Service" else None
        if service is None or service.open_ended or port is None:
            continue
        if service.port(port):
            yield Held(document)
        else:
            numbers = ", ".join(str(each.number) for each in service.ports) or "none"
            observed = f"port {as_text(port) or 'without a number'} of Service {name}, which has {numbers}"
            place = f"{path}.port"
            yield Fault(document, place, observed, "a port of the Service", f"use one of its ports: {numbers}")


RULES: Final = (
    Rule(
        PORT_EXISTS,
        Severity.ERROR,
        "A port that nobody declares or listens on is accepted by the API: the Service has no endpoints or refuses "
        "connections, and the monitor scrapes nothing.",
        _port_exists,
    ),
)
