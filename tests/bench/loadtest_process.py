"""Runs one program of the benchmark on one core, for a bounded time, and leaves none of its processes behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serving.child import die_with_parent

POLL_S: Final = 0.05


@dataclass(frozen=True)
class Ran:
    """How it went. CPU and memory are those of the process and of the children that it waited for."""

    code: int
    out: str
    err: str
    wall_s: float
    cpu_s: float
    peak_kib: int
    timed_out: bool = False

    @property
    def problem(self) -> str | None:
        """Why this is no result, in one line."""
        if self.timed_out:
            return f"not done within {self.wall_s:.0f} s"
        if self.code == 0:
            return None
        said = [line.strip() for line in (self.out + self.err).splitlines() if line.strip()]
        return f"exit code {self.code}: {said[-1][:200] if said else 'no word'}"


def run(
    command: Sequence[str | Path],
    work: Path,
    *,
    timeout_s: float,
    core: int | None = None,
    env: Mapping[str, str] | None = None,
) -> Ran:
    """Run it to its end in `work`. Whatever happens here, Ctrl-C included, its whole process group is killed."""

    def prepare() -> None:
        die_with_parent(signal.SIGKILL)
        if core is not None:
            os.sched_setaffinity(0, {core})

    began = time.monotonic()
    with (work / "out.txt").open("w+") as out, (work / "err.txt").open("w+") as err:
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=work,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            preexec_fn=prepare,
        )
        ended = False
        try:
            while True:
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                ended = pid != 0
                if ended or time.monotonic() - began > timeout_s:
                    break
                time.sleep(POLL_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if not ended:
                _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return Ran(
            code=process.returncode,
            out=out.read(),
            err=err.read(),
            wall_s=time.monotonic() - began,
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_kib=usage.ru_maxrss,
            timed_out=not ended,
        )
