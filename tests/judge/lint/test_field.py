"""Bundles that are wrong as public ones are: each says in its first line which rules it trips."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from serving.judge.lint import judge_manifests
from serving.verdict import Verdict
from tests.judge.lint.mutate import HERE, bundle

FIELD = sorted((HERE / "field").glob("*.yaml"))


@pytest.mark.parametrize("path", FIELD, ids=[path.stem for path in FIELD])
def test_a_faulty_bundle_of_the_field_trips_exactly_what_it_says(path: Path):
    text = path.read_text()
    head, _, codes = text.partition("\n")[0].partition(":")
    assert head == "# trips"
    report = judge_manifests(bundle([one for one in yaml.safe_load_all(text) if one]), path.stem)
    assert sorted({each.code.id for each in report.findings if each.verdict is not Verdict.PASS}) == codes.split()
