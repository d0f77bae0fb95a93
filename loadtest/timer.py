"""A timer that an epoll loop can wait for, exact to the clock of perf_counter_ns. epoll's own timeout is whole ms."""

from __future__ import annotations

import ctypes
import os
from typing import Final

_CLOCK_MONOTONIC: Final = 1
_ABSOLUTE: Final = 1
_SECOND: Final = 1_000_000_000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("sec", ctypes.c_long), ("nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """`fd` is readable from the armed moment until it is armed anew."""

    def __init__(self) -> None:
        self.fd = int(_LIBC.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._spec = _Itimerspec()
        self._reference = ctypes.byref(self._spec)

    def arm(self, due_ns: int) -> None:
        """Let it fire at this moment of perf_counter_ns; 0 is never."""
        value = self._spec.value
        value.sec, value.nsec = divmod(due_ns, _SECOND)
        _LIBC.timerfd_settime(self.fd, _ABSOLUTE, self._reference, None)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)
