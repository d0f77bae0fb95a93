"""Rules of selectors: that they match their own template, and meet Pods among the documents.

Only where the documents have Pods in that namespace at all: what is not among them cannot be missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from serving.codes.lint import SELECTOR_MEETS, SELECTOR_OWN
from serving.facts.kube.manifests import CLUSTER, Bundle, Document, near
from serving.facts.kube.once import once
from serving.facts.kube.pods import Workload
from serving.facts.kube.reach import Reach
from serving.facts.kube.selectors import policy_selector, selects
from serving.facts.kube.services import Service, services, services_around
from serving.facts.kube.shape import as_map, as_maps, as_text, as_texts, dig, text_map
from serving.facts.kube.workloads import of_document, pods
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, Unclear

CONTROLLERS: Final = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")
NO_MAKERS: Final = frozenset(  # kinds that only say what others start
    {"ServingRuntime", "ClusterServingRuntime", "LLMInferenceServiceConfig", "PodTemplate", "LocalModelNodeGroup"}
)
COMPARED: Final = 200  # things that a remedy is looked for among
SELECTORS: Final[Mapping[tuple[str, str], str]] = {  # (group, kind) -> where a LabelSelector of Pods stands
    ("policy", "PodDisruptionBudget"): "spec.selector",
    ("networking.k8s.io", "NetworkPolicy"): "spec.podSelector",
    ("monitoring.coreos.com", "PodMonitor"): "spec.selector",
}


def in_reach(document: Document, namespaces: object) -> tuple[str, ...] | None:
    """Namespaces that a monitor looks into; None is all of them."""
    chosen = as_map(namespaces)
    if chosen.get("any") is True:
        return None
    return tuple(as_texts(chosen.get("matchNames"))) or (document.namespace,)


def pod_selectors(bundle: Bundle) -> Iterator[tuple[Document, str, object, tuple[str, ...] | None]]:
    """What selects Pods: the document, where, the LabelSelector, and the namespaces (None is all)."""
    for service in services(bundle):
        document = service.document
        if service.made_for is None and service.selector is not None and document.source != CLUSTER:
            yield document, "spec.selector", {"matchLabels": service.selector}, (document.namespace,)
    for (group, kind), path in SELECTORS.items():
        for document in bundle.of(kind):
            if document.group == group:
                chosen = document.spec.get("namespaceSelector") if kind == "PodMonitor" else None
                selector = policy_selector(document.spec) if kind == "NetworkPolicy" else dig(document.body, path)
                yield document, path, selector, in_reach(document, chosen)


def _selector_own(bundle: Bundle) -> Iterator[Look]:
    for document in bundle.of(*CONTROLLERS):
        selector, labels = document.spec.get("selector"), text_map(dig(document.spec, "template.metadata.labels"))
        if selects(selector, labels) and selector:
            yield Held(document)
        else:
            remedy = "give spec.selector.matchLabels and spec.template.metadata.labels the same labels"
            observed = f"{shown(selector)} against labels {_pairs(labels) or 'none'}"
            yield Fault(document, "spec.selector", observed, "a selector that matches its own template", remedy)


def _selector_meets(bundle: Bundle) -> Iterator[Look]:
    for document, path, selector, spaces in pod_selectors(bundle):
        for look in _met(pods(bundle), document, path, selector, spaces):
            yield _by_another(bundle, selector, spaces, look) if isinstance(look, Fault) else look
    for document in bundle.of("ServiceMonitor"):
        spaces = in_reach(document, document.spec.get("namespaceSelector"))
        yield from _met(services_around(bundle), document, "spec.selector", document.spec.get("selector"), spaces)


def _by_another(bundle: Bundle, selector: object, spaces: tuple[str, ...] | None, fault: Fault) -> Look:
    """The fault, unless an operator that nobody knows here may make such Pods out of another document."""
    makers = [each for each in _makers(bundle) if spaces is None or any(near(each.namespace, one) for one in spaces)]
    if any(selects(selector, text_map(each)) for maker in makers for each in _inner(maker.body, "labels")):
        return Held(fault.document)
    if makers and selector is not None:
        remedy = "pass the Pods that it makes (kubectl get pods -o yaml), or allow this rule here"
        return Unclear(fault.document, fault.path, f"the labels of the Pods that {makers[0].id} leads to", remedy)
    return fault


@once
def _makers(bundle: Bundle) -> tuple[Document, ...]:
    """Documents with containers in them out of which no Pods are known to be made."""
    return tuple(
        each
        for each in bundle.documents
        if each.source != CLUSTER
        and each.kind not in NO_MAKERS
        and not of_document(bundle, each)
        and any(True for _ in _inner(each.body, "containers"))
    )


def _inner(body: object, member: str) -> Iterator[Any]:
    """Every member of this name below a document's first level."""
    pending = list(as_map(body).values())
    while pending:
        found = pending.pop()
        if isinstance(found, Mapping):
            if member in found:
                yield found[member]
            pending += found.values()
        elif isinstance(found, list):
            pending += found


def _met(
    reach: Reach[Workload] | Reach[Service],
    document: Document,
    path: str,
    selector: object,
    spaces: tuple[str, ...] | None,
) -> Iterator[Look]:
    if not reach.holds_any(spaces) or spaces == ("kube-system",):  # where the cluster has Pods of its own
        return
    if reach.selected(selector, spaces):
        yield Held(document)
        return
    around: Iterator[Workload | Service] = reach.within(spaces)
    some = list(islice(around, COMPARED))
    what = "Service" if isinstance(some[0], Service) else "Pod"
    unseen = next((each for each in some if isinstance(each, Workload) and each.missing_runtime), None)
    if unseen is not None:
        remedy = "pass the runtime too, or use --cluster"
        yield Unclear(document, path, f"the labels that a runtime gives to {unseen.label}", remedy)
        return
    remedy = f"select by labels that the {what}s have: {_closest(selector, [each.labels for each in some])}"
    yield Fault(
        document,
        path,
        f"{shown(selector)}{',' if selector is None else ''} meets no {what}",
        f"at least one {what} among the documents",
        remedy,
    )


def shown(selector: object) -> str:
    """A LabelSelector on one line."""
    if not isinstance(selector, Mapping):
        return "no selector"
    parts = [f"{key}={value}" for key, value in text_map(selector.get("matchLabels")).items()]
    for each in as_maps(selector.get("matchExpressions")):
        values = ",".join(as_texts(each.get("values")))
        said = f"{as_text(each.get('key'))} {as_text(each.get('operator'))}"
        parts.append(f"{said} ({values})" if values else said)
    return ", ".join(parts) or "an empty selector"


def _closest(selector: object, labels: list[Mapping[str, str]]) -> str:
    """The labels of the thing that the selector comes closest to."""
    wanted = text_map(as_map(selector).get("matchLabels")).items()
    best = max(labels, key=lambda each: sum(pair in each.items() for pair in wanted), default={})
    return _pairs(best) or "they have none, so give them some"


def _pairs(labels: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())


RULES: Final = (
    Rule(
        SELECTOR_OWN,
        Severity.ERROR,
        "The API rejects a controller whose selector does not match its own template.",
        _selector_own,
    ),
    Rule(
        SELECTOR_MEETS,
        Severity.ERROR,
        "A selector that meets nothing is no error anywhere: the Service has no endpoints, the monitor scrapes "
        "nothing, the budget protects and the policy closes nothing.",
        _selector_meets,
    ),
)
