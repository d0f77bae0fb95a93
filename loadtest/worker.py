"""A load process of a run with --workers: `python -m loadtest.worker`. Orders come over its stdin, reports go back.

Its stdin is a socket of its parent: orders are pickled, since the parent is trusted and its API key must be on no
command line and in no file; reports are msgpack. perf_counter_ns is CLOCK_MONOTONIC, which all processes of one machine
share, so a moment of the parent's is this process's too. Started as `workers` does, it ignores Ctrl-C, which the parent
turns into an order, and ends with its parent.
"""

from __future__ import annotations

import pickle
import sys
from contextlib import suppress
from typing import Any, Final

EVERY_S: Final = 0.2


def main() -> int:
    """Work until the parent has no more to do; returns the exit code."""
    from gevent import monkey

    monkey.patch_all()
    import msgspec
    from gevent import socket
    from gevent.lock import Semaphore

    from loadtest.frames import Frames
    from loadtest.hand import Hand

    try:
        frames = Frames(socket.socket(fileno=sys.stdin.fileno()))
    except OSError:
        sys.stderr.write("warmgate: this is a part of `warmgate loadtest --workers N`: run that\n")
        return 2
    one_at_a_time = Semaphore()

    def report(what: dict[str, Any]) -> None:
        with one_at_a_time, suppress(OSError):  # a parent that is gone shows below
            frames.send(msgspec.msgpack.encode(what))

    hand = Hand(report, EVERY_S)
    try:
        while (message := frames.receive()) is not None:
            _obey(hand, pickle.loads(message))
    except OSError:
        return 1  # the parent is gone
    hand.end()
    return 0


def _obey(hand: Any, order: dict[str, Any]) -> None:
    match order["do"]:
        case "begin":
            hand.begin(lambda: pickle.loads(order["job"]))
        case "prepare":
            hand.prepare(order["schedule"])
        case "carry_out":
            hand.carry_out(order["begin_ns"], order["origin_ns"], order["phase_offset"])
        case "stop":
            hand.stop()


if __name__ == "__main__":
    sys.exit(main())
