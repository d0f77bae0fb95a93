"""How the judges of a verification say that nobody could look, and what to do about it. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from serving.facts.seen import Unseen
from serving.verdict import Finding, Verdict

START_AGENT: Final = "start the server with `warmgate serve`, or correct --admin"
CORRECT_BASE_URL: Final = "start the gateway, or correct --base-url"


def could_not_look(base: Finding, fact: Unseen, remedy: str) -> Finding:
    """UNKNOWN, with the observer's reason as the evidence."""
    return could_not_tell(base, fact.why, remedy)


def could_not_tell(base: Finding, why: str, remedy: str) -> Finding:
    """UNKNOWN: somebody looked, and it was not enough to decide."""
    observed = base.observed or "could not look"
    return replace(base, verdict=Verdict.UNKNOWN, observed=observed, why=why, remedy=remedy)
