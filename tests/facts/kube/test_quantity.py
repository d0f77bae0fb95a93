from __future__ import annotations

from fractions import Fraction

import pytest

from serving.facts.kube.quantity import quantity, whole


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", Fraction(1)),
        ("1.0", Fraction(1)),
        (".5", Fraction(1, 2)),
        ("5.", Fraction(5)),
        ("+2", Fraction(2)),
        ("-1", Fraction(-1)),
        ("100m", Fraction(1, 10)),
        ("2k", Fraction(2000)),
        ("24Gi", Fraction(25769803776)),
        ("1.5Gi", Fraction(1610612736)),
        ("1e3", Fraction(1000)),
        ("12E", Fraction(12 * 10**18)),
        ("1E2", Fraction(100)),
        ("", None),
        ("one", None),
        ("1 Gi", None),
        ("1gi", None),
        ("1Gb", None),
        ("1e999999999", None),
    ],
)
def test_a_quantity_is_read_as_kubernetes_reads_it(text: str, number: Fraction | None):
    assert quantity(text) == number


@pytest.mark.parametrize(
    ("text", "number"), [("3", 3), ("1000m", 1), ("1.0", 1), ("500m", None), ("0.5", None), ("-1", -1), ("x", None)]
)
def test_only_what_is_whole_is_a_whole_number(text: str, number: int | None):
    assert whole(text) == number
