"""The three streams of a command, when they are closed, full, or too narrow for a letter."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from pathlib import Path
from typing import Final

NOT_WRITTEN: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def mend() -> None:
    """Streams that were closed swallow what they get, and stdout writes `?` for a letter that it does not have."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # each takes its own number again
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def write_report(text: str) -> None:
    """A report to stdout. Whoever closes the pipe before its end has seen enough; the verdict stands."""
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        give_up_stdout()
    flush()


def flush() -> None:
    """What is still to be written, before Python ends and would complain in its own way."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        give_up_stdout()


def give_up_stdout() -> None:
    """What could not be written is dropped, so that Python does not try again when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def tell(line: str) -> None:
    """One line for a person, if stderr takes it."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)
