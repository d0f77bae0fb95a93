"""The telemetry files of a run: one that the sampler writes, one that the load process writes, read back as one.

Each row is on its way to the disk before the next one, so a killed writer loses nothing but the row at hand. Nothing is
ever overwritten.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from serving.errors import CannotAct, CannotObserve
from serving.facts.telemetry import SCHEMA, Head, Row, Source, Telemetry, line_of, merged, read_telemetry

SAMPLES_FILE: Final = "telemetry.jsonl"
HARNESS_FILE: Final = "telemetry-harness.jsonl"
MIB: Final = 1024 * 1024


class Rows:
    """An open file of rows. Raises CannotAct with one line when the disk refuses; what was written stays."""

    def __init__(self, path: Path, origin_ns: int, sources: tuple[Source, ...]) -> None:
        self._path = path
        try:
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise CannotAct(f"cannot write {path}: {error.strerror}: give another --out") from error
        try:
            self._write(line_of(Head(SCHEMA, origin_ns, sources)))
        except CannotAct:
            self._file.close()
            raise

    def put(self, row: Row) -> None:
        """Write one row."""
        self._write(line_of(row))

    def close(self) -> None:
        """Nothing is left to write: this only lets go of the file."""
        self._file.close()

    def _write(self, line: str) -> None:
        rest = f"{line}\n".encode()
        try:
            while rest:  # a disk that is nearly full takes a part
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise CannotAct(f"cannot write {self._path}: {error.strerror}: make room, or give another --out") from error

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class HarnessRows:
    """What the load process says of itself, in a file of its own: call `sample` about every `every_s` seconds.

    A second load process needs another `name`, and a file called `telemetry-harness-<name>.jsonl`.
    """

    def __init__(self, path: Path, origin_ns: int, every_s: float = 1.0, name: str = "harness") -> None:
        self._name, self._origin_ns = name, origin_ns
        self._rows = Rows(path, origin_ns, (Source(name, "harness", every_s=every_s),))
        self._before = time.perf_counter(), time.process_time()

    def sample(self, *, lag_ms: float | None, in_flight: int) -> None:
        """One row: the worst lag of the event loop since the last one (None: not measured), CPU, memory, streams."""
        now = time.perf_counter(), time.process_time()
        wall_s, cpu_s = (after - before for after, before in zip(now, self._before, strict=True))
        self._before = now
        values = {"harness_in_flight": float(in_flight), "harness_resident_mib": _resident_mib()}
        if wall_s > 0:
            values["harness_cpu"] = round(cpu_s / wall_s, 4)
        if lag_ms is not None:
            values["harness_lag_ms"] = round(lag_ms, 3)
        self._rows.put(Row((time.perf_counter_ns() - self._origin_ns) / 1e9, self._name, values))

    def close(self) -> None:
        """Let go of the file."""
        self._rows.close()


def open_telemetry(directory: Path) -> Telemetry:
    """All telemetry of the run in this directory; none where it has none. Raises CannotObserve for a foreign file."""
    found = sorted(directory.glob("telemetry*.jsonl"), key=lambda path: (path.name != SAMPLES_FILE, path.name))
    parts = []
    for path in found:
        try:
            with path.open(encoding="utf-8", newline="\n") as lines:
                parts.append(read_telemetry(lines, str(path)))
        except OSError as error:
            raise CannotObserve(f"{path}: {error.strerror}: give the directory of a load test's report") from error
        except UnicodeDecodeError as error:
            raise CannotObserve(f"{path}: not UTF-8: give the telemetry.jsonl of a load test") from error
    return merged(parts)


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / MIB, 1)
