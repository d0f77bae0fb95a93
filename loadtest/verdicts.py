"""Findings of a run beside those of its SLOs, such as what a sweep found. It gathers them; judges decide."""

from __future__ import annotations

from loadtest.document_parts import Swept
from loadtest.run import Run
from serving.codes import CAPACITY_FOUND
from serving.facts.telemetry import Telemetry
from serving.facts.traffic import Traffic
from serving.judge.telemetry import judge_telemetry, judged_spans
from serving.verdict import Finding, Verdict


def findings_beside(run: Run, traffic: Traffic) -> tuple[Finding, ...]:
    """All that other judges say of this run."""
    capacity = () if run.swept is None else (_capacity(run.swept, traffic),)
    cut = traffic.end.interrupted
    doubt = f"the run was cut short: {cut}" if cut else None
    seen, gates = run.telemetry or Telemetry(), run.profile.telemetry_gates
    return (*capacity, *judge_telemetry(seen, gates, judged_spans(traffic), doubt))


def _capacity(swept: Swept, traffic: Traffic) -> Finding:
    """A sweep passes when it found its rate; it fails when not even the lowest one met the SLOs."""
    answer = swept.answer
    if answer.capacity_rps is None:
        verdict, observed = Verdict.FAIL, "no rate met the SLOs"
        remedy = "see the probes: the SLOs are out of reach of this server, or it is not well"
    else:
        verdict, observed = Verdict.PASS, f"{answer.capacity_rps:.3g}/s"
        remedy = ""
    if not answer.settled and verdict is Verdict.PASS:
        verdict, remedy = Verdict.UNKNOWN, "give sweep a higher max_rps, longer probes or more of them"
    if traffic.end.interrupted:
        verdict, remedy = Verdict.UNKNOWN, "let the sweep finish"
    return Finding(
        CAPACITY_FOUND,
        verdict,
        "warm capacity",
        observed,
        "a rate that meets the SLOs, and a higher one that does not",
        answer.why,
        remedy,
        source="ledger",
    )
