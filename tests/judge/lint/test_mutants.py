from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from serving.codes import registry
from serving.judge.lint import RULES, judge_manifests
from serving.verdict import Verdict
from tests.judge.lint.mutate import HERE, base, bundle, changed, mutants

MUTANTS = mutants()
BASES = sorted(path.stem for path in (HERE / "bases").glob("*.yaml"))


@pytest.mark.parametrize("name", BASES)
def test_a_good_bundle_has_no_finding(name: str):
    report = judge_manifests(bundle(base(name)), name)
    assert [finding for finding in report.findings if finding.verdict is not Verdict.PASS] == []
    assert report.findings


@pytest.mark.parametrize("mutant", MUTANTS, ids=[f"{one['rule']} {one['name']}" for one in MUTANTS])
def test_a_mutant_trips_exactly_its_rule(mutant: dict[str, Any]):
    documents = changed(base(mutant["base"]), mutant["change"])
    report = judge_manifests(bundle(documents, mutant.get("live"), **mutant.get("given", {})), mutant["name"])
    tripped = [each for each in report.findings if each.verdict is not Verdict.PASS]
    assert {each.code.id for each in tripped} == {mutant["rule"], *mutant.get("also", ())}, tripped
    expected = Verdict.UNKNOWN if mutant.get("unclear") else Verdict.FAIL
    for each in tripped:
        if each.code.id == mutant["rule"]:
            assert each.verdict is expected
            assert each.remedy
            assert each.observed
            assert each.expected


def test_every_rule_has_a_mutant_that_trips_it_alone():
    tripped = {one["rule"] for one in MUTANTS if not one.get("unclear") and not one.get("also")}
    assert [rule.code.id for rule in RULES if rule.code.id not in tripped] == []


def test_no_code_belongs_to_two_rules():
    assert [code for code, number in Counter(rule.code.id for rule in RULES).items() if number > 1] == []


def test_rules_stand_in_the_order_of_their_codes():
    ids = [rule.code.id for rule in RULES]
    assert ids == sorted(ids)
    assert set(ids) == {code for code in registry() if code.startswith("WG3")}


def test_the_readme_counts_the_rules():
    assert f" judges {len(RULES)} rules " in (HERE.parents[2] / "README.md").read_text()
