"""What the self-check makes of its figures, by hand; and the whole of it once, as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from loadtest.truth import self_check
from loadtest.truth.honesty import Compared
from loadtest.truth.process import Truth
from loadtest.truth.self_check import Level
from serving.verdict import Finding, Verdict

GOOD = Compared(
    requests=40,
    missing=(),
    ttft_told_ms=(50.1, 50.9),
    ttft_true_ms=(50.0, 50.2),
    gap_p99_ms=0.2,
    tpot_share=0.001,
    lag_p99_ms=0.5,
    drift_ms=0.0,
    wrong_tokens=(),
    wrong_chunks=(),
    wrongly_ok=(),
    wrongly_failed=(),
)
LEVEL = Level("128 streams", 128, GOOD, server_late_p99_ms=0.3, client_lag_p99_ms=0.1, cpu_us_per_chunk=20.0)


def judged(monkeypatch: pytest.MonkeyPatch, level: Level) -> dict[str, Finding]:
    """The findings of a check whose every level went like this."""

    def measure(truth: Truth, name: str, streams: int | None, *_: object) -> Level:
        return replace(level, name=name, streams=streams)

    class Nobody:
        def __enter__(self) -> None:
            return None

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(self_check, "measure", measure)
    monkeypatch.setattr(self_check, "truth_process", lambda *_, **__: Nobody())
    report, levels = self_check.run((128,))
    assert len(levels) == 2 + len(self_check.AWKWARD)
    return {finding.subject: finding for finding in report.findings}


def with_compared(**changes: object) -> Level:
    changed: Compared = replace(GOOD, **changes)  # type: ignore[arg-type]
    return replace(LEVEL, compared=changed)


def test_a_harness_that_is_right_passes(monkeypatch: pytest.MonkeyPatch):
    found = judged(monkeypatch, LEVEL)
    assert {finding.verdict for finding in found.values()} == {Verdict.PASS}
    assert found["TTFT, 128 streams"].observed == "+0.10 / +0.70 ms"


@pytest.mark.parametrize(
    ("level", "subject"),
    [
        pytest.param(with_compared(ttft_told_ms=(50.7, 50.9)), "TTFT, 128 streams", id="ttft-p50"),
        pytest.param(with_compared(ttft_told_ms=(50.1, 53.4)), "TTFT, 128 streams", id="ttft-p99"),
        pytest.param(with_compared(ttft_told_ms=(49.3, 50.2)), "TTFT, 128 streams", id="ttft-too-early"),
        pytest.param(with_compared(ttft_told_ms=None), "TTFT, 128 streams", id="ttft-not-seen"),
        pytest.param(with_compared(tpot_share=-0.02), "TPOT, 128 streams", id="tpot"),
        pytest.param(with_compared(tpot_share=None), "TPOT, 128 streams", id="tpot-not-seen"),
        pytest.param(with_compared(lag_p99_ms=2.5), "lag, 50/s", id="lag"),
        pytest.param(with_compared(wrong_tokens=("a",)), "tokens and outcomes", id="tokens"),
        pytest.param(with_compared(wrong_chunks=("a",)), "tokens and outcomes", id="chunks"),
        pytest.param(with_compared(wrongly_ok=("a",)), "tokens and outcomes", id="outcomes"),
        pytest.param(with_compared(missing=("a",)), "tokens and outcomes", id="lost"),
    ],
)
def test_a_figure_beyond_its_bound_fails_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, level: Level, subject: str
):
    finding = judged(monkeypatch, level)[subject]
    assert finding.verdict is Verdict.FAIL
    assert finding.remedy


@pytest.mark.parametrize("late", [5.5, None])
def test_a_server_that_was_late_lets_no_time_pass_or_fail(monkeypatch: pytest.MonkeyPatch, late: float | None):
    found = judged(monkeypatch, replace(with_compared(ttft_told_ms=(60.0, 70.0)), server_late_p99_ms=late))
    verdicts = {subject: finding.verdict for subject, finding in found.items()}
    assert verdicts.pop("tokens and outcomes") is Verdict.PASS
    assert set(verdicts.values()) == {Verdict.UNKNOWN}


@pytest.mark.timeout(420)
def test_the_whole_check_counts_exactly_and_says_so_in_one_document():
    command = [sys.executable, "-m", "loadtest", "--self-check", "--output", "json"]
    whole = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    body = json.loads(whole.stdout)
    assert whole.returncode == body["exit_code"]
    assert whole.stderr.splitlines()[0] == "self-check: 1 stream"
    found = {finding["subject"]: finding for finding in body["findings"]}
    assert all(
        f"{level['cpu_us_per_chunk']:.0f} us of CPU" in found[f"TPOT, {level['name']}"]["why"]
        for level in body["levels"][:3]
    )
    assert found["tokens and outcomes"]["verdict"] == "pass"
    assert [level["name"] for level in body["levels"][:4]] == ["1 stream", "32 streams", "128 streams", "50/s"]
    for level in body["levels"]:
        compared = level["compared"]
        assert not [*compared["missing"], *compared["wrong_tokens"], *compared["wrongly_ok"]]
    # A busy machine may make times unknown or fail: roughly right says that the right things are compared.
    for level in body["levels"][:3]:
        assert 50 <= level["compared"]["ttft_true_ms"][0] < 150
        assert 49 <= level["compared"]["ttft_told_ms"][0] < 200
        assert abs(level["compared"]["tpot_share"]) < 0.25
