"""Reads finished streams in the background, a little at a time and when the event loop has nothing better to do.

Reading an answer takes a millisecond for every fifty chunks: done at the end of its stream, it would delay the next
request and let chunks of other streams pile up. It decides nothing: `record` gets each reading when it is complete.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import gevent
from gevent.event import Event

from loadtest.outcome import Reading
from loadtest.transport import Wire

SLICE_PIECES: Final = 32
MOST_CHUNKS_WAITING: Final = 100_000
ONCE_A_ROUND: Final = 2  # libev's highest priority: an idle watcher of it runs once in each round of the loop

Record = Callable[[int, float, Wire, Reading], None]


class Settler:
    """A queue of finished wires. What `record` raises stops the run through `on_crash` and comes out of `finish`."""

    def __init__(self, record: Record, on_crash: Callable[[], None]) -> None:
        self._record, self._on_crash = record, on_crash
        self._queue: deque[tuple[int, float, Wire]] = deque()
        self._waiting = 0
        self._more, self._empty = Event(), Event()
        self._empty.set()
        self._crash: Exception | None = None
        self._greenlet = gevent.spawn(self._work)

    def put(self, index: int, due_s: float, wire: Wire) -> None:
        """Take a finished wire."""
        if self._crash is None:
            self._queue.append((index, due_s, wire))
            self._waiting += len(wire.response.body)
            self._empty.clear()
            self._more.set()

    def finish(self) -> None:
        """Wait until all is recorded. Raises what `record` raised."""
        self._empty.wait()
        self._greenlet.kill()
        if self._crash is not None:
            raise self._crash

    def _work(self) -> None:
        while True:
            self._more.wait()
            try:
                self._settle_all()
            except Exception as error:  # noqa: BLE001 - raised again by finish, where it can be told
                self._crash = error
                self._queue.clear()
                self._on_crash()
            self._more.clear()
            self._empty.set()

    def _settle_all(self) -> None:
        while self._queue:
            index, due_s, wire = self._queue.popleft()
            self._waiting -= len(wire.response.body)
            reading = Reading(wire)
            while not reading.step(SLICE_PIECES):
                self._give_way()
            self._record(index, due_s, wire, reading)
            self._give_way()

    def _give_way(self) -> None:
        """Let everything else go first; or, when so much waits here that memory would grow, one round of the loop.

        gevent.sleep(0) would not do: gevent runs up to fifty of its callbacks before it looks at a socket.
        """
        gevent.idle(0 if self._waiting < MOST_CHUNKS_WAITING else ONCE_A_ROUND)
