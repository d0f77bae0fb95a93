"""Prometheus's own judgement of rules: `promtool check rules` and `promtool test rules`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

HOW_TO_GET_IT = "promtool not installed: apt-get install prometheus"


def path() -> str | None:
    """The promtool of WARMGATE_PROMTOOL, else of PATH."""
    return os.environ.get("WARMGATE_PROMTOOL") or shutil.which("promtool")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run it."""
    command = [path() or "promtool", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def complaint(rules: dict[str, Any], directory: Path) -> str:
    """What is wrong with a rule file; nothing when empty."""
    file = directory / "rules.yaml"
    file.write_text(json.dumps(rules))
    done = run("check", "rules", file)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def firing(rules: dict[str, Any], directory: Path, alert: str, series: dict[str, str], at: str) -> list[dict[str, str]]:
    """The alerts of this name that fire at a moment, each as its labels and its annotations.

    `series` are what Prometheus has scraped once a minute, in promtool's notation. Expecting none makes promtool tell
    of all.
    """
    (directory / "rules.yaml").write_text(json.dumps(rules))
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": at, "alertname": alert, "exp_alerts": []}],
    }
    body = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}
    file = directory / "test.yaml"
    file.write_text(json.dumps(body))
    done = run("test", "rules", file)
    if done.returncode == 0:
        return []
    told = done.stdout + done.stderr
    assert "got:" in told, told
    found = re.findall(r"Labels:(\{.*\})\s+Annotations:(\{.*\})", told)
    assert found, told
    return [_pairs(labels) | _pairs(annotations) for labels, annotations in found]


def values(rules: dict[str, Any], directory: Path, expr: str, series: dict[str, str], at: str) -> dict[str, float]:
    """What an expression gives for each Deployment, once the rules have been evaluated every minute."""
    (directory / "rules.yaml").write_text(json.dumps(rules))
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expr, "eval_time": at, "exp_samples": []}],
    }
    body = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}
    file = directory / "test.yaml"
    file.write_text(json.dumps(body))
    done = run("test", "rules", file)
    told = done.stdout + done.stderr
    return {name: float(value) for name, value in re.findall(r'deployment="([^"]+)".*?\} ([^\s,]+)', told)}


def _pairs(text: str) -> dict[str, str]:
    return dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', text))
