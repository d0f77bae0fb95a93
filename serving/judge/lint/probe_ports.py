"""The rule of the ports that probes ask: declared where they are named, and listened on where they are numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from serving.codes.lint import PROBE_REACHES
from serving.facts.kube.container import Container
from serving.facts.kube.engine import Engine, engines
from serving.facts.kube.manifests import Bundle
from serving.facts.kube.pods import Workload
from serving.facts.kube.probe import Probe, named_ports, port_number, probe
from serving.facts.kube.shape import as_whole
from serving.facts.kube.workloads import workloads
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity

KINDS: Final = ("startup", "readiness", "liveness")


def _reaches(bundle: Bundle) -> Iterator[Look]:
    servers = {id(each.container): each for each in engines(bundle)}
    for workload in workloads(bundle):
        if not workload.engines or workload.missing_runtime:
            continue
        good = True
        for container in workload.containers:
            for kind in KINDS:
                asked = probe(container, kind)
                wrong = _wrong(workload, container, servers.get(id(container)), asked) if asked else None
                if asked and wrong:
                    good = False
                    observed, expected, remedy = wrong
                    who = container.who(workload.label)
                    yield Fault(workload.document, f"{asked.path}.port", observed, expected, remedy, who)
        if good and any(probe(container, kind) for container in workload.containers for kind in KINDS):
            yield Held(workload.document)


def _wrong(
    workload: Workload, container: Container, engine: Engine | None, asked: Probe
) -> tuple[str, str, str] | None:
    """What is wrong with a probe's port: observed, expected and remedy; or None."""
    number = port_number(container, asked)
    if asked.port is None:
        return None
    if number is None:
        declared = ", ".join(sorted(named_ports(container))) or "none"
        return (
            f"port {asked.port!r:.60}, declared are: {declared}",
            "the name of a port of this container",
            f"add {{name: {asked.port}, containerPort: ...}} to its ports, or give the number",
        )
    if engine is None or engine.port is None or (engine.under_agent and engine.admin_port is None):
        return None
    listening = [engine.port] if engine.admin_port is None else [engine.port, engine.admin_port]
    others = {
        as_whole(port.get("containerPort"))
        for each in workload.containers
        if each is not container
        for port in each.ports
    }
    if number in listening or number in others:
        return None
    return (
        f"port {asked.port}" if number == asked.port else f"port {asked.port} ({number})",
        f"a port that something listens on: {', '.join(map(str, listening))}",
        f"ask port {listening[-1]}, or start vLLM with --port={number}",
    )


RULES: Final = (
    Rule(
        PROBE_REACHES,
        Severity.ERROR,
        "The kubelet finds a named port among the container's own ports and fails the probe where there is none; at a "
        "number on which nothing listens every look is refused. vLLM listens on 8000 unless --port says otherwise.",
        _reaches,
    ),
)
