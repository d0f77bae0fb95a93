"""Runs the harness as a person would: another process, its own directory, its exit code and what it left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from serving.facts.traffic import Traffic
from serving.observe.saved_run import read_saved_run

TIMEOUT_S = 90


@dataclass(frozen=True)
class Done:
    """How a run ended."""

    code: int
    out: str
    err: str
    directory: Path

    @property
    def report(self) -> dict[str, Any]:
        """The document in report.json."""
        document: dict[str, Any] = json.loads((self.directory / "report.json").read_text())
        return document

    @property
    def ledger(self) -> Traffic:
        """What ledger.jsonl tells."""
        return read_saved_run(self.directory).traffic


def profile_file(directory: Path, load: dict[str, Any], slos: list[dict[str, Any]] | None = None, **rest: Any) -> Path:
    """Write a profile that forgives a busy machine, unless told otherwise."""
    body = {
        "load": load,
        "slos": slos or [{"metric": "goodput", "at_least_share": 0.9}],
        "harness": {"schedule_lag_p99_ms": 2000},
        "prompts": {"words": 8},
        "max_tokens": 8,
        "confidence": "none",
        **rest,
    }
    path = directory / "profile.yaml"
    path.write_text(yaml.safe_dump(body))
    return path


class Harness:
    """One invocation. `args` come after `python -m loadtest`, or after another command."""

    def __init__(
        self, directory: Path, *args: object, command: tuple[str, ...] = ("-m", "loadtest"), **env: str
    ) -> None:
        self._directory = directory / "report"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("WARMGATE_", "LOCUST_"))}
        self.process = subprocess.Popen(
            [sys.executable, *command, "--out", str(self._directory), *map(str, args)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=directory,
            env=kept | env,
        )

    def wait(self, timeout_s: float = TIMEOUT_S) -> Done:
        """Wait for the end."""
        try:
            out, err = self.process.communicate(timeout=timeout_s)
        finally:
            self.process.kill()
        return Done(self.process.returncode, out, err, self._directory)

    def interrupt(self, number: int = signal.SIGINT) -> Done:
        """Send a signal, then wait for the end."""
        self.process.send_signal(number)
        return self.wait()


def run(directory: Path, *args: object, **env: str) -> Done:
    """Run `python -m loadtest` to its end."""
    harness: Callable[..., Harness] = Harness
    return harness(directory, *args, **env).wait()
