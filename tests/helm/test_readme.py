"""The chart's README has the table that values.yaml gives, and every value is described."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tests.helm.readme import CHART, current, described

VALUES = (CHART / "values.yaml").read_text(encoding="utf-8")


def test_the_table_of_values_is_current() -> None:
    """If not: python -m tests.helm.readme."""
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    assert current(readme, VALUES) == readme
    assert current(readme, VALUES.replace("maxSurge: 1", "maxSurge: 7")) != readme


def test_every_value_is_described_or_within_one_that_is() -> None:
    def leaves(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
        for name, value in values.items():
            inner = f"{path}.{name}".lstrip(".")
            if isinstance(value, Mapping) and value:
                yield from leaves(value, inner)
            else:
                yield inner

    known = {path for path, _ in described(VALUES)}
    for leaf in leaves(yaml.safe_load(VALUES)):
        assert any(leaf == path or leaf.startswith(f"{path}.") for path in known), leaf


def test_a_description_goes_on_over_lines_and_knows_its_parents() -> None:
    text = "a:\n  # -- One\n  # and two.\n  b: 1\n# plain\nc: 2\n# -- Three.\nd:\n  e: 1\n"
    assert list(described(text)) == [("a.b", "One and two."), ("d", "Three.")]
