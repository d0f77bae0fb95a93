"""One rule over small bundles: what it says of a Deployment that differs from a good one in a few members."""

from __future__ import annotations

from typing import Any

from serving.judge.lint import judge_manifests
from serving.verdict import Finding, Verdict
from tests.judge.lint.mutate import base, bundle


def deployment(container: dict[str, Any] | None = None, **pod: Any) -> dict[str, Any]:
    """The good Deployment with members of its container and of its Pod replaced; None takes one away."""
    (found,) = [one for one in base("deployment") if one["kind"] == "Deployment"]
    spec = found["spec"]["template"]["spec"]
    _replace(spec, pod)
    _replace(spec["containers"][0], container or {})
    return found


def said(code: str, *documents: dict[str, Any]) -> list[Finding]:
    """What one rule says of these documents, passes left out."""
    report = judge_manifests(bundle(list(documents)), "test")
    return [each for each in report.findings if each.code.id == code and each.verdict is not Verdict.PASS]


def asked(code: str, *documents: dict[str, Any]) -> bool:
    """Was the rule about anything here?"""
    return any(each.code.id == code for each in judge_manifests(bundle(list(documents)), "test").findings)


def _replace(body: dict[str, Any], members: dict[str, Any]) -> None:
    for member, value in members.items():
        if value is None:
            body.pop(member, None)
        else:
            body[member] = value
