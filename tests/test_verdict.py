from __future__ import annotations

import doctest
from itertools import product

import pytest

from serving import codes, verdict
from serving.verdict import Finding, Report, Verdict, worst

PASS, FAIL, UNKNOWN, NA = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN, Verdict.NOT_APPLICABLE


def report(*verdicts: Verdict) -> Report:
    return Report("t", tuple(Finding(codes.LATENCY, each, "s", "o", "e", "w") for each in verdicts))


@pytest.mark.parametrize(
    "verdicts", [pytest.param(v, id="-".join(v) or "nothing") for n in range(5) for v in product(Verdict, repeat=n)]
)
def test_one_failure_fails_one_doubt_leaves_doubt_and_only_passes_pass(verdicts: tuple[Verdict, ...]):
    found = report(*verdicts)
    if FAIL in verdicts:
        assert (found.verdict, found.exit_code) == (FAIL, 1)
    elif UNKNOWN in verdicts or PASS not in verdicts:
        assert (found.verdict, found.exit_code) == (UNKNOWN, 3)
    else:
        assert (found.verdict, found.exit_code) == (PASS, 0)


def test_the_order_of_findings_does_not_matter():
    assert worst([NA, PASS, UNKNOWN]) == worst([UNKNOWN, NA, PASS]) == UNKNOWN


def test_the_examples_of_the_docstrings_hold():
    assert doctest.testmod(verdict).failed == 0
