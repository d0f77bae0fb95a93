"""Verdicts, findings and reports: what a judge returns and a renderer shows. No I/O, no formatting.

UNKNOWN is never PASS. NOT_APPLICABLE is shown and never counted: a report with nothing but NOT_APPLICABLE is UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from serving.codes import Code


class Verdict(StrEnum):
    """The four answers to one question."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not_applicable"


EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNKNOWN: 3, Verdict.NOT_APPLICABLE: 3}


@dataclass(frozen=True)
class Finding:
    """One judged question: what was asked of whom, what was seen, what was expected, and what to do about it.

    `subject` is the thing judged (a URL, a metric, an object), `observed` and `expected` are short phrases with their
    units, `why` is the evidence in one line, `remedy` is empty when there is nothing to do.
    """

    code: Code
    verdict: Verdict
    subject: str
    observed: str
    expected: str
    why: str
    remedy: str = ""
    source: str = ""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of many: FAIL over UNKNOWN over PASS; UNKNOWN when nothing applicable was judged.

    >>> worst([Verdict.PASS, Verdict.NOT_APPLICABLE])
    <Verdict.PASS: 'pass'>
    >>> worst([Verdict.NOT_APPLICABLE])
    <Verdict.UNKNOWN: 'unknown'>
    """
    counted = {verdict for verdict in verdicts if verdict is not Verdict.NOT_APPLICABLE}
    for verdict in (Verdict.FAIL, Verdict.UNKNOWN, Verdict.PASS):
        if verdict in counted:
            return verdict
    return Verdict.UNKNOWN


@dataclass(frozen=True)
class Report:
    """What a judge concluded: its findings in the order they were asked, and one verdict over them all."""

    title: str
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """FAIL over UNKNOWN over PASS."""
        return worst(finding.verdict for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 3 could not observe."""
        return EXIT_CODES[self.verdict]
