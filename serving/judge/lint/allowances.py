"""What silences a rule on one object, and the rule that it is done sensibly: by code, with a reason, where it is read.

`warmgate/allow: "WG301: why; WG305: why"` on an object turns its findings there into ones that are shown and not
counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from serving.codes import registry
from serving.codes.lint import ALLOWANCES_SENSIBLE
from serving.facts.kube.manifests import CLUSTER, Bundle, Document
from serving.facts.kube.workloads import workloads
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity

ALLOW: Final = "warmgate/allow"
ENTRY: Final = re.compile(r"\s*(WG3\d\d)\s*(?::\s*(.*?))?\s*", re.DOTALL)
FORM: Final = 'warmgate/allow: "WG381: why this is right here"'


def silenced(document: Document) -> dict[str, str]:
    """Codes that an object's annotation silences, each with the reason that was given; what cannot be read silences
    nothing.
    """
    found = (ENTRY.fullmatch(entry) for entry in document.annotations.get(ALLOW, "").split(";"))
    return {entry[1]: entry[2] or "" for entry in found if entry}


def _sensible(bundle: Bundle) -> Iterator[Look]:
    known = {code for code in registry() if code.startswith("WG3")}
    path = f'metadata.annotations["{ALLOW}"]'
    for document in bundle.documents:
        if document.source == CLUSTER or ALLOW not in document.annotations:
            continue
        problems = [problem for entry in _entries(document) if (problem := _problem(entry, known))]
        for problem in problems:
            yield Fault(document, path, problem, "a rule's code and a reason for each", f"write it as {FORM}")
        if not problems:
            yield Held(document)
    for workload in workloads(bundle):
        if ALLOW in workload.annotations and ALLOW not in workload.document.annotations:
            observed = f"{ALLOW} stands in the Pod template, where nothing reads it"
            remedy = f"move it to the metadata of {workload.document.id}"
            yield Fault(workload.document, workload.path, observed, "on the object itself", remedy, workload.label)


def _entries(document: Document) -> list[str]:
    """Entries that say something; a semicolon at the end starts none, but an annotation of nothing is one."""
    entries = document.annotations[ALLOW].split(";")
    return [entry for entry in entries if entry.strip()] or [""]


def _problem(text: str, known: set[str]) -> str:
    entry = ENTRY.fullmatch(text)
    shown = " ".join(text.split())[:60]
    if entry is None:
        return f"{shown!r} is not a code, a colon and a reason"
    if entry[1] not in known:
        return f"{entry[1]} is no rule"
    return "" if entry[2] else f"{entry[1]} without a reason"


RULES: Final = (
    Rule(
        ALLOWANCES_SENSIBLE,
        Severity.ERROR,
        "An allowance is a decision that the next reader must be able to judge. One without a reason cannot be, and "
        "one with a misspelt code silences nothing.",
        _sensible,
    ),
)
