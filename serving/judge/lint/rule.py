"""What a lint rule is: a code, how grave, the reason, and a pure check that says of each thing it looked at how it is.

A check yields Held, Fault or Unclear for every subject that the rule is about, and nothing for what it is not about, so
"held on 14" is told apart from "there was nothing to look at".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from serving.codes import Code
from serving.facts.kube.manifests import Bundle, Document


class Severity(StrEnum):
    """How grave a fault is: an error breaks serving or leaks; a warning costs, or breaks one day."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Held:
    """The rule applies to this document, and holds."""

    document: Document


@dataclass(frozen=True)
class Fault:
    """The rule does not hold: where, what stands there, what should, and what to change.

    `path` is a dotted path into the document; `who` is the subject's name where the document's id does not say enough.
    """

    document: Document
    path: str
    observed: str
    expected: str
    remedy: str
    who: str = ""


@dataclass(frozen=True)
class Unclear:
    """Whether the rule holds cannot be told from what was given: what is missing, and how to give it."""

    document: Document
    path: str
    missing: str
    remedy: str
    who: str = ""


Look = Held | Fault | Unclear


def held_or(document: Document, faults: Sequence[Fault]) -> Iterator[Look]:
    """The faults of one document, or that it held."""
    yield from faults
    if not faults:
        yield Held(document)


@dataclass(frozen=True)
class Rule:
    """One rule. `reason` is why it matters, in a sentence or two that a person can check."""

    code: Code
    severity: Severity
    reason: str
    check: Callable[[Bundle], Iterator[Look]]
