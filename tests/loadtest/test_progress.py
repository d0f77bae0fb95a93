"""What a person sees of a run at work: exact words, bounded memory, no wider than the terminal, nothing left behind."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from loadtest.live import LATEST, LATEST_GAPS, Recent
from loadtest.progress import rows
from serving.expectations import Slo
from tests.fakes.sse_server import Program, sse_server
from tests.loadtest.harness import profile_file
from tests.loadtest.runs import failed, request

SLOS = (Slo(metric="ttft", statistic="p95", at_most_ms=150),)
UNWANTED = ("WARMGATE_", "NO_COLOR", "COLUMNS")
SHOW, HIDE = "\x1b[?25h", "\x1b[?25l"


def test_the_latest_requests_tell_goodput_quantiles_and_failures():
    recent = Recent(SLOS)
    for index in range(8):
        recent.take(request(index, ttft_s=0.1 if index < 6 else 0.2, itl_s=0.01))
    recent.take(failed(8))
    recent.take(failed(9))
    assert (recent.requests, recent.failures, recent.goodput) == (10, 2, 0.6)
    assert recent.ttft_ms(0.5, 0.8) == pytest.approx([100, 200])
    assert recent.ttft_ms(0.99) == [float("inf")], "those that were never answered are slower than all"
    assert recent.itl_ms(0.5) == pytest.approx([10], rel=1e-3)


def test_before_the_first_request_nothing_is_claimed():
    recent = Recent(SLOS)
    assert (recent.goodput, recent.ttft_ms(0.5), recent.itl_ms(0.5), recent.failures) == (None, None, None, 0)


def test_only_the_latest_are_kept():
    recent = Recent(SLOS)
    for index in range(LATEST + 500):
        recent.take(request(index, tokens=20, ttft_s=5.0 if index < 500 else 0.1))
    assert recent.requests == LATEST + 500
    assert recent.goodput == 1.0
    assert len(recent._first_ms) == LATEST
    assert len(recent._gaps_ms) == LATEST_GAPS


@pytest.mark.parametrize("width", [12, 20, 40, 200])
def test_rows_are_as_few_as_the_width_allows_and_lose_nothing(width: int):
    parts = [(word * 3, "") for word in ("abc", "de", "fghi", "j", "klmno")]
    found = rows(parts, width)
    assert [part for row in found for part in row] == parts
    lengths = [sum(len(text) for text, _ in row) + 2 * (len(row) - 1) for row in found]
    assert all(length <= width for length, row in zip(lengths, found, strict=True) if len(row) > 1)
    if width == 200:
        assert len(found) == 1


def on_terminal(directory: Path, url: str, columns: int, ended_by: int | None = None, **env: str) -> tuple[int, str]:
    """Run the harness with stderr on a terminal so wide; returns its exit code and all that it wrote there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    profile = profile_file(directory, {"arrivals": "constant", "rate_rps": 20, "duration_s": 3})
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("WARMGATE_", "NO_COLOR", "COLUMNS"))
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "loadtest", "--profile", profile, "--base-url", url, "--out", "report"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        cwd=directory,
        env=kept | {"TERM": "xterm-256color"} | env,
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            said += os.read(ours, 65536)
        except OSError:  # the terminal has lost its last process
            break
        if ended_by is not None and b"in flight" in said:
            process.send_signal(ended_by)
            ended_by = None
    os.close(ours)
    return process.wait(20), said.decode()


def plain(said: str) -> list[str]:
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", part) for part in re.split(r"[\r\n]+|\x1b\[2K", said)]


def test_a_terminal_is_rewritten_in_place_and_gets_its_cursor_back(tmp_path: Path):
    with sse_server() as server:
        code, said = on_terminal(tmp_path, server.url, 200)
    assert code == 0
    assert said.count(HIDE) == said.count(SHOW) == 1
    assert said.index(HIDE) < said.index(SHOW)
    shown = [line for line in plain(said) if "in flight" in line]
    assert len(shown) >= 2
    assert re.search(
        r"steady  \d+ of 3 s, all sent  60/60 started  sent [\d.]+ of [\d.]+/s  0 in flight  0 failed", shown[-1]
    )
    assert shown[-1].endswith("goodput 100.0%")
    assert any(line.startswith("TTFT p50 ") for line in plain(said))
    assert said.count("load test of fake") == 1


def test_a_narrow_terminal_wraps_by_parts_and_no_color_is_heeded(tmp_path: Path):
    with sse_server() as server:
        _, said = on_terminal(tmp_path, server.url, 40, NO_COLOR="1")
    shown = [line for line in plain(said)[1:] if line and "report in" not in line]
    assert max(map(len, shown)) <= 40
    assert not re.search(r"\x1b\[3\d", said)


def test_ctrl_c_gives_the_terminal_back(tmp_path: Path):
    with sse_server(Program(itl_ms=300, tokens=1000)) as server:
        code, said = on_terminal(tmp_path, server.url, 100, signal.SIGINT)
    assert code == 130
    assert said.count(HIDE) == said.count(SHOW) == 1
    assert "stopping" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_cannot_be_rewritten_gets_plain_lines(tmp_path: Path, term: str):
    with sse_server() as server:
        code, said = on_terminal(tmp_path, server.url, 100, TERM=term)
    assert code == 0
    assert "\x1b" not in said
