"""The benchmark's own parts: figures beside the truth, skipped tools, and programs that leave nothing behind."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from pathlib import Path

import click
import pytest

from tests.bench import loadtest_tools
from tests.bench.loadtest import numbers
from tests.bench.loadtest_process import run
from tests.bench.loadtest_table import row_of, table
from tests.bench.loadtest_tools import TOOLS, Job, Reported, Skipped

TRUTH = {
    "ttft_ms": {"p50": 50.0, "p99": 52.0},
    "tpot_ms": {"mean": 10.0},
    "lateness_ms": {"p99": 0.2},
    "tokens": 6400,
    "chunks": 6400,
}


def test_a_figure_is_what_was_reported_minus_what_was_true():
    row = row_of("them", 32, 0, Reported(57.5, 60.0, 10.2, 6399), TRUTH, 0.64)
    assert row.errors == (7.5, 8.0)
    assert row.tpot_error == pytest.approx(0.02)
    shown = table([row], {"other": "cannot be installed"}).splitlines()
    assert " ".join(shown[1].split()) == "32 them 1 50.0 / 52.0 57.5 / 60.0 +7.50 +8.00 +2.00% -1 0.64"
    assert shown[2].split() == ["aim", "for", "ours", "+0.3", "+1.0"]
    assert shown[3] == "skipped other: cannot be installed"


def test_figures_from_the_schedule_have_a_line_of_their_own():
    shown = table([row_of("us", 7, 0, Reported(50.1, 52.2, scheduled=(51.0, 55.0)), TRUTH, 1)], {}).splitlines()
    assert "+0.10      +0.20" in shown[1]
    assert shown[2].split() == ["from", "schedule", "51.0", "/", "55.0", "+1.00", "+3.00"]


def test_the_median_of_repeats_is_shown_and_a_late_server_is_told():
    late = TRUTH | {"lateness_ms": {"p99": 3.0}}
    rows = [
        row_of("us", 7, repeat, Reported(50 + repeat, 52 + repeat), truth, 1)
        for repeat, truth in enumerate((TRUTH, late, TRUTH))
    ]
    shown = table(rows, {})
    assert "3*" in shown
    assert "+1.00" in shown
    assert "not told" in shown
    assert "up to 3.0 ms" in shown


def test_every_tool_is_asked_for_the_same_load(tmp_path: Path):
    job = Job("http://127.0.0.1:1", "truth", tmp_path, 48, 444, 77, tmp_path)
    for tool in TOOLS:
        asked = " ".join(tool.command(Path("/venv/bin/python"), job))
        if tool.name == "inference-perf":
            asked += (tmp_path / "config.yaml").read_text()
        for said in ("48", "444", "77"):
            assert said in asked, tool.name


def test_a_tool_for_a_python_that_is_not_there_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    tool = loadtest_tools.Tool("new", TOOLS[0].command, TOOLS[0].read, "new==1", needs=(3, 97))
    with pytest.raises(Skipped, match=r"needs Python 3\.97"):
        tool.interpreter(tmp_path)


def test_a_program_runs_on_its_core_and_its_use_is_counted(tmp_path: Path):
    core = max(os.sched_getaffinity(0))
    burn = "import os, time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
    ran = run([sys.executable, "-c", f"{burn}print(os.sched_getaffinity(0))"], tmp_path, timeout_s=20, core=core)
    assert (ran.problem, ran.out.strip()) == (None, f"{{{core}}}")
    assert ran.cpu_s > 0.3
    assert ran.peak_kib > 4_000


def test_a_program_that_takes_too_long_is_ended_with_everything_it_started(tmp_path: Path):
    code = textwrap.dedent("""
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print(child.pid, flush=True)
        time.sleep(60)
    """)
    ran = run([sys.executable, "-c", code], tmp_path, timeout_s=1)
    assert ran.problem == "not done within 1 s"
    until = time.monotonic() + 10
    stat = Path(f"/proc/{int(ran.out)}/stat")
    while stat.exists() and " Z " not in stat.read_text() and time.monotonic() < until:
        time.sleep(0.02)
    assert not stat.exists() or " Z " in stat.read_text()


def test_a_failed_program_says_its_last_line(tmp_path: Path):
    ran = run([sys.executable, "-c", "import sys; sys.exit('no such thing')"], tmp_path, timeout_s=20)
    assert ran.problem == "exit code 1: no such thing"


def test_lists_of_numbers_are_read_or_refused():
    assert numbers(None, None, "32,128") == [32, 128]
    with pytest.raises(click.BadParameter, match="whole numbers"):
        numbers(None, None, "32,x")
