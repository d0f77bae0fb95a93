"""`warmgate compare` as a person runs it: its arguments, its table, its document, its exit code."""

from __future__ import annotations

import json
import math
import random
import sys
from array import array
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from serving.cli.main import main
from serving.expectations import Slo
from serving.facts.traffic import RequestSeen, RunEnd, RunPlan, Traffic, line_of
from serving.report.compare import json_schema
from tests.loadtest.runs import failed, request, traffic

COMMITTED = Path(__file__).parents[2] / "docs" / "compare.schema.json"


class Run:
    """One run of the command line in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["warmgate", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(capsys, monkeypatch)


def requests(seed: int, slow: float, n: int = 400, arms: tuple[str, ...] = ("",)) -> list[RequestSeen]:
    rng = random.Random(seed)
    made = []
    for index in range(n):
        arm = arms[index % len(arms)]
        times = slow if arm != "baseline" else 1.0
        ttft_s = round(0.1 * times * math.exp(rng.gauss(0, 0.2)), 6)
        gaps = array("f", [round(10 * times * math.exp(rng.gauss(0, 0.1)), 3) for _ in range(4)])
        end_s = round(index + ttft_s + sum(gaps) / 1e3, 6)
        made.append(request(index, first_s=index + ttft_s, gaps_ms=gaps, end_s=end_s, arm=arm))
    return made


def save(directory: Path, run: Traffic, profile: dict[str, Any] | None = None) -> Path:
    directory.mkdir()
    lines: list[RunPlan | RequestSeen | RunEnd] = [run.plan, *run.requests, run.end]
    (directory / "ledger.jsonl").write_text("".join(f"{line_of(line)}\n" for line in lines))
    if profile is not None:
        (directory / "report.json").write_text(json.dumps({"profile": profile}))
    return directory


def document_of(text: str) -> Any:
    """A printed document, which fits the committed schema."""
    body = json.loads(text)
    jsonschema.validate(body, json.loads(COMMITTED.read_text()))
    return body


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    return save(tmp_path / "baseline", traffic(*requests(1, 1.0)))


@pytest.mark.parametrize(
    ("slow", "code", "word"),
    [(1.0, 0, "PASS"), (1.4, 1, "FAIL"), (1.1, 3, "UNKNOWN")],
    ids=["same", "slower", "perhaps"],
)
def test_the_exit_code_says_whether_it_is_worse(
    run: Run, baseline: Path, tmp_path: Path, slow: float, code: int, word: str
):
    candidate = save(tmp_path / "candidate", traffic(*requests(2, slow)))
    ended, out, err = run(baseline, candidate, "--margin", "ttft.p50=10%")
    assert (ended, err) == (code, "")
    assert out.splitlines()[-1].startswith(word)
    assert "ttft p50" in out


def test_a_ledger_is_as_good_as_its_directory(run: Run, baseline: Path):
    by_directory = run(baseline, baseline, "--output", "json")[1]
    by_file = run(baseline / "ledger.jsonl", baseline / "ledger.jsonl", "--output", "json")[1]
    assert document_of(by_directory)["changes"] == document_of(by_file)["changes"]


def test_the_document_holds_every_change_with_its_bounds(run: Run, baseline: Path, tmp_path: Path):
    candidate = save(tmp_path / "candidate", traffic(*requests(2, 1.4)))
    ended, out, _ = run(baseline, candidate, "--output", "json", "--margin", "ttft.p50=10%", "--margin", "goodput=2%")
    found = document_of(out)
    assert (found["schema"], found["command"], found["verdict"], found["exit_code"]) == (
        "warmgate.compare/v1",
        "compare",
        "fail",
        ended,
    )
    ttft = next(c for c in found["changes"] if (c["metric"], c["statistic"]) == ("ttft", "p50"))
    assert ttft["worse_share"] == pytest.approx(ttft["candidate"] / ttft["baseline"] - 1)
    assert 0.1 < ttft["worse_share_at_least"] < ttft["worse_share"] < ttft["worse_share_at_most"]
    assert (ttft["margin_share"], ttft["verdict"], ttft["n"]) == (0.1, "fail", {"baseline": 400, "candidate": 400})
    judged = [(c["metric"], c["verdict"]) for c in found["changes"] if c["verdict"]]
    assert judged == [("ttft", "fail"), ("goodput", "pass")]
    assert [finding["code"] for finding in found["findings"]] == ["WG207", "WG208", "WG208"]


def test_what_was_not_seen_fits_the_schema_too(run: Run, baseline: Path, tmp_path: Path):
    dead = traffic(*(failed(index) for index in range(400)))
    found = document_of(run(baseline, save(tmp_path / "dead", dead), "--output", "json")[1])
    ttft = next(c for c in found["changes"] if (c["metric"], c["statistic"]) == ("ttft", "p95"))
    assert (ttft["candidate"], ttft["worse_share_at_most"], ttft["verdict"]) == (None, None, "fail")
    alone = document_of(run(baseline, "--output", "json")[1])
    assert {change["baseline"] for change in alone["changes"]} == {None}


def test_the_committed_schema_is_up_to_date_and_closed():
    assert COMMITTED.read_text() == json_schema(), "run: python -m serving.report.compare > docs/compare.schema.json"
    schema = json.loads(json_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert (schema["additionalProperties"], schema["properties"]["changes"]["items"]["additionalProperties"]) == (
        False,
        False,
    )


def test_one_run_alone_is_compared_by_its_arms(run: Run, baseline: Path, tmp_path: Path):
    arms = save(tmp_path / "canary", traffic(*requests(1, 1.4, n=800, arms=("baseline", "candidate"))))
    assert run(arms, "--margin", "tpot.p50=10%")[0] == 1
    code, out, _ = run(baseline)
    assert code == 3
    assert "no request of the arm baseline" in out


def test_unlike_runs_need_force(run: Run, baseline: Path, tmp_path: Path):
    other = traffic(*requests(1, 1.0), mode="constant")
    candidate = save(tmp_path / "candidate", other)
    code, out, _ = run(baseline, candidate, "--margin", "ttft.p50=10%")
    assert code == 3
    assert "the runs differ in mode (poisson, constant)" in " ".join(out.split())
    assert "--force" in out
    assert run(baseline, candidate, "--margin", "ttft.p50=10%", "--force")[0] == 0


def test_the_report_beside_the_ledger_says_what_is_good_and_how_late_the_harness_may_be(run: Run, tmp_path: Path):
    slos = [Slo(metric="ttft", statistic="p95", at_most_ms=100).model_dump(mode="json", exclude_none=True)]
    plain = save(tmp_path / "plain", traffic(*requests(1, 1.0)))
    told = save(tmp_path / "told", traffic(*requests(1, 1.0)), {"slos": slos, "harness": {"schedule_lag_p99_ms": 500}})
    changes = {}
    for name, path in (("plain", plain), ("told", told)):
        every = json.loads(run(path, path, "--output", "json")[1])["changes"]
        changes[name] = next(change for change in every if change["metric"] == "goodput")
    assert changes["plain"]["baseline"] == 1.0
    assert 0.4 < changes["told"]["baseline"] < 0.6


@pytest.mark.parametrize(
    "text",
    ["ttft.p95=10", "ttft.p95=0.1", "ttft=10%", "goodput.p95=1%", "latency.p95=1%", "ttft.p98=1%", "ttft.p95=0%", ""],
)
def test_a_margin_that_says_nothing_is_refused_in_one_line(run: Run, baseline: Path, text: str):
    code, out, err = run(baseline, baseline, "--margin", text)
    assert (code, out) == (2, "")
    assert err.startswith("warmgate: --margin")
    assert err.count("\n") == 1


def test_what_is_not_a_run_cannot_be_compared(run: Run, baseline: Path, tmp_path: Path):
    half = save(tmp_path / "half", traffic(*requests(1, 1.0)))
    ledger = half / "ledger.jsonl"
    ledger.write_text("".join(ledger.read_text().splitlines(keepends=True)[:-1]))
    broken = save(tmp_path / "broken", traffic(*requests(1, 1.0)), {"slos": [{"metric": "beauty"}]})
    no_json = save(tmp_path / "no-json", traffic(*requests(1, 1.0)))
    (no_json / "report.json").write_text("{")
    binary = save(tmp_path / "binary", traffic(*requests(1, 1.0)))
    (binary / "ledger.jsonl").write_bytes(b"\xff\xfe")
    foreign = save(tmp_path / "foreign", traffic(*requests(1, 1.0)))
    (foreign / "report.json").write_text('{"schema": "warmgate.report/v1", "verdict": "pass"}')
    for path in (tmp_path / "nowhere", tmp_path, half, broken, no_json, binary, foreign):
        code, out, err = run(path, baseline)
        assert (code, out) == (3, ""), path
        assert err.startswith("warmgate: ")
        assert err.count("\n") == 1


def test_help_has_examples(run: Run):
    code, out, _ = run("--help")
    assert code == 0
    assert "warmgate compare reports/v1 reports/v2" in out
