"""Rules of selectors: that they match their own template, and meet Pods among the documents.

Only where the documents have Pods in that namespace at all: what is not among them cannot be missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from serving.codes.lint import SELECTOR_MEETS, SELECTOR_OWN
from serving.facts.manifests import CLUSTER, Bundle, Document, near
from serving.facts.pods import Workload
from serving.facts.selectors import selects
from serving.facts.services import Service, services
from serving.facts.shape import as_map, as_maps, as_text, as_texts, dig, text_map
from serving.facts.workloads import workloads
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, Unclear

CONTROLLERS: Final = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")
GIVEN: Final = frozenset(  # labels that controllers add to each Pod, with values that nobody knows before
    {
        "pod-template-hash",
        "controller-revision-hash",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "controller-uid",
        "batch.kubernetes.io/controller-uid",
        "batch.kubernetes.io/job-completion-index",
        "isvc.generation",
    }
)
GIVEN_DOMAINS: Final = (
    "ray.io/",
    "leaderworkerset.sigs.k8s.io/",
    "jobset.sigs.k8s.io/",
    "volcano.sh/",
    "serving.knative.dev/",
)
SELECTORS: Final[Mapping[tuple[str, str], str]] = {  # (group, kind) -> where a LabelSelector of Pods stands
    ("policy", "PodDisruptionBudget"): "spec.selector",
    ("networking.k8s.io", "NetworkPolicy"): "spec.podSelector",
    ("monitoring.coreos.com", "PodMonitor"): "spec.selector",
}


def meets(selector: object, labels: Mapping[str, str]) -> bool:
    """Does a LabelSelector select Pods with these labels, if what controllers add to them fits?"""
    if not isinstance(selector, Mapping):
        return False
    equal = {key: value for key, value in as_map(selector.get("matchLabels")).items() if not _given(key)}
    rest = selector.get("matchExpressions")
    if isinstance(rest, list):
        rest = [each for each in rest if not _given(as_map(each).get("key"))]
    return selects({"matchLabels": equal, "matchExpressions": rest}, labels)


def _given(key: object) -> bool:
    return isinstance(key, str) and (key in GIVEN or key.startswith(GIVEN_DOMAINS))


def in_reach(document: Document, namespaces: object) -> tuple[str, ...] | None:
    """Namespaces that a monitor looks into; None is all of them."""
    chosen = as_map(namespaces)
    if chosen.get("any") is True:
        return None
    return tuple(as_texts(chosen.get("matchNames"))) or (document.namespace,)


def pods_in(bundle: Bundle, reach: tuple[str, ...] | None) -> list[Workload]:
    """The workloads in some of these namespaces."""
    return [each for each in workloads(bundle) if reach is None or any(near(each.namespace, one) for one in reach)]


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
                selector = dig(document.body, path)
                left_out = selector is None and kind == "NetworkPolicy"  # which selects every Pod
                yield document, path, {} if left_out else selector, in_reach(document, chosen)


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
    for document, path, selector, reach in pod_selectors(bundle):
        here = pods_in(bundle, reach)
        if here:
            yield _met(document, path, selector, [each.labels for each in here], "Pod", here)
    for document in bundle.of("ServiceMonitor"):
        reach = in_reach(document, document.spec.get("namespaceSelector"))
        around = [each for each in services(bundle) if reach is None or any(near(each.namespace, one) for one in reach)]
        if around:
            labels = [each.labels for each in around]
            pods = [each.made_for for each in around if each.made_for]
            yield _met(document, "spec.selector", document.spec.get("selector"), labels, "Service", pods)


def _met(
    document: Document,
    path: str,
    selector: object,
    labels: Iterable[Mapping[str, str]],
    what: str,
    pods: list[Workload],
) -> Look:
    labels = list(labels)
    if any(meets(selector, each) for each in labels):
        return Held(document)
    unseen = next((each for each in pods if each.missing_runtime), None)
    if unseen is not None:
        remedy = "pass the runtime too, or use --cluster"
        return Unclear(document, path, f"the labels that a runtime gives to {unseen.label}", remedy)
    remedy = f"select by labels that the {what}s have: {_closest(selector, labels)}"
    return Fault(
        document, path, f"{shown(selector)} meets no {what}", f"at least one {what} among the documents", remedy
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


def selected(bundle: Bundle, service: Service) -> list[Workload]:
    """The Pods behind a Service."""
    if service.made_for is not None:
        return [service.made_for]
    if service.selector is None:
        return []
    selector = {"matchLabels": service.selector}
    return [each for each in pods_in(bundle, (service.namespace,)) if meets(selector, each.labels)]


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
