"""Connections that stand open before they are needed: one for each stream in flight, and some to spare.

Opening a connection is not part of an answer's latency, so it is done ahead. A connection carries one stream at a time
and is used again when its message ended well. What has died while idle is thrown away here; what dies in the moment of
sending, the transport sends again.
"""

from __future__ import annotations

from collections import deque

import gevent

from loadtest.connection import Connection, Peer, open_connection


class Pool:
    """Open connections to one peer. `spare` of them are kept ready; `reuse` False gives each stream a fresh one."""

    def __init__(self, peer: Peer, connect_s: float, *, spare: int, reuse: bool = True) -> None:
        self._peer, self._connect_s, self._spare, self._reuse = peer, connect_s, spare, reuse
        self._idle: deque[Connection] = deque()
        self._opening = 0
        self._closed = False
        self.opened = 0

    def prepare(self, count: int) -> None:
        """Open so many connections and wait for them. What cannot be opened shows when a request needs it."""
        openers = [gevent.spawn(self._open) for _ in range(count - len(self._idle))]
        gevent.joinall(openers)

    def take(self) -> Connection | None:
        """An open connection, the one used last first, or None; and see to it that spare ones are opened."""
        found = None
        while self._idle and found is None:
            candidate = self._idle.pop()
            if candidate.dead():
                candidate.close()
            else:
                found = candidate
        if len(self._idle) + self._opening < self._spare:
            gevent.spawn(self._open)
        return found

    def give(self, connection: Connection) -> None:
        """Take a connection back whose message has ended well."""
        if self._reuse and not self._closed:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close what is idle."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _open(self) -> None:
        self._opening += 1
        try:
            connection = open_connection(self._peer, self._connect_s)
        except OSError:
            return
        finally:
            self._opening -= 1
        self.opened += 1
        if self._closed:
            connection.close()
        else:
            self._idle.appendleft(connection)
