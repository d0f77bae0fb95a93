"""Findings of a run beside those of its SLOs: telemetry's limits, the candidate's comparison, a sweep's rate.

It gathers what judges say of the parts of a run; only the sweep's finding is made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtest.conclude import Conclusion, conclude
from loadtest.document_parts import Swept
from loadtest.profile import Profile
from loadtest.run import Run
from serving.codes import CAPACITY_FOUND, ENDPOINT_STAYED
from serving.facts.columns import columns
from serving.facts.telemetry import Telemetry
from serving.facts.traffic import Traffic
from serving.judge.compare import DEFAULT_MARGINS, judge_arms
from serving.judge.harness import doubt, judge_harness
from serving.judge.telemetry import judge_telemetry, judged_spans
from serving.verdict import Finding, Verdict


def concluded(run: Run, traffic: Traffic, attached: Sequence[dict[str, Any]], directory: Path) -> Conclusion:
    """The conclusion of a run, its report written."""
    return conclude(
        traffic,
        run.profile,
        attached,
        directory,
        telemetry=run.telemetry,
        swept=run.swept,
        also=findings_beside(run, traffic),
    )


def findings_beside(run: Run, traffic: Traffic) -> tuple[Finding, ...]:
    """All that other judges say of this run."""
    left = () if run.gone is None else (_left(run, run.gone),)
    if run.swept is not None:
        return (*left, _capacity(run.swept, traffic))
    profile = run.profile
    why_not = doubt(judge_harness(traffic, columns(traffic.window), profile.harness))
    found = judge_telemetry(run.telemetry or Telemetry(), profile.telemetry_gates, judged_spans(traffic), doubt=why_not)
    if any(request.arm for request in traffic.requests) and not profile.no_gates:
        margins = profile.margins or DEFAULT_MARGINS
        compared = judge_arms(traffic, profile.slos, margins, confidence=_sure(profile), harness=profile.harness)
        found = (*found, *compared.report.findings)
    return (*left, *found)


def _left(run: Run, why: str) -> Finding:
    return Finding(
        ENDPOINT_STAYED,
        Verdict.UNKNOWN,
        "endpoint",
        "gone after the last answer",
        f"serves the model at {run.target.base_url} still",
        why,
        "see why it ended: a server that goes with the load has not passed it",
        source="/v1/models",
    )


def _sure(profile: Profile) -> float:
    """A comparison always has its confidence: without one, no difference is too small to be called one."""
    return 0.95 if profile.confidence == "none" else profile.confidence


def _capacity(swept: Swept, traffic: Traffic) -> Finding:
    """A sweep passes when it found its rate, and fails when it is known that not even the lowest one met the SLOs."""
    answer, remedy = swept.answer, ""
    if answer.capacity_rps is None:
        observed = "no rate met the SLOs" if answer.settled else "no rate could be judged"
    else:
        observed = f"{'' if answer.settled else 'at least '}{answer.capacity_rps:.3g}/s"
    if traffic.end.interrupted:
        verdict, remedy = Verdict.UNKNOWN, "let the sweep finish"
    elif not answer.settled:
        verdict, remedy = Verdict.UNKNOWN, "give sweep a higher max_rps, longer probes or more of them"
    elif answer.capacity_rps is None:
        verdict, remedy = Verdict.FAIL, "see the probes: the SLOs are out of reach of this server, or it is not well"
    else:
        verdict = Verdict.PASS
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
