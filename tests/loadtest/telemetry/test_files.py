"""Telemetry files: nothing written is lost, nothing is overwritten, and the harness's own rows."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from loadtest.telemetry import HARNESS_FILE, SAMPLES_FILE, HarnessRows, open_telemetry
from loadtest.telemetry.files import Rows
from serving.errors import CannotAct, CannotObserve
from serving.facts.telemetry import METRICS, Row, Source, Telemetry

ENGINE = Source("engine-0", "engine", "http://a:8000")


def test_each_row_is_in_the_file_before_the_next_one(tmp_path: Path):
    path = tmp_path / SAMPLES_FILE
    with Rows(path, 1, (ENGINE,)) as rows:
        for number in range(3):
            assert len(path.read_bytes().splitlines()) == 1 + number
            rows.put(Row(float(number), "engine-0", {"running": number}))


def test_a_file_is_never_overwritten(tmp_path: Path):
    Rows(tmp_path / SAMPLES_FILE, 1, (ENGINE,)).close()
    with pytest.raises(CannotAct, match="File exists: give another --out"):
        Rows(tmp_path / SAMPLES_FILE, 1, (ENGINE,))


def test_the_harness_says_how_late_and_how_busy_it_is(tmp_path: Path):
    harness = HarnessRows(tmp_path / HARNESS_FILE, time.perf_counter_ns())
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    harness.sample(lag_ms=1.25, in_flight=3)
    time.sleep(1)
    harness.sample(lag_ms=None, in_flight=0)
    harness.close()
    seen = open_telemetry(tmp_path)
    assert set(METRICS) >= {metric for _, metric in seen.series}
    assert list(seen.series["harness", "harness_lag_ms"].values) == [1.25]
    assert list(seen.series["harness", "harness_in_flight"].values) == [3, 0]
    busy, idle = seen.series["harness", "harness_cpu"].values
    assert 0 < busy <= 1.5  # on a machine that others use as well it may be little
    assert idle < busy
    assert 5 < seen.series["harness", "harness_resident_mib"].values[0] < 4096
    early, late = seen.series["harness", "harness_in_flight"].at_s
    assert 0.2 <= early <= late - 0.99  # told in whole milliseconds


def test_both_files_of_a_run_are_read_as_one(tmp_path: Path):
    with Rows(tmp_path / SAMPLES_FILE, 1, (ENGINE,)) as rows:
        rows.put(Row(1.0, "engine-0", {"running": 2}))
    HarnessRows(tmp_path / HARNESS_FILE, 1).close()
    seen = open_telemetry(tmp_path)
    assert [source.name for source in seen.sources] == ["engine-0", "harness"]
    assert open_telemetry(tmp_path / "nothing") == Telemetry()


def test_a_foreign_file_is_one_line(tmp_path: Path):
    (tmp_path / SAMPLES_FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CannotObserve, match="not UTF-8"):
        open_telemetry(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode, **options: opened(Path("/dev/full"), "wb", **options))
    with pytest.raises(CannotAct, match="No space left on device: make room"):
        HarnessRows(tmp_path / HARNESS_FILE, 1)
