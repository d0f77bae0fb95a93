from __future__ import annotations

import io
import re

import pytest

from serving import codes
from serving.report.text import color_wanted, render_text
from serving.verdict import Finding, Report, Verdict

PASSED = Finding(
    codes.LATENCY, Verdict.PASS, "TTFT", "p95 143 ms (n=20)", "p95 ≤ 500 ms", "p50 98 ms", source="http://h/v1"
)
FAILED = Finding(
    codes.MODEL_WARM,
    Verdict.FAIL,
    "model",
    "loading for 12 s",
    "warm",
    "reading weights",
    "wait for it",
    "http://h/modelz",
)
DOUBTED = Finding(
    codes.ENDPOINT_LISTED, Verdict.UNKNOWN, "endpoint", "could not look", "lists m", "refused", "start it"
)
SKIPPED = Finding(codes.GPU_MEMORY, Verdict.NOT_APPLICABLE, "GPU memory", "no GPU", "no GPU here", "no driver")
REPORT = Report("verify m at http://h", (PASSED, FAILED, DOUBTED, SKIPPED))


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_report_reads_like_this():
    assert render_text(REPORT) == (
        "verify m at http://h\n"
        "\n"
        "  ✓ pass     WG104  TTFT        p95 143 ms (n=20)  p95 ≤ 500 ms\n"
        "                    p50 98 ms · http://h/v1\n"
        "  ✗ FAIL     WG102  model       loading for 12 s   warm\n"
        "                    reading weights · http://h/modelz\n"
        "                    → wait for it\n"
        "  ? unknown  WG103  endpoint    could not look     lists m\n"
        "                    refused\n"
        "                    → start it\n"
        "  – n/a      WG106  GPU memory  no GPU             no GPU here\n"
        "                    no driver\n"
        "\n"
        "FAIL: 1 pass, 1 fail, 1 unknown, 1 n/a (exit code 1)\n"
    )


@pytest.mark.parametrize("width", [72, 100, 160])
def test_no_line_is_wider_than_asked_and_no_word_is_lost(width: int):
    long = Finding(
        codes.LATENCY,
        Verdict.FAIL,
        "a subject that is much longer than subjects are",
        "observed " * 12,
        "expected " * 9,
        "why " * 80,
        "remedy " * 50,
        "http://host/" + "path/" * 8,
    )
    text = render_text(Report("t", (long, *REPORT.findings)), width=width)
    assert max(map(len, text.splitlines())) <= width
    for word, times in {"observed": 12, "expected": 9, "why": 80, "remedy": 50, "subjects": 1}.items():
        assert len(re.findall(rf"\b{word}\b", text)) == times


def test_color_changes_nothing_but_color():
    colored = render_text(REPORT, color=True)
    assert plain(colored) == render_text(REPORT)
    assert "\x1b[1;31m✗ FAIL" in colored
    assert "\x1b" not in render_text(REPORT)


def test_text_from_the_network_cannot_write_to_the_terminal():
    hostile = Finding(
        codes.PREDICTION, Verdict.FAIL, "s\x1b[2J", "o\x07\r\n", "e\x9b31m", "w\x1b]0;owned\x07", "r\x1b[1m", "\x00"
    )
    text = render_text(Report("t\x1b[31m", (hostile,)))
    assert all(char.isprintable() or char == "\n" for char in text)


def test_an_empty_report_is_no_pass():
    assert render_text(Report("t", ())).endswith("UNKNOWN: nothing was judged (exit code 3)\n")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "wanted"),
    [
        pytest.param(Terminal(), {}, True, id="terminal"),
        pytest.param(Terminal(), {"NO_COLOR": "1"}, False, id="no-color"),
        pytest.param(Terminal(), {"NO_COLOR": ""}, True, id="no-color-empty-means-unset"),
        pytest.param(Terminal(), {"TERM": "dumb"}, False, id="dumb-terminal"),
        pytest.param(io.StringIO(), {}, False, id="pipe"),
    ],
)
def test_color_is_for_terminals_whose_owner_wants_it(stream: io.StringIO, environ: dict[str, str], wanted: bool):
    assert color_wanted(stream, environ) is wanted


def test_hidden_verdicts_have_no_row_and_are_counted() -> None:
    code = codes.Code("WG901", "Is it so?", "It is so.")
    findings = tuple(
        Finding(code, verdict, f"the {verdict.value} one", "a", "b", "why") for verdict in (Verdict.PASS, Verdict.FAIL)
    )
    text = render_text(Report("t", findings), hidden=(Verdict.PASS,))
    assert "the fail one" in text
    assert "the pass one" not in text
    assert text.endswith("FAIL: 1 pass, 1 fail (exit code 1)\n")
    held = render_text(Report("t", findings[:1]), hidden=(Verdict.PASS,))
    assert held == "t\n\nPASS: 1 pass (exit code 0)\n"
