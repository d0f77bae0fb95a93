"""The report: says what the judge said, holds together as one file, and gives nothing away."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from loadtest.chart import Axis, Chart
from loadtest.conclude import conclude, verdict_text
from loadtest.document import document, in_flight
from loadtest.report import page, read_attachment
from serving.errors import CannotAct, Refused
from serving.expectations import Slo
from serving.facts.traffic import Outcome, Traffic
from serving.judge.slo import judge_traffic
from tests.loadtest.asking import profile_of
from tests.loadtest.runs import failed, request, traffic

SLOS = (
    Slo(metric="ttft", statistic="p95", at_most_ms=300),
    Slo(metric="goodput", at_least_share=0.9),
)
PROFILE = profile_of(slos=SLOS)
GOOD = traffic(*(request(index, ttft_s=0.1 + index / 1000) for index in range(40)), warmup_s=2.0)
MIXED = traffic(
    *(request(index) for index in range(30)),
    *(
        failed(index, outcome=outcome, reason=f"because {outcome}")
        for index, outcome in enumerate(Outcome, 30)
        if index > 30
    ),
)
NOTHING = traffic()
VOID_TAGS = {"meta", "br", "link", "img", "input", "hr"}


class Outline(HTMLParser):
    """Every tag with its attributes, and whether they are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


def report_of(run: Traffic, attached: list[dict[str, Any]] | None = None) -> tuple[dict[str, Any], str]:
    body = document(run, PROFILE, judge_traffic(run, SLOS, PROFILE.harness), attached or [])
    return body, page(body, run, SLOS)


RUNS = [pytest.param(run, id=name) for name, run in (("good", GOOD), ("mixed", MIXED), ("nothing", NOTHING))]


@pytest.mark.parametrize("run", RUNS)
def test_the_page_is_one_file_that_loads_nothing(run: Traffic):
    _, text = report_of(run)
    outline = Outline()
    outline.feed(text)
    assert outline.stack == []
    assert not {tag for tag, _ in outline.tags} & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert not {name for _, attributes in outline.tags for name in attributes} & {"src", "href", "srcset", "xlink:href"}
    assert not re.search(r"url\(|@import|@font-face", text)
    assert set(re.findall(r"https?://[^\s<\"]*", text)) <= {run.plan.base_url}


@pytest.mark.parametrize("run", RUNS)
def test_every_picture_is_well_formed_and_stays_within_its_frame(run: Traffic):
    _, text = report_of(run)
    pictures = re.findall(r"<svg.*?</svg>", text, re.S)
    assert (len(pictures) == 0) == (run is NOTHING)
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        assert root.findtext("title")
        assert "nan" not in picture
        assert "inf" not in picture
        for place in re.findall(r"[ML](-?[\d.]+),(-?[\d.]+)", picture):
            assert 0 <= float(place[0]) <= 640
            assert 0 <= float(place[1]) <= 300


def test_a_good_run_says_pass_with_its_figures():
    body, text = report_of(GOOD)
    assert (body["verdict"], body["exit_code"], body["schema"]) == ("pass", 0, "warmgate.loadtest/v1")
    assert body["load"]["scheduled"] == 38
    assert body["load"]["warmup_requests"] == 2
    assert body["metrics"]["ttft_ms"]["n"] == 38
    assert body["metrics"]["ttft_ms"]["max"] == pytest.approx(139.0)
    assert body["tokens"]["output"] == 38 * 5
    assert body["goodput"] == 1.0
    assert "PASS" in text
    assert "ttft p95 &lt;= 300" in text


def test_a_run_with_failures_says_which_and_keeps_them_in_the_latencies():
    body, text = report_of(MIXED)
    assert (body["verdict"], body["exit_code"]) == ("fail", 1)
    assert body["outcomes"] == {
        "ok": 30, "http_error": 1, "stream_error": 1, "truncated": 1, "timeout": 1, "censored": 1, "not_sent": 1,
    }  # fmt: skip
    assert body["metrics"]["ttft_ms"]["failed"] == 6
    assert body["metrics"]["ttft_ms"]["p95"] is None
    for outcome in list(Outcome)[1:]:
        assert f"because {outcome}" in text


