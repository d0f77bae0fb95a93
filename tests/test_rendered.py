"""All that the chart and the kustomizations render to, judged by everything that judges manifests."""

from __future__ import annotations

from pathlib import Path

import kubernetes_validate
import pytest
from click.testing import CliRunner

from serving.cli.lint import command
from tests.helm.scenarios import CHART
from tests.manifests.kustomize import KUSTOMIZATIONS
from tests.rendered import documents, everything, scenarios

SUPPORTED = {
    "default",
    "cpu-demo",
    "single-gpu",
    "mig",
    "time-slicing-dev",
    "multi-gpu",
    "multi-node",
    "canary",
    "keda",
    "monitoring",
    "air-gapped",
    "no-kserve",
    "dra",
}
RENDERED = list(everything())
CORE_GROUPS = ("", "apps", "batch", "policy", "networking.k8s.io", "scheduling.k8s.io", "rbac.authorization.k8s.io")


def test_every_supported_scenario_is_there():
    assert set(scenarios()) == SUPPORTED
    assert {"base", "overlays/dev-cpu", "overlays/gpu-pool", "overlays/canary-rehearsal"} <= set(KUSTOMIZATIONS)


@pytest.mark.parametrize("name", [name for name, _ in RENDERED])
def test_core_kinds_pass_kubernetes_own_schemas(name: str):
    checked = 0
    for document in documents(dict(RENDERED)[name]):
        group = document["apiVersion"].rpartition("/")[0]
        if group in CORE_GROUPS:
            kubernetes_validate.validate(document, "1.36", strict=True)
            checked += 1
    assert checked or name.endswith("volcano-queue")


@pytest.mark.parametrize("name", [name for name, _ in RENDERED])
def test_lint_has_nothing_to_say(name: str, tmp_path: Path):
    path = tmp_path / f"{name}.yaml"
    path.write_text(dict(RENDERED)[name])
    done = CliRunner().invoke(command, [str(path)])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("scenario", list(scenarios()))
def test_lint_renders_the_chart_by_itself(scenario: str):
    values = scenarios()[scenario]
    options = ["--values", str(values)] if values else []
    done = CliRunner().invoke(command, [str(CHART), "--release", "qwen", "--namespace", "llm", *options])
    assert done.exit_code == 0, done.output
