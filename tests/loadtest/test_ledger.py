"""The ledger on disk: nothing that ended is lost, and what is not a whole ledger says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.ledger import Ledger
from serving.errors import CannotAct, CannotObserve
from serving.observe.saved_run import read_saved_run
from tests.loadtest.runs import failed, request, traffic

RUN = traffic(request(0), failed(1), request(2))


def write(path: Path) -> None:
    with Ledger(path, RUN.plan) as ledger:
        for seen in RUN.requests:
            ledger.add(seen)
        ledger.finish(RUN.end)


def test_a_run_is_read_back_from_disk_as_it_was(tmp_path: Path):
    write(tmp_path / "ledger.jsonl")
    assert read_saved_run(tmp_path / "ledger.jsonl").traffic == RUN


def test_each_record_is_in_the_file_before_the_next_one(tmp_path: Path):
    path = tmp_path / "ledger.jsonl"
    with Ledger(path, RUN.plan) as ledger:
        for number, seen in enumerate(RUN.requests):
            assert len(path.read_text().splitlines()) == 1 + number
            ledger.add(seen)


def test_a_killed_writer_leaves_its_records_and_the_reader_says_that_the_run_did_not_finish(tmp_path: Path):
    path = tmp_path / "ledger.jsonl"
    script = (
        "import os, sys, pathlib; from loadtest.ledger import Ledger; from tests.loadtest.test_ledger import RUN\n"
        "ledger = Ledger(pathlib.Path(sys.argv[1]), RUN.plan)\n"
        "for seen in RUN.requests: ledger.add(seen)\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, path], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(CannotObserve, match=r"has no end after 3 requests"):
        read_saved_run(path)


def test_a_ledger_is_never_overwritten(tmp_path: Path):
    write(tmp_path / "ledger.jsonl")
    with pytest.raises(CannotAct, match=r"File exists: give another --out"):
        Ledger(tmp_path / "ledger.jsonl", RUN.plan)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110 - evaluated at import
def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    path = tmp_path / "ledger.jsonl"
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode, **options: opened(Path("/dev/full"), "wb", **options))
    with pytest.raises(CannotAct, match=r"No space left on device: make room; 0 requests are kept"):
        Ledger(path, RUN.plan)


def test_reading_a_ledger_that_is_not_there_or_not_text_is_one_line(tmp_path: Path):
    with pytest.raises(CannotObserve, match=r"No such file or directory: give the report directory"):
        read_saved_run(tmp_path / "nothing.jsonl")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CannotObserve, match="not UTF-8"):
        read_saved_run(tmp_path / "binary")
