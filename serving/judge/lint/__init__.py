"""Judges manifests: every rule over all documents together. Pure: it reads no file and asks no cluster.

The modules in `TOPICS` hold the rules of one topic each; what several of them know stands in the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from serving.codes.lint import ALLOWANCES_SENSIBLE
from serving.facts.kube.manifests import Bundle, Document
from serving.judge.lint import (
    allowances,
    canary,
    canary_accepted,
    cluster,
    containers,
    credentials,
    devices,
    disruption,
    images,
    kinds,
    liveness,
    metadata,
    network,
    objects,
    parallel,
    placement,
    ports,
    predictor,
    privacy,
    probe_ports,
    probes,
    queries,
    references,
    rewrite,
    rollout,
    scaling,
    security,
    served,
    shutdown,
    storage,
    wiring,
)
from serving.judge.lint.allowances import ALLOW, silenced
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, Unclear
from serving.verdict import Finding, Report, Verdict

TOPICS: Final = (
    allowances,
    canary,
    canary_accepted,
    cluster,
    containers,
    credentials,
    devices,
    disruption,
    images,
    kinds,
    liveness,
    metadata,
    network,
    objects,
    parallel,
    placement,
    ports,
    predictor,
    privacy,
    probe_ports,
    probes,
    queries,
    references,
    rewrite,
    rollout,
    scaling,
    security,
    served,
    shutdown,
    storage,
    wiring,
)
RULES: Final[tuple[Rule, ...]] = tuple(
    sorted((rule for topic in TOPICS for rule in topic.RULES), key=lambda rule: rule.code.id)
)


def judge_manifests(bundle: Bundle, title: str, severity: Severity = Severity.WARNING) -> Report:
    """Every rule of at least this severity over the bundle: `judge_alternatives` of one."""
    return judge_alternatives((bundle,), title, severity)


def judge_alternatives(bundles: Sequence[Bundle], title: str, severity: Severity = Severity.WARNING) -> Report:
    """Every rule of at least this severity over each bundle; what they share, and what is said of it, counts once.

    A fault is a FAIL, what cannot be told is UNKNOWN, a rule that held is one PASS with the number of objects, and
    what an annotation allows is NOT_APPLICABLE with its reason, as is an allowance that nothing needs. Rules that found
    nothing to look at are left out.
    """
    rules = [rule for rule in RULES if severity is Severity.WARNING or rule.severity is Severity.ERROR]
    judged = [(rule, list(dict.fromkeys(look for bundle in bundles for look in rule.check(bundle)))) for rule in rules]
    findings = [finding for rule, looks in judged for finding in _findings(rule, looks)]
    documents = dict.fromkeys(document for bundle in bundles for document in bundle.documents)
    return Report(title, (*findings, *_unneeded(documents, judged)))


def _findings(rule: Rule, looks: Sequence[Look]) -> Iterator[Finding]:
    for look in looks:
        if not isinstance(look, Held):
            yield _finding(rule, look)
    if looks and all(isinstance(look, Held) for look in looks):
        number = len({id(look.document) for look in looks})
        counted = "1 object" if number == 1 else f"{number} objects"
        yield Finding(rule.code, Verdict.PASS, counted, "held", rule.code.pass_means, rule.reason)


def _finding(rule: Rule, look: Fault | Unclear) -> Finding:
    subject = look.who or look.document.id
    source = f"{look.document.place_of(look.path)} {look.path}".rstrip()
    allowed = silenced(look.document).get(rule.code.id)
    if allowed is not None:
        said = f"allowed by its annotation: {allowed or 'no reason given'}"
        observed = look.observed if isinstance(look, Fault) else look.missing
        return Finding(rule.code, Verdict.NOT_APPLICABLE, subject, observed, said, rule.reason, "", source)
    if isinstance(look, Unclear):
        expected = rule.code.pass_means
        return Finding(rule.code, Verdict.UNKNOWN, subject, look.missing, expected, rule.reason, look.remedy, source)
    return Finding(rule.code, Verdict.FAIL, subject, look.observed, look.expected, rule.reason, look.remedy, source)


def _unneeded(documents: Iterable[Document], judged: Sequence[tuple[Rule, Sequence[Look]]]) -> Iterator[Finding]:
    """Allowances of rules that were asked and had nothing to say: shown, so that they do not outlive their reason."""
    asked = {rule.code.id for rule, _ in judged}
    tripped = {
        (id(each.document), rule.code.id) for rule, looks in judged for each in looks if not isinstance(each, Held)
    }
    for document in documents:
        for code, reason in silenced(document).items():
            if reason and code in asked and (id(document), code) not in tripped:
                observed, expected = f"{code} is allowed here, and does not trip", "an allowance that is needed"
                verdict, source = Verdict.NOT_APPLICABLE, document.place_of(f'metadata.annotations["{ALLOW}"]')
                yield Finding(
                    ALLOWANCES_SENSIBLE, verdict, document.id, observed, expected, reason, "remove it", source
                )


__all__ = ["ALLOW", "RULES", "Look", "Rule", "Severity", "judge_alternatives", "judge_manifests", "silenced"]
