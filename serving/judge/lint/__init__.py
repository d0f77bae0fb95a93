"""Judges manifests: every rule over all documents together. Pure: it reads no file and asks no cluster.

Each module beside this one holds the rules of one topic and lists them in `RULES`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from serving.facts.manifests import Bundle, Document
from serving.judge.lint import placement
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, Unclear
from serving.verdict import Finding, Report, Verdict

RULES: Final[tuple[Rule, ...]] = (*placement.RULES,)
ALLOW: Final = "warmgate/allow"  # `WG301: reason; WG305: reason` on an object silences rules there, in sight of all


def judge_manifests(bundle: Bundle, title: str, severity: Severity = Severity.WARNING) -> Report:
    """Every rule of at least this severity over the bundle.

    A fault is a FAIL, what cannot be told is UNKNOWN, a rule that held is one PASS with the number of objects, and
    what an annotation allows is NOT_APPLICABLE with its reason. Rules that found nothing to look at are left out.
    """
    rules = [rule for rule in RULES if severity is Severity.WARNING or rule.severity is Severity.ERROR]
    return Report(title, tuple(finding for rule in rules for finding in _findings(rule, bundle)))


def _findings(rule: Rule, bundle: Bundle) -> Iterator[Finding]:
    looks = list(rule.check(bundle))
    for look in looks:
        if not isinstance(look, Held):
            yield _finding(rule, look)
    if looks and all(isinstance(look, Held) for look in looks):
        number = len({id(look.document) for look in looks})
        counted = "1 object" if number == 1 else f"{number} objects"
        yield Finding(rule.code, Verdict.PASS, counted, "held", rule.code.pass_means, rule.reason)


def _finding(rule: Rule, look: Fault | Unclear) -> Finding:
    subject = look.who or look.document.id
    source = f"{look.document.place} {look.path}".rstrip()
    allowed = allowances(look.document).get(rule.code.id)
    if allowed is not None:
        said = f"allowed by its annotation: {allowed or 'no reason given'}"
        observed = look.observed if isinstance(look, Fault) else look.missing
        return Finding(rule.code, Verdict.NOT_APPLICABLE, subject, observed, said, rule.reason, "", source)
    if isinstance(look, Unclear):
        expected = rule.code.pass_means
        return Finding(rule.code, Verdict.UNKNOWN, subject, look.missing, expected, rule.reason, look.remedy, source)
    return Finding(rule.code, Verdict.FAIL, subject, look.observed, look.expected, rule.reason, look.remedy, source)


def allowances(document: Document) -> dict[str, str]:
    """Codes that an object's annotation silences, each with the reason that was given."""
    found = re.findall(r"(WG3\d\d)\s*:?\s*([^;]*)", document.annotations.get(ALLOW, ""))
    return {code: reason.strip() for code, reason in found}


__all__ = ["RULES", "Look", "Rule", "Severity", "allowances", "judge_manifests"]
