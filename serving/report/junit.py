"""Renders a report as JUnit XML, which every CI system reads: one testsuite, and one testcase for each finding.

fail is a failure, unknown an error, not applicable is skipped. A report that is no pass never reads as one: where no
finding says why, a testcase of its own does. Formatting only, from nothing but the Report.
"""

from __future__ import annotations

import io
from typing import Final
from xml.etree import ElementTree as ET

from serving.report.text import one_line
from serving.verdict import Finding, Report, Verdict

ELEMENTS: Final = {Verdict.FAIL: "failure", Verdict.UNKNOWN: "error", Verdict.NOT_APPLICABLE: "skipped"}


def render_junit(report: Report) -> str:
    """The whole report as text that any UTF-8 stream takes, with a newline at its end."""
    suite = ET.Element("testsuite", name=_text(report.title))
    for finding in report.findings:
        _case(suite, finding)
    if report.verdict is Verdict.UNKNOWN and all(found.verdict is not Verdict.UNKNOWN for found in report.findings):
        case = ET.SubElement(suite, "testcase", classname="verdict", name="something was judged")
        ET.SubElement(case, "error", message="nothing was judged, so nothing passed", type="unknown")
    suite.set("tests", str(len(suite)))
    for plural, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(plural, str(len(suite.findall(f"testcase/{tag}"))))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    out = io.BytesIO()
    ET.ElementTree(root).write(out, encoding="utf-8", xml_declaration=True)
    return out.getvalue().decode() + "\n"


def _case(suite: ET.Element, finding: Finding) -> None:
    name = f"{finding.subject} {finding.expected}".strip()  # two limits of one metric are two cases
    case = ET.SubElement(suite, "testcase", classname=finding.code.id, name=_text(name))
    tag = ELEMENTS.get(finding.verdict)
    if tag is None:
        ET.SubElement(case, "system-out").text = _text(f"{finding.observed}: {finding.why}")
        return
    said = ET.SubElement(case, tag, message=_text(f"{finding.observed}, expected {finding.expected}: {finding.why}"))
    if tag != "skipped":
        said.set("type", finding.code.id)
        said.text = _text("\n".join(part for part in (finding.code.question, finding.why, finding.remedy) if part))


def _text(text: str) -> str:
    """Text from anywhere as XML can hold it: no control characters, no half of a character."""
    lines = (one_line(line) for line in text.split("\n"))
    return "\n".join(lines).encode("utf-8", "replace").decode()
