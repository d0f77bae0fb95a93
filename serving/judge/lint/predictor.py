"""Rules of what somebody else makes up where nobody states it: mode, timeout, strategy and resources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from serving.codes.lint import MODE_EXPLICIT, RESOURCES_STATED, STRATEGY_ACCEPTED, STRATEGY_STATED, TIMEOUT_STATED
from serving.facts.kube.container import Container
from serving.facts.kube.manifests import Bundle, Document
from serving.facts.kube.pods import Workload
from serving.facts.kube.predictor import AUTOSCALER, MODE
from serving.facts.kube.shape import as_map, as_text, as_whole, dig
from serving.facts.kube.strategy import share
from serving.facts.kube.workloads import workloads
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, held_or
from serving.judge.lint.subjects import predictors, services_of_models

MODES: Final = ("Standard", "Knative", "ModelMesh")
LEGACY: Final = {"RawDeployment": "Standard", "Serverless": "Knative"}
CLASSES: Final = ("hpa", "keda", "none", "external")
LEAST_TIMEOUT_S: Final = 300
TYPES: Final = ("RollingUpdate", "Recreate")


def _mode_explicit(bundle: Bundle) -> Iterator[Look]:
    for document in services_of_models(bundle):
        faults = [*_mode(document), *_scaler_class(document)]
        yield from held_or(document, faults)


def _mode(document: Document) -> Iterator[Fault]:
    mode, expected = document.annotations.get(MODE), "deploymentMode Standard"
    remedy = f"annotate it with {MODE}: Standard"
    if mode is None:
        observed = "no deploymentMode: the cluster's default, Knative as shipped"
    elif mode in LEGACY:
        observed = f"deploymentMode {mode}, the old name of {LEGACY[mode]}"
    elif mode == "Knative":
        observed = "deploymentMode Knative, which allows one port and no probe of another"
    elif mode not in MODES:
        observed = f"deploymentMode {mode}, which KServe does not know and replaces by the cluster's default"
    else:
        return
    yield Fault(document, f'metadata.annotations["{MODE}"]', observed, expected, remedy)


def _scaler_class(document: Document) -> Iterator[Fault]:
    given = document.annotations.get(AUTOSCALER)
    if given in CLASSES or document.annotations.get(MODE) in ("Knative", "Serverless", "ModelMesh"):
        return
    observed = "no autoscalerClass: an HPA on CPU" if given is None else f"autoscalerClass {given}, which is rejected"
    remedy = f"annotate it with {AUTOSCALER}: none (a fixed number of replicas), keda or external"
    yield Fault(document, f'metadata.annotations["{AUTOSCALER}"]', observed, f"one of {', '.join(CLASSES)}", remedy)


def _timeout(bundle: Bundle) -> Iterator[Look]:
    for document in services_of_models(bundle):
        given = as_map(document.spec.get("predictor")).get("timeout")
        seconds = 60 if given is None else as_whole(given)
        if seconds is not None and seconds >= LEAST_TIMEOUT_S:
            yield Held(document)
            continue
        observed = "no timeout: 60 s" if given is None else f"timeout: {as_text(given) or 'no number'}"
        remedy = "set spec.predictor.timeout to the longest answer that you allow, such as 600 (seconds)"
        yield Fault(document, "spec.predictor.timeout", observed, f"at least {LEAST_TIMEOUT_S} s", remedy)


def _resources(bundle: Bundle) -> Iterator[Look]:
    for workload in workloads(bundle):
        if workload.finite or workload.missing_runtime:
            continue
        for container in workload.engines:
            missing = _unstated(workload, container)
            if not missing:
                yield Held(workload.document)
                continue
            remedy = "state cpu and memory, requests and limits, such as cpu 4/8 and memory 24Gi/24Gi"
            observed = f"no {', no '.join(missing)}"
            expected = "cpu and memory, requested and limited"
            yield Fault(workload.document, f"{container.path}.resources", observed, expected, remedy, workload.label)


def _unstated(workload: Workload, container: Container) -> list[str]:
    """What somebody else will fill in. A request that is left out is the limit, and a CPU limit may be left out; but
    KServe fills in all four for a custom container, and only for stable: so a canary that leaves them to it changes
    when it is promoted.
    """
    requests, limits = container.requests, container.limits
    if _custom(workload):
        stated = {"request": requests, "limit": limits}
        return [f"{name} {kind}" for name in ("cpu", "memory") for kind, said in stated.items() if name not in said]
    missing = [f"{name} request" for name in ("cpu", "memory") if name not in requests and name not in limits]
    return missing if "memory" in limits else [*missing, "memory limit"]


def _custom(workload: Workload) -> bool:
    predictor = workload.kind == "InferenceService" and workload.role in ("main", "canary")
    return predictor and workload.runtime is None and not workload.missing_runtime


def _strategy(bundle: Bundle) -> Iterator[Look]:
    for document in services_of_models(bundle):
        for path, predictor, canary in predictors(document):
            given = predictor.get("deploymentStrategy")
            where = f"{path}.deploymentStrategy"
            if canary and given is not None:
                observed, expected = "deploymentStrategy in a canary", "none: KServe ignores it and rolls with 25%/25%"
                yield Fault(
                    document, where, observed, expected, "remove it from the canary; stable's counts once promoted"
                )
            elif not canary and given is None:
                observed, expected = "none: maxUnavailable 25%, maxSurge 25%", "a deploymentStrategy"
                remedy = "set {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}"
                yield Fault(document, where, observed, expected, remedy)
            elif not canary:
                yield Held(document)


def _accepted(bundle: Bundle) -> Iterator[Look]:
    for document in services_of_models(bundle):
        given = dig(document.spec, "predictor.deploymentStrategy")
        if given is not None:
            yield from _formed(document, "spec.predictor.deploymentStrategy", as_map(given))
    for document in bundle.of("Deployment"):
        if document.spec.get("strategy") is not None:
            yield from _formed(document, "spec.strategy", as_map(document.spec.get("strategy")))


def _formed(document: Document, path: str, strategy: Mapping[str, Any]) -> Iterator[Look]:
    """The forms that the API takes: whole numbers, or percentages as text."""
    kind, rolling = as_text(strategy.get("type")) or "RollingUpdate", as_map(strategy.get("rollingUpdate"))
    faults = []
    if kind not in TYPES:
        faults.append(Fault(document, f"{path}.type", f"type {kind}", "RollingUpdate or Recreate", "use one of these"))
    if kind == "Recreate" and rolling:
        remedy = "remove rollingUpdate, or set type: RollingUpdate"
        faults.append(Fault(document, f"{path}.rollingUpdate", "rollingUpdate with Recreate", "one of the two", remedy))
    for name in ("maxSurge", "maxUnavailable"):
        value = rolling.get(name, "25%")
        if not _number_or_percent(value):
            expected = "a whole number without quotes, or a percentage such as 25%"
            shown = f'"{value}"' if isinstance(value, str) else as_text(value) or "no number"
            remedy = f"write {name}: {value}, without quotes" if as_text(value).isdecimal() else f"write {name}: 1"
            faults.append(Fault(document, f"{path}.rollingUpdate.{name}", f"{name}: {shown}", expected, remedy))
    yield from held_or(document, faults)


def _number_or_percent(value: object) -> bool:
    amount = share(value, 100, round_up=True)
    return amount is not None and amount >= 0


RULES: Final = (
    Rule(
        MODE_EXPLICIT,
        Severity.ERROR,
        "As shipped, KServe's default mode is Knative, where a Pod has one port, so no probe reaches the agent; and "
        "its default autoscaler scales on CPU, which says nothing about a GPU. An unknown mode is taken for none.",
        _mode_explicit,
    ),
    Rule(
        TIMEOUT_STATED,
        Severity.ERROR,
        "The route's timeout is the predictor's, 60 s by default, and it cuts answers that are still streaming.",
        _timeout,
    ),
    Rule(
        RESOURCES_STATED,
        Severity.ERROR,
        "KServe limits a custom container that says nothing to 1 CPU and 2Gi, where an engine dies while it loads; "
        "elsewhere a LimitRange does the like, or nothing keeps the engine from taking the node's memory.",
        _resources,
    ),
    Rule(
        STRATEGY_STATED,
        Severity.WARNING,
        "Without a strategy a rollout of 4 replicas ends one warm Pod first: KServe's default removes 25 % at once.",
        _strategy,
    ),
    Rule(
        STRATEGY_ACCEPTED,
        Severity.ERROR,
        "The API takes a quoted number for a malformed percentage and rejects the Deployment; KServe only logs that, "
        "and serves the old release on.",
        _accepted,
    ),
)
