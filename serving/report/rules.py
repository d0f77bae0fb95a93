"""Renders the rules of lint: as text for a terminal, and as docs/lint.md (`python -m serving.report.rules`)."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from typing import Final

from serving.judge.lint import RULES
from serving.judge.lint.rule import Rule

WIDTH: Final = 100
HEAD: Final = """\
# The rules of `warmgate lint`

Written by `python -m serving.report.rules`; `warmgate lint --rules` prints the same. An error breaks serving or leaks;
a warning costs, or breaks one day. Silence a rule on one object, in sight of everybody, with an annotation:

    warmgate/allow: "WG381: the tag is a digest in production; WG386: needs the API for leader election"
"""


def rules_text(rules: Sequence[Rule]) -> str:
    """Every rule: its code, how grave, what it asks, what holds when it passes, and why it matters."""
    lines = []
    for rule in rules:
        lines.append(f"{rule.code.id}  {rule.severity.value:<7}  {rule.code.question}")
        for text in (f"wants: {rule.code.pass_means}", f"why: {rule.reason}"):
            lines += textwrap.wrap(text, WIDTH, initial_indent=" " * 16, subsequent_indent=" " * 16)
    return "\n".join([*lines, "", f"{len(rules)} rules"]) + "\n"


def rules_markdown(rules: Sequence[Rule]) -> str:
    """The text of docs/lint.md."""
    return "\n".join([HEAD, *(_section(rule) for rule in rules)])


def _section(rule: Rule) -> str:
    title = f"## {rule.code.id}: {rule.code.question}"
    return f"{title}\n\n*{rule.severity.value}* · {rule.code.pass_means}\n\n{rule.reason}\n"


if __name__ == "__main__":
    sys.stdout.write(rules_markdown(RULES))
