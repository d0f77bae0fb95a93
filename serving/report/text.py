"""Renders a report as a table for people: one row per finding, its evidence below, its remedy below that.

Formatting only, from nothing but the Report. Text that came from the network is shown without control characters, so
that no server can write to the terminal. 100 columns unless told otherwise.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping
from itertools import zip_longest
from typing import Final, TextIO

from serving.verdict import Finding, Report, Verdict

WIDTH: Final = 100
LABELS: Final = {
    Verdict.PASS: ("✓", "pass"),
    Verdict.FAIL: ("✗", "FAIL"),
    Verdict.UNKNOWN: ("?", "unknown"),
    Verdict.NOT_APPLICABLE: ("–", "n/a"),
}
COLORS: Final = {Verdict.PASS: "32", Verdict.FAIL: "1;31", Verdict.UNKNOWN: "1;33", Verdict.NOT_APPLICABLE: "2"}
DIM: Final = "2"
WORD_WIDTH: Final = 9
SUBJECT_WIDTH: Final = 24


def render_text(report: Report, *, color: bool = False, width: int = WIDTH, hidden: Collection[Verdict] = ()) -> str:
    """The whole report, ending in one line with the verdict. `color` adds SGR sequences and changes nothing else.

    Findings of `hidden` verdicts have no row; the last line counts them.
    """
    findings = [finding for finding in report.findings if finding.verdict not in hidden]
    codes = max((len(finding.code.id) for finding in findings), default=4)
    subjects = [len(one_line(finding.subject)) for finding in findings]
    subject = min(max(subjects, default=0) + 2, SUBJECT_WIDTH)
    indent = 2 + WORD_WIDTH + 2 + codes + 2
    left = width - indent - subject
    observed = min(max((len(one_line(each.observed)) + 2 for each in findings), default=0), left * 3 // 5)
    columns = (subject, observed, left - observed)
    lines = [one_line(report.title), *([""] if findings else [])]
    for finding in findings:
        lines += _row(finding, indent, columns, color)
        lines += _notes(finding, indent, width, color)
    return "\n".join([*lines, "", _verdict(report, color)]) + "\n"


def color_wanted(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Colour goes to terminals alone, and not to those whose owner set NO_COLOR (https://no-color.org)."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def one_line(text: str) -> str:
    """Text from anywhere as it may be shown: on one line, and without control characters."""
    return "".join(char if char.isprintable() else " " if char.isspace() else "�" for char in text)


def _row(finding: Finding, indent: int, columns: tuple[int, int, int], color: bool) -> list[str]:
    mark, word = LABELS[finding.verdict]
    head = f"  {_paint(f'{mark} {word}'.ljust(WORD_WIDTH), COLORS[finding.verdict], color)}  {finding.code.id}"
    head += " " * (indent - 2 - WORD_WIDTH - 2 - len(finding.code.id))
    cells = [
        textwrap.wrap(one_line(text), column - 2) or [""]
        for text, column in zip((finding.subject, finding.observed, finding.expected), columns, strict=True)
    ]
    lines = []
    for number, parts in enumerate(zip_longest(*cells, fillvalue="")):
        text = "".join(part.ljust(column) for part, column in zip(parts, columns, strict=True))
        lines.append(((head if number == 0 else " " * indent) + text).rstrip())
    return lines


def _notes(finding: Finding, indent: int, width: int, color: bool) -> list[str]:
    notes = _wrapped(" · ".join(part for part in (finding.why, finding.source) if part), indent, width)
    notes = [_paint(line, DIM, color) for line in notes]
    if finding.remedy and finding.verdict in (Verdict.FAIL, Verdict.UNKNOWN):
        notes += _wrapped(f"→ {finding.remedy}", indent, width)
    return notes


def _wrapped(text: str, indent: int, width: int) -> list[str]:
    space = " " * indent
    return textwrap.wrap(one_line(text), width, initial_indent=space, subsequent_indent=space, break_on_hyphens=False)


def _verdict(report: Report, color: bool) -> str:
    counts = {verdict: sum(finding.verdict is verdict for finding in report.findings) for verdict in LABELS}
    parts = [f"{count} {LABELS[verdict][1].lower()}" for verdict, count in counts.items() if count]
    word = _paint(report.verdict.upper(), COLORS[report.verdict], color)
    return f"{word}: {', '.join(parts) or 'nothing was judged'} (exit code {report.exit_code})"


def _paint(text: str, sgr: str, color: bool) -> str:
    return f"\x1b[{sgr}m{text}\x1b[0m" if color else text
