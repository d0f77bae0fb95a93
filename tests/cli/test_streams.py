"""The command as a process whose streams are closed, full or narrow: one line, and the exit code that is due."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HARMLESS = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: é}\n"
WARMGATE = f"'{sys.executable}' -m serving.cli.main lint"


def shell(command: str, directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (directory / "a.yaml").write_text(HARMLESS)
    return subprocess.run(
        ["bash", "-c", command.replace("LINT", WARMGATE)],
        cwd=directory,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )


STREAMS = {
    "stdin closed": ("LINT - <&-", 2, "warmgate: no Kubernetes documents in -"),
    "stdout closed": ("LINT a.yaml >&-", 0, ""),
    "stdout full": ("LINT a.yaml >/dev/full", 3, "warmgate: the output cannot be written (no space left on device)"),
    "stderr closed": ("LINT nothing.yaml 2>&-", 2, ""),
    "stderr full": ("LINT nothing.yaml 2>/dev/full", 2, ""),
    "nothing named": ('LINT "$NOT_SET"', 2, "warmgate: an empty PATH, as of a variable that is not set"),
}


@pytest.mark.parametrize(("command", "code", "said"), STREAMS.values(), ids=STREAMS)
def test_no_stream_makes_a_traceback(command: str, code: int, said: str, tmp_path: Path) -> None:
    done = shell(command, tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == (1 if said else 0)


def test_whoever_closes_the_pipe_does_not_change_the_verdict(tmp_path: Path) -> None:
    done = shell("LINT a.yaml | true; echo ${PIPESTATUS[0]}", tmp_path)
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("output", ["text", "json", "junit", "sarif"])
def test_a_narrow_stdout_takes_every_format(output: str, encoding: str, tmp_path: Path) -> None:
    done = shell(f"LINT a.yaml -v -o {output} | cat -v", tmp_path, PYTHONIOENCODING=encoding)
    assert done.stdout
    assert done.stderr == ""


def test_ctrl_c_ends_a_chart_that_renders_for_ever(tmp_path: Path) -> None:
    pytest.importorskip("helm_python", reason="needs the extra lint")
    endless = "{{ range until 9000000 }}{{ range until 9000000 }}{{ end }}{{ end }}"
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: x\nversion: 0.1.0\n")
    (tmp_path / "templates/a.yaml").write_text(endless)
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.cli.main", "lint", str(tmp_path)], stderr=subprocess.PIPE, cwd=tmp_path
    )
    threads = Path(f"/proc/{process.pid}/task")
    while process.poll() is None and len(list(threads.iterdir())) == 1:  # Helm's library brings some
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.strip().splitlines()[-1:] == [b"interrupted"]
