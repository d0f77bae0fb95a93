"""The report: says what the judge said, holds together as one file, and gives nothing away."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from loadtest.conclude import conclude, verdict_text
from loadtest.document import document
from loadtest.document_parts import Swept
from loadtest.load import Search
from loadtest.page import page
from loadtest.report import read_attachment
from loadtest.sweep import Answer, Sweep
from serving.codes import CAPACITY_FOUND
from serving.errors import Refused
from serving.expectations import Slo
from serving.facts.series import Series
from serving.facts.telemetry import Source, Telemetry
from serving.facts.traffic import Outcome, Phase, Traffic
from serving.judge.slo import judge_traffic
from serving.verdict import Finding, Verdict
from tests.loadtest.asking import profile_of
from tests.loadtest.runs import failed, request, traffic

SLOS = (
    Slo(metric="ttft", statistic="p95", at_most_ms=300),
    Slo(metric="goodput", at_least_share=0.9),
)
PROFILE = profile_of(slos=SLOS, confidence="none")
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


def figures_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.S)
    assert found is not None
    assert "<" not in found[1]
    figures: dict[str, Any] = json.loads(found[1])
    return figures


def report_of(run: Traffic, attached: list[dict[str, Any]] | None = None) -> tuple[dict[str, Any], str]:
    body = document(run, PROFILE, judge_traffic(run, SLOS, PROFILE.harness), attached or [])
    return body, page(body, run, SLOS)


def written(text: str) -> str:
    """The page without plotly.js: what this project wrote into it."""
    return re.sub(r"<script>/\*\*\n\* plotly\.js v.*?</script>", "<script></script>", text, flags=re.S)


RUNS = [pytest.param(run, id=name) for name, run in (("good", GOOD), ("mixed", MIXED), ("nothing", NOTHING))]


@pytest.mark.parametrize("run", RUNS)
def test_the_page_is_one_file_that_loads_nothing(run: Traffic):
    _, whole = report_of(run)
    text = written(whole)
    outline = Outline()
    outline.feed(text)
    assert outline.stack == []
    assert not {tag for tag, _ in outline.tags} & {"link", "img", "iframe", "object", "embed", "base", "form"}
    assert not {name for _, attributes in outline.tags for name in attributes} & {"src", "href", "srcset", "xlink:href"}
    assert not re.search(r"url\(|@import|@font-face", text)
    assert set(re.findall(r"https?://[^\s<\"]*", text)) <= {run.plan.base_url}
    assert len(whole) < 8_000_000


@pytest.mark.parametrize("run", RUNS)
def test_no_script_runs_but_the_two_that_the_policy_names(run: Traffic):
    _, text = report_of(run)
    scripts = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert len(scripts) == (0 if run is NOTHING else 2)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; ")
    assert "http" not in policy[1]
    for script in scripts:
        assert f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in policy[1].split("script-src")[1]


@pytest.mark.parametrize("run", RUNS)
def test_every_picture_has_its_place_its_data_and_its_words(run: Traffic):
    _, text = report_of(run)
    figures = figures_of(text)
    places = re.findall(r'<div class="plot" id="([a-z-]+)" role="img" aria-label="([^"]+)"', text)
    assert [name for name, _ in places] == list(figures)
    expected = {"answer", "between", "latency", "outcomes", "rates", "in-flight", "tokens-out"}
    assert set(figures) == (set() if run is NOTHING else expected)
    for figure in figures.values():
        assert figure["data"]
        assert "NaN" not in json.dumps(figure)
        assert "Infinity" not in json.dumps(figure)


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
    assert "ttft p95" in text
    assert "&lt;= 300 ms" in text
    assert "ttft p95 \u2264 300 ms" in json.dumps(figures_of(text)["answer"], ensure_ascii=False)


def test_the_page_tells_how_well_the_clocks_of_workers_were_known_where_they_have_their_own():
    assert "clocks known within" not in report_of(GOOD)[1]
    _, text = report_of(replace(GOOD, end=replace(GOOD.end, workers=2, clock_uncertainty_ms=4.25)))
    assert "clocks known within</dt><dd>4.2 ms</dd>" in text


def test_an_ab_run_names_both_sides():
    run = replace(GOOD, plan=replace(GOOD.plan, candidate_url="http://127.0.0.1:8001"))
    _, text = report_of(run)
    assert "http://127.0.0.1:8000 against http://127.0.0.1:8001 · " in text
    assert "<dt>Candidate</dt><dd>http://127.0.0.1:8001</dd>" in text
    assert "Candidate" not in written(report_of(GOOD)[1])


@pytest.mark.parametrize(
    ("run", "said"),
    [
        pytest.param(GOOD, False, id="exact"),
        pytest.param(traffic(request(0, chunk_tokens=None), request(1, chunk_tokens=None)), True, id="not-told"),
        pytest.param(traffic(failed(0), failed(1)), False, id="nothing-came"),
    ],
)
def test_the_want_of_exact_counts_is_said_of_servers_that_answered(run: Traffic, said: bool):
    _, text = report_of(run)
    assert (" The server did not let tokens per chunk be known exactly" in text) is said
    assert "left out.The" not in text


def test_the_stages_of_a_closed_loop_are_told_and_not_taken_for_one_law_of_arrivals():
    phases = (Phase("few", 0.0, 20.0, concurrency=2), Phase("many", 20.0, 40.0, concurrency=8))
    load = replace(GOOD.plan.load, mode="closed_loop", rate_per_s=None, concurrency=8, warmup_s=0.0, phases=phases)
    requests = tuple(replace(seen, phase=int(seen.scheduled_s >= 20)) for seen in GOOD.requests)
    body, text = report_of(replace(GOOD, requests=requests, plan=replace(GOOD.plan, load=load)))
    assert "closed loop of 2 to 8 streams" in text
    assert body["load"]["interarrival_cv"] is None
    assert "CV of" not in text


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


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def test_texts_from_outside_are_escaped():
    run = replace(
        traffic(failed(0, reason=HOSTILE), request(1, replica=HOSTILE), request(2, replica="b", arm=HOSTILE)),
    )
    run = replace(
        run, plan=replace(run.plan, model=HOSTILE, load=replace(run.plan.load, phases=(Phase(HOSTILE, 0, 9),)))
    )
    attached = [{"title": "<b>x", "verdict": "<i>", "findings": [{"subject": "<img src=x>", "verdict": "\"'><p>"}]}]
    telemetry = Telemetry(
        sources=(Source(HOSTILE, "engine", HOSTILE), Source("other", "engine")),
        series={(name, "running"): Series((0.0, 1.0), (1.0, 2.0)) for name in (HOSTILE, "other")},
        missed={HOSTILE: ((0.5, HOSTILE),)},
    )
    body = document(run, PROFILE, judge_traffic(run, SLOS, PROFILE.harness), attached, telemetry)
    text = page(body, run, SLOS, telemetry)
    outline = Outline()
    outline.feed(written(text))
    assert outline.stack == []
    assert not {tag for tag, _ in outline.tags} & {"img", "i>"}
    assert len([tag for tag, _ in outline.tags if tag == "script"]) == 3
    pictures = json.dumps(figures_of(text))
    assert "script>" not in pictures.replace("&lt;/script&gt;", "").replace("&lt;script&gt;", "")
    assert "&lt;/script&gt;" in pictures


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


def test_a_sweep_is_judged_by_its_probes_and_not_by_the_ones_that_went_too_far(tmp_path: Path):
    """All requests of all probes together fail every gate: the sweep went on until they did."""
    found = Finding(CAPACITY_FOUND, Verdict.PASS, "warm capacity", "10/s", "a rate", "a probe at 30/s failed")
    swept = Swept(Sweep(Search(), 1), Answer(10.0, 30.0, True, "a probe at 30/s failed"), ())
    conclusion = conclude(MIXED, PROFILE, [], tmp_path, swept=swept, also=[found])
    assert conclusion.exit_code == 0
    assert "WG203" not in {finding["code"] for finding in conclusion.body["findings"]}
    text = (tmp_path / "report.html").read_text()
    assert "10/s is the highest rate that met the gates" in text
    assert "<b>10/s</b><span>warm capacity</span>" in text
    assert "<span>TTFT p50</span>" not in text  # of probes at rates that have nothing in common
    assert "ttft " not in verdict_text(conclusion, tmp_path, color=False)
    late = replace(MIXED, end=replace(MIXED.end, interrupted="Ctrl-C"))
    assert conclude(late, PROFILE, [], tmp_path, swept=swept, also=[found]).exit_code == 3


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


def test_conclude_writes_every_file_and_the_text_ends_with_the_verdict(tmp_path: Path):
    conclusion = conclude(GOOD, PROFILE, [], tmp_path)
    files = ["junit.xml", "report.html", "report.json", "requests.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    assert json.loads((tmp_path / "report.json").read_text()) == conclusion.body
    assert (conclusion.exit_code, conclusion.unwritten) == (0, ())
    text = verdict_text(conclusion, tmp_path, color=False)
    assert text.splitlines()[-1] == f"PASS (exit code 0): {tmp_path / 'report.html'}"
    text = verdict_text(conclude(NOTHING, PROFILE, [], tmp_path), tmp_path, color=False)
    assert text.splitlines()[-1].startswith("INVALID (exit code 3)")
    late = replace(GOOD, end=replace(GOOD.end, interrupted="Ctrl-C"))  # which has an exit code of its own
    text = verdict_text(conclude(late, PROFILE, [], tmp_path), tmp_path, color=False)
    assert text.splitlines()[-1] == f"INVALID: {tmp_path / 'report.html'}"


@pytest.mark.parametrize(
    ("run", "code", "word"),
    [
        pytest.param(GOOD, 3, "INVALID", id="a-pass-is-no-longer-one"),
        pytest.param(MIXED, 1, "FAIL", id="a-failure-stays-one"),
        pytest.param(NOTHING, 3, "INVALID", id="an-invalid-run-stays-one"),
    ],
)
def test_files_that_cannot_be_written_are_a_line_each_and_cost_no_verdict(
    tmp_path: Path, run: Traffic, code: int, word: str
):
    conclusion = conclude(run, PROFILE, [], tmp_path / "gone")
    names = ["report.json", "junit.xml", "requests.csv", "report.html"]
    assert [re.sub(r".*/gone/([a-z.]+): .*", r"\1", line) for line in conclusion.unwritten] == names
    for line in conclusion.unwritten:
        assert line.endswith("No such file or directory: make room; the ledger beside it is kept")
        assert "\n" not in line
    assert conclusion.exit_code == conclusion.body["exit_code"] == code
    assert f"{word} (exit code {code})" in verdict_text(conclusion, tmp_path, color=False)


@pytest.mark.parametrize("name", ["junit.xml", "requests.csv", "report.html"])
def test_one_file_that_cannot_be_written_takes_no_other_with_it(tmp_path: Path, name: str):
    (tmp_path / name).mkdir()
    conclusion = conclude(GOOD, PROFILE, [], tmp_path)
    assert len(conclusion.unwritten) == 1
    assert f"cannot write {tmp_path / name}: Is a directory" in conclusion.unwritten[0]
    assert conclusion.exit_code == 3
    body = json.loads((tmp_path / "report.json").read_text())
    assert (body["verdict"], body["exit_code"]) == ("invalid", 3)
    assert body["findings"][-1]["observed"] == "1 of its files missing"
    if name != "junit.xml":
        assert 'errors="1"' in (tmp_path / "junit.xml").read_text()
    if name != "report.html":
        assert "INVALID" in (tmp_path / "report.html").read_text()
    for other in {"junit.xml", "requests.csv", "report.html"} - {name}:
        assert (tmp_path / other).stat().st_size > 0
    assert not list(tmp_path.glob(".*"))


def test_what_cannot_be_written_again_leaves_nothing_of_an_earlier_attempt(tmp_path: Path):
    (tmp_path / "report.json").write_text('{"verdict": "pass"}')
    (tmp_path / ".report.json.partial").mkdir()  # nor can it be removed
    conclusion = conclude(GOOD, PROFILE, [], tmp_path)
    assert f"cannot write {tmp_path / 'report.json'}: Is a directory" in conclusion.unwritten[0]
    assert len(conclusion.unwritten) == 1
    assert not (tmp_path / "report.json").exists()
    assert "INVALID" in (tmp_path / "report.html").read_text()


def test_a_missing_plotly_costs_the_page_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    conclusion = conclude(GOOD, PROFILE, [], tmp_path)
    (line,) = conclusion.unwritten
    assert "report.html: the package 'plotly.offline' is missing: pip install 'warmgate[loadtest]'" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["junit.xml", "report.json", "requests.csv"]


def test_plotly_is_not_imported_before_a_page_is_drawn():
    script = (
        "import sys, loadtest.conclude, loadtest.report, loadtest.document;"
        "sys.exit(any(name.startswith('plotly') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_process_that_gevent_has_patched_can_draw_the_page(tmp_path: Path):
    script = (
        "from gevent import monkey; monkey.patch_all();"
        "from pathlib import Path; from loadtest.conclude import conclude;"
        "from tests.loadtest.test_report import GOOD, PROFILE;"
        f"conclusion = conclude(GOOD, PROFILE, [], Path({str(tmp_path)!r}));"
        "raise SystemExit(conclusion.exit_code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "report.html").stat().st_size > 4_000_000
