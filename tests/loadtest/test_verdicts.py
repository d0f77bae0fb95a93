"""Findings beside those of the SLOs: what a sweep came to, and who is asked to judge."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.document_parts import Swept
from loadtest.load import Search
from loadtest.run import Run
from loadtest.sweep import Answer, Sweep
from loadtest.target import target_of
from loadtest.verdicts import concluded, findings_beside
from serving.codes import CAPACITY_FOUND
from serving.verdict import Verdict
from tests.loadtest.asking import profile_of
from tests.loadtest.runs import request, traffic


def run_of(answer: Answer | None = None, **profile: object) -> Run:
    run = Run("by-hand", profile_of(**profile), target_of("http://127.0.0.1:1", None), None)
    if answer is not None:
        run.swept = Swept(Sweep(Search(), 1), answer, ())
    return run


@pytest.mark.parametrize(
    ("answer", "interrupted", "verdict", "observed"),
    [
        pytest.param(Answer(10.0, 11.0, True, ""), None, Verdict.PASS, "10/s", id="found"),
        pytest.param(Answer(10.0, None, False, ""), None, Verdict.UNKNOWN, "at least 10/s", id="no-end-was-found"),
        pytest.param(Answer(None, 1.0, True, ""), None, Verdict.FAIL, "no rate met the SLOs", id="all-failed"),
        pytest.param(Answer(None, 1.0, False, ""), None, Verdict.UNKNOWN, "no rate could be judged", id="none-known"),
        pytest.param(Answer(10.0, 11.0, True, ""), "Ctrl-C", Verdict.UNKNOWN, "10/s", id="cut-short"),
        pytest.param(Answer(None, 1.0, True, ""), "Ctrl-C", Verdict.UNKNOWN, "no rate met the SLOs", id="cut-early"),
    ],
)
def test_a_sweep_fails_only_when_it_is_known_that_no_rate_meets_the_slos(
    answer: Answer, interrupted: str | None, verdict: Verdict, observed: str
):
    (found,) = findings_beside(run_of(answer), traffic(request(), interrupted=interrupted))
    assert (found.code, found.verdict, found.observed) == (CAPACITY_FOUND, verdict, observed)
    assert bool(found.remedy) == (verdict is not Verdict.PASS)


def test_a_sweep_of_which_nothing_is_known_is_invalid_and_blames_no_server(tmp_path: Path):
    conclusion = concluded(run_of(Answer(None, 1.0, False, "no probe could tell")), traffic(request()), [], tmp_path)
    assert (conclusion.body["verdict"], conclusion.exit_code) == ("invalid", 3)
    assert "no rate could be judged" in (tmp_path / "report.html").read_text()


def test_arms_are_compared_unless_nothing_is_to_be_judged():
    pairs = traffic(*(request(n, arm=("baseline", "candidate")[n % 2]) for n in range(40)))
    assert {"WG207", "WG208"} == {found.code.id for found in findings_beside(run_of(), pairs)}
    assert findings_beside(run_of(no_gates=True), pairs) == ()
