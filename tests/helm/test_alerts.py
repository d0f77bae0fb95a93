"""Each alert fires when it should and not when it should not, judged by Prometheus's own engine."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.helm import promtool
from tests.helm.alert_cases import CASES, Case
from tests.helm.scenarios import only, render

pytestmark = pytest.mark.skipif(promtool.path() is None, reason=promtool.HOW_TO_GET_IT)


@cache
def rules() -> dict[str, Any]:
    values = {"monitoring": {"rules": {"enabled": True}, "dcgm": {"enabled": True}}}
    spec: dict[str, Any] = only(render(values), "PrometheusRule")["spec"]
    return spec


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{case.alert}-{case.name}") for case in CASES])
def test_an_alert_fires_when_it_should_and_only_then(case: Case, tmp_path: Path):
    fired = promtool.firing(rules(), tmp_path, case.alert, dict(case.scraped), case.at)
    if case.says is None:
        assert fired == []
        return
    (alert,) = fired
    assert alert["summary"].startswith(case.says)
    assert {name: alert[name] for name in case.labels} == case.labels


def test_every_alert_has_a_case_that_fires_and_one_that_does_not():
    alerts = {rule["alert"] for group in rules()["groups"] for rule in group["rules"] if "alert" in rule}
    assert {case.alert for case in CASES if case.says is not None} == alerts
    assert {case.alert for case in CASES if case.says is None} == alerts


def test_another_endpoint_of_the_namespace_is_none_of_our_business(tmp_path: Path):
    for case in CASES:
        if case.says is None or case.alert == "WarmgateMetricsAbsent":
            continue
        theirs = {name.replace('t="qwen"', 't="llama"'): values for name, values in case.scraped.items()}
        assert theirs != case.scraped
        assert promtool.firing(rules(), tmp_path, case.alert, theirs, case.at) == [], case
