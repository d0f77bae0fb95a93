"""The rule that every kind is served: by Kubernetes itself, by a definition among the documents or in the cluster, or,
where no cluster was asked, by an operator that is known. What nobody knows is unclear, once for each kind.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Final

from serving.codes.lint import CRD_SERVED
from serving.facts.kube.api_kinds import RELEASES, by_worth, groups, last_served, own_groups, versions
from serving.facts.kube.manifests import Bundle, Document
from serving.facts.kube.once import once
from serving.facts.kube.shape import as_maps, as_text, dig
from serving.judge.lint.allowances import silenced
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, Unclear

OF_TOOLS: Final = ("kustomize.config.k8s.io",)  # read by kubectl, never sent to an API server
LONGEST: Final = 80  # characters of a name that is compared with others
CLOSE: Final = 0.85
LETTERS: Final = 3  # that a misspelt name may be longer or shorter


def _served(bundle: Bundle) -> Iterator[Look]:
    said: set[tuple[str, str]] = set()
    for document in bundle.documents:
        if not document.kind or not document.api_version or document.group in OF_TOOLS:
            continue
        look = _look(bundle, document)
        key = (document.api_version, document.kind)
        if isinstance(look, Unclear):
            if key in said:
                continue
            if CRD_SERVED.id not in silenced(document):
                said.add(key)
        yield look


def _look(bundle: Bundle, document: Document) -> Look:
    group, kind, version = document.group, document.kind, document.api_version.rpartition("/")[2]
    defined = _definitions(bundle).get((group, kind), ())
    if version in defined or group in _aggregated(bundle):
        return Held(document)
    if defined:
        return _version_fault(document, defined, "is not served")
    if group in own_groups():
        return _own(document, version)
    if bundle.live is not None:
        return _live(bundle, document)
    known = versions().get((group, kind), ())
    if version in known:
        return Held(document)
    missing = f"no definition of {document.api_version} {kind} among the documents"
    remedy = "pass its CustomResourceDefinition too, use --cluster, or allow this rule on it with a reason"
    if known:
        missing += f"; known of it: {', '.join(known)}"
        return Unclear(document, "apiVersion", missing, f"write {group}/{known[0]}, or {remedy}")
    return _misspelt(bundle, document) or Unclear(document, "kind", missing, remedy)


def _own(document: Document, version: str) -> Look:
    """A kind in a group of the API server itself."""
    group, kind = document.group, document.kind
    known = versions().get((group, kind), ())
    if version in known:
        return Held(document)
    last = last_served(document.api_version, kind)
    what = (
        f"is gone since Kubernetes {last} was the last to serve it"
        if last
        else f"is not served by Kubernetes {RELEASES}"
    )
    if known:
        return _version_fault(document, known, what)
    elsewhere = [
        (other, each[0]) for (other, name), each in versions().items() if name == kind and other in own_groups()
    ]
    if elsewhere:
        other, best = elsewhere[0]
        return _version_fault(document, (best,), what, other)
    observed = f"{document.api_version} {kind} {what}"
    meant = _closest(kind, (name for other, name in versions() if other in own_groups()), 0.7)
    if meant:
        api = next(f"{other}/{each[0]}".lstrip("/") for (other, name), each in versions().items() if name == meant)
        return Fault(document, "kind", observed, f"{api} {meant}", f"write apiVersion: {api}, kind: {meant}")
    expected = f"a kind of Kubernetes {RELEASES}"
    remedy = "leave it out" if last else "correct apiVersion and kind: no CustomResourceDefinition adds to this group"
    return Fault(document, "kind", observed, expected, remedy)


def _live(bundle: Bundle, document: Document) -> Look:
    """A kind that is neither the API server's own nor defined, where a cluster was asked."""
    why = bundle.unseen.get("CustomResourceDefinition")
    if why:
        missing = f"whether the cluster serves {document.api_version} {document.kind}: {why}"
        return Unclear(document, "", missing, "let the reader list customresourcedefinitions")
    misspelt = _misspelt(bundle, document)
    if misspelt is not None:
        return misspelt
    observed = f"{document.api_version} {document.kind} is not served"
    remedy = f"install the operator that owns {document.group}"
    return Fault(document, "apiVersion", observed, "a kind that the cluster serves", remedy)


def _version_fault(document: Document, known: Iterable[str], what: str, group: str | None = None) -> Fault:
    group = document.group if group is None else group
    best = [f"{group}/{version}".lstrip("/") for version in known]
    observed = f"{document.api_version} {document.kind} {what}"
    return Fault(document, "apiVersion", observed, f"version {' or '.join(best)}", f"write apiVersion: {best[0]}")


def _misspelt(bundle: Bundle, document: Document) -> Fault | None:
    """A kind or a group that is a letter or two away from one that there is."""
    group, kind = document.group, document.kind
    there = {*versions(), *_definitions(bundle)}
    if (group, kind) in there:
        return None
    observed = f"no {document.api_version} {kind} is known"
    meant = _closest(kind, (name for other, name in there if other == group))
    if meant:
        return Fault(document, "kind", observed, f"{meant}, which {group} has", f"write kind: {meant}")
    meant = _closest(group, {*groups(), *(other for other, _ in there)})
    if meant and (meant, kind) in there:
        version = (_definitions(bundle).get((meant, kind)) or versions()[meant, kind])[0]
        return Fault(document, "apiVersion", observed, f"{kind} of {meant}", f"write apiVersion: {meant}/{version}")
    return None


def _closest(name: str, names: Iterable[str], ratio: float = CLOSE) -> str:
    if len(name) > LONGEST:
        return ""
    near = sorted({each for each in names if abs(len(each) - len(name)) <= LETTERS})
    same = [each for each in near if each.lower() == name.lower()]
    return next(iter(same or difflib.get_close_matches(name, near, 1, ratio)), "")


@once
def _definitions(bundle: Bundle) -> dict[tuple[str, str], tuple[str, ...]]:
    """The served versions of each group and kind that is defined, written or live."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in bundle.known("CustomResourceDefinition"):
        key = as_text(each.spec.get("group")), as_text(dig(each.spec, "names.kind"))
        served = [
            as_text(one.get("name")) for one in as_maps(each.spec.get("versions")) if one.get("served") is not False
        ]
        found.setdefault(key, []).extend(served)
    return {key: tuple(by_worth(each)) for key, each in found.items()}


@once
def _aggregated(bundle: Bundle) -> frozenset[str]:
    return frozenset(as_text(each.spec.get("group")) for each in bundle.known("APIService") if each.spec.get("service"))


RULES: Final = (
    Rule(
        CRD_SERVED,
        Severity.ERROR,
        "The API server rejects a kind or version that neither it nor a CustomResourceDefinition serves; by then, the "
        "documents before it are already applied.",
        _served,
    ),
)