def test_a_run_without_requests_says_invalid():
    body, text = report_of(NOTHING)
    assert (body["verdict"], body["exit_code"]) == ("invalid", 3)
    assert "INVALID" in text
    assert body["metrics"]["ttft_ms"] is None


def test_the_document_is_json_without_infinities():
    for run in (GOOD, MIXED, NOTHING):
        json.dumps(report_of(run)[0], allow_nan=False)


def test_texts_from_outside_are_escaped():
    run = traffic(failed(0, reason="<script>alert(1)</script>"))
    attached = [{"title": "<b>x", "verdict": "<i>", "findings": [{"subject": "<img src=x>", "verdict": "\"'><p>"}]}]
    _, text = report_of(run, attached)
    outline = Outline()
    outline.feed(text)
    assert not {tag for tag, _ in outline.tags} & {"script", "img", "i>"}


def test_an_attached_report_is_shown_beside_and_does_not_change_the_verdict():
    other = {
        "title": "verify http://x", "verdict": "fail",
        "findings": [{"code": "WG102", "verdict": "fail", "subject": "model", "observed": "cold", "remedy": "warm it"}],
    }  # fmt: skip
    body, text = report_of(GOOD, [other])
    assert body["exit_code"] == 0
    assert body["attached"] == [other]
    for said in ("verify http://x", "WG102", "cold", "→ warm it"):
        assert said in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(None, "No such file", id="missing"),
        pytest.param("nope", "not JSON", id="not-json"),
        pytest.param("[]", "holds no findings", id="a-list"),
        pytest.param('{"findings": 3}', "holds no findings", id="no-findings"),
        pytest.param('{"findings": [3]}', "holds no findings", id="findings-that-are-none"),
    ],
)
def test_an_attachment_that_is_no_report_is_refused(tmp_path: Path, text: str | None, said: str):
    path = tmp_path / "verify.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Refused, match=said):
        read_attachment(path)


def test_conclude_writes_both_files_and_the_text_ends_with_the_verdict(tmp_path: Path):
    body, report = conclude(GOOD, PROFILE, [], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]
    assert json.loads((tmp_path / "report.json").read_text()) == body
    text = verdict_text(body, report, tmp_path, color=False)
    assert text.splitlines()[-1] == f"PASS (exit code 0): {tmp_path / 'report.html'}"
    body, report = conclude(NOTHING, PROFILE, [], tmp_path)
    assert verdict_text(body, report, tmp_path, color=False).splitlines()[-1].startswith("INVALID (exit code 3)")


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path: Path):
    with pytest.raises(CannotAct, match=r"report\.json: No such file or directory: make room; the ledger"):
        conclude(GOOD, PROFILE, [], tmp_path / "gone")


def test_streams_in_flight_are_counted_from_sending_to_the_end():
    run = [
        request(0, sent_s=1.0, end_s=4.0),
        request(1, sent_s=2.0, end_s=3.0),
        failed(2, sent_s=None, end_s=9.0),
    ]
    assert in_flight(run) == [(1.0, 1), (2.0, 2), (3.0, 1), (4.0, 0)]


@pytest.mark.parametrize(
    ("low", "high", "log"), [(0, 7, False), (0, 0, False), (3.3, 47_000, True), (5, 5, True), (0, 1, True)]
)
def test_an_axis_has_a_few_round_ticks_within_its_range(low: float, high: float, log: bool):
    axis = Axis(low, high, "x", log=log)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 14
    assert ticks == sorted(ticks)
    assert all(0 <= axis.place(tick) <= 1 for tick in ticks)
    assert axis.place(high) <= 1
    assert not math.isnan(axis.place(low))


def test_a_step_line_holds_each_value_until_the_next():
    chart = Chart(Axis(0, 10, "x"), Axis(0, 10, "y"), "about")
    chart.line([(0, 0), (10, 10)], "a", step=True)
    assert 'd="M58.0,258.0L628.0,258.0L628.0,14.0"' in chart.svg()
