"""The rule that says what KServe's CRD and webhook will reject in a canary, and what the controller will ignore."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from serving.codes.lint import CANARY_ACCEPTED
from serving.facts.kube.manifests import Bundle, Document
from serving.facts.kube.predictor import FRAMEWORKS, MODE, SERVING, canaries, standard_mode
from serving.facts.kube.shape import as_map, as_maps, as_text, as_whole
from serving.judge.lint.canary import canary_name, with_canaries
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity

NAME: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
FORBIDDEN: Final = ("workerSpec", "maxReplicas", "scaleTarget", "scaleMetric", "autoScaling")

Trouble = tuple[str, str, str, str]  # member, observed, expected, remedy


def _accepted(bundle: Bundle) -> Iterator[Look]:
    for document in bundle.of("InferenceService"):
        if _ignores_share(document):
            yield Fault(
                document,
                "spec.predictor.canaryTrafficPercent",
                "canaryTrafficPercent in Standard mode",
                "spec.canary with trafficPercent",
                "KServe reads canaryTrafficPercent in Knative mode only; write the new release as spec.canary[0]",
            )
    for document, stable in with_canaries(bundle):
        yield from _whole(document)
        names = [as_text(stable.get("name"))]
        for number, canary in canaries(document):
            predictor, where = as_map(canary.get("predictor")), f"spec.canary[{number}]"
            troubles = [*_naming(predictor, names), *_share(canary), *_members(predictor), *_engine(stable, predictor)]
            names.append(as_text(predictor.get("name")))
            who = canary_name(document, number, canary)
            for member, observed, expected, remedy in troubles:
                yield Fault(document, f"{where}.{member}", observed, expected, remedy, who)
            if not troubles:
                yield Held(document)


def _ignores_share(document: Document) -> bool:
    given = as_map(document.spec.get("predictor")).get("canaryTrafficPercent")
    return given is not None and standard_mode(document) is True


def _whole(document: Document) -> Iterator[Look]:
    """What concerns all canaries together."""
    mode = document.annotations.get(MODE)
    if standard_mode(document) is not True:
        observed = "no deploymentMode" if mode is None else f"deploymentMode {mode}"
        path, remedy = f'metadata.annotations["{MODE}"]', f"annotate the InferenceService with {MODE}: Standard"
        yield Fault(document, path, observed, "deploymentMode Standard", remedy)
    shares = [as_whole(canary.get("trafficPercent")) for _, canary in canaries(document)]
    total = sum(share for share in shares if share is not None and 0 <= share <= 100)
    if total > 100:
        observed = f"{' + '.join(str(share) for share in shares)} = {total}"
        yield Fault(document, "spec.canary", observed, "a sum of at most 100", "lower the canaries' trafficPercent")
    if "transformer" in document.spec:
        observed, remedy = "a transformer beside a canary", "serve the canary without a transformer, or on another name"
        yield Fault(document, "spec.transformer", observed, "no transformer: the canary's share bypasses it", remedy)


def _naming(predictor: Mapping[str, Any], taken: list[str]) -> Iterator[Trouble]:
    name = as_text(predictor.get("name"))
    if not NAME.fullmatch(name):
        expected = "lower-case letters, digits and dashes, a letter first"
        yield "predictor.name", f"name {name!r}" if name else "no name", expected, "name the release, such as r2"
    elif name in taken:
        whose = "stable's" if name == taken[0] else "another canary's"
        yield "predictor.name", f"name {name}, {whose}", "a name of its own", "name the release, such as r2"


def _share(canary: Mapping[str, Any]) -> Iterator[Trouble]:
    share = as_whole(canary.get("trafficPercent"))
    if share is None or not 0 <= share <= 100:
        given = canary.get("trafficPercent")
        observed = "no trafficPercent" if given is None else f"trafficPercent: {as_text(given) or 'no number'}"
        yield "trafficPercent", observed, "a whole number from 0 to 100", "state trafficPercent, such as 10"


def _members(predictor: Mapping[str, Any]) -> Iterator[Trouble]:
    for member in FORBIDDEN:
        if predictor.get(member) not in (None, 0):
            remedy = f"remove {member}: a canary has a fixed number of replicas on one node each, set by minReplicas"
            yield f"predictor.{member}", member, "a member that a canary may have", remedy


def _engine(stable: Mapping[str, Any], predictor: Mapping[str, Any]) -> Iterator[Trouble]:
    """Exactly one implementation, in the canary's own block and after it is merged over stable's."""
    own, theirs = _implementations(predictor), _implementations(stable)
    if len(own) != 1:
        observed = f"{len(own)} implementations ({', '.join(own)})" if own else "neither model nor containers"
        yield "predictor", observed, "exactly one implementation", "write the canary's own model (or containers)"
    elif len(theirs) == 1 and own != theirs:
        observed = f"{own[0]} over stable's {theirs[0]}: both remain"
        yield f"predictor.{own[0]}", observed, f"{theirs[0]}, as in stable", f"write the canary as {theirs[0]} too"
    elif own == ["model"]:
        name = as_text(as_map(predictor.get("model")).get("name"))
        if name != SERVING:
            observed = f"model.name {name!r}" if name else "no model.name"
            expected = f"model.name {SERVING}, which the CRD requires in a canary"
            remedy = f"set model.name: {SERVING}; it names the container, and KServe mounts the model there only"
            yield "predictor.model.name", observed, expected, remedy
    elif own == ["containers"] and SERVING not in [each.get("name") for each in as_maps(predictor.get("containers"))]:
        remedy = f"name the container {SERVING}; KServe's webhook names stable's only"
        yield "predictor.containers", f"no container {SERVING}", f"a container {SERVING}", remedy


def _implementations(predictor: Mapping[str, Any]) -> list[str]:
    found = [name for name in ("model", *FRAMEWORKS) if isinstance(predictor.get(name), Mapping)]
    containers = as_maps(predictor.get("containers"))
    if any(each.get("name") == SERVING for each in containers) or (containers and not found):
        found.append("containers")
    return found


RULES: Final = (
    Rule(
        CANARY_ACCEPTED,
        Severity.ERROR,
        "KServe's webhook rejects the whole InferenceService for one wrong member of a canary, and its controller "
        "takes some members without doing anything with them.",
        _accepted,
    ),
)
