"""Child processes that never outlive this one: the kernel ends them when their parent dies, however it dies."""

from __future__ import annotations

import ctypes
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """Ask for a signal at the parent's death; for `preexec_fn`.

    The kernel counts the death of the *thread* that started the child, so start children from a thread that stays.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, number)
