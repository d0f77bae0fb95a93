"""The event loop of the ground truth: one epoll, one heap of due times, no wait that is not for one of them.

It owns the connections, sends each write when it is due, stamps token chunks just before the send and notes how late it
was itself. What a request means is decided by the `answer` function that it is given.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import sys
import threading
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush, heapreplace
from time import perf_counter_ns
from typing import Final

from loadtest.timer import Timer
from loadtest.truth.answer import AGAIN, SO_TIMESTAMPNS, Answer, Connection
from loadtest.truth.request import Request, take_request
from loadtest.truth.served import Served, Tally

BURST: Final = 64  # sends, and events read, before the other side gets a turn
READ, WRITE = select.EPOLLIN, select.EPOLLOUT
AnswerTo = Callable[[Connection, Request], Answer | None]


class Loop:
    """Runs in one thread. `wake` and `thaw_ns` may be used from others; everything else is the loop's own."""

    def __init__(
        self,
        answer: AnswerTo,
        ended: Callable[[Served], None],
        tls: ssl.SSLContext | None = None,
        idle_close_s: float | None = None,
    ) -> None:
        self.tally = Tally()
        self.thaw_ns = 0
        self.draining = False
        self.stopping = False
        self.on_idle: Callable[[], None] = lambda: None
        self._answer_to, self._ended, self._tls = answer, ended, tls
        self._idle_ns = None if idle_close_s is None else int(idle_close_s * 1e9)
        self._idle: deque[tuple[int, Connection, int]] = deque()
        self._heap: list[tuple[int, int, Answer]] = []
        self._turn = 0
        self._connections: dict[int, Connection] = {}
        self._accepted = 0
        self._listeners: dict[int, socket.socket] = {}
        self._timer, self._armed_ns = Timer(), 0
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._bell_held = threading.RLock()  # a signal's handler may ring while the same thread does
        self._epoll = select.epoll()
        self._epoll.register(self._timer.fd, READ)
        self._epoll.register(self._bell, READ)

    def listen(self, listener: socket.socket) -> None:
        """Accept from this socket. What a listener has set, its connections inherit."""
        listener.setblocking(False)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._listeners[listener.fileno()] = listener
        self._epoll.register(listener.fileno(), READ)

    def deafen(self) -> None:
        """Refuse connections from now on."""
        for listener in self._listeners.values():
            # Shutting down refuses at once, before the loop has had its turn.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._listeners.clear()

    def wake(self) -> None:
        """Make the loop look around; after its end nothing."""
        with self._bell_held:
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)

    def run(self) -> None:
        """Serve until stopped, or drained of its connections."""
        try:
            while not self.stopping:
                self._send_due()
                if self.draining:
                    self._close_idle_now()
                    if not self._connections:
                        return
                for fd, events in self._epoll.poll(self._patience(), BURST):
                    self._on_event(fd, events)
        finally:
            for connection in list(self._connections.values()):
                self._drop(connection, "stopped")
            self.deafen()
            self._epoll.close()
            self._timer.close()
            with self._bell_held:
                os.close(self._bell)
                self._bell = -1

    def _patience(self) -> float:
        """0 when something is due, else -1: the timer wakes us for the next thing."""
        due = self._heap[0][0] if self._heap else 0
        if self._idle:
            due = min(due or sys.maxsize, self._idle[0][0])
        if not due:
            self.on_idle()
        elif (due := max(due, self.thaw_ns)) <= perf_counter_ns():
            return 0
        if due != self._armed_ns:
            self._timer.arm(due)
            self._armed_ns = due
        return -1

    def _send_due(self) -> None:
        """Send what is due, a burst at most, the most overdue first."""
        heap, tally, thaw = self._heap, self.tally, self.thaw_ns
        for _ in range(BURST):
            if not heap:
                break
            due, turn, answer = heap[0]
            now = perf_counter_ns()
            if due > now or thaw > now:
                break
            connection, at = answer.connection, answer.at
            if connection.answer is not answer:
                heappop(heap)
                continue
            data = answer.writes[at]
            if chunks := answer.chunks[at]:
                late = (now - max(due, thaw, answer.free_ns)) / 1e3
                for _ in range(chunks):
                    answer.sent_ns.append(now)
                    tally.late_us.append(late)
            try:
                sent = connection.socket.send(data)
            except AGAIN:
                sent = 0
            except OSError:
                self._drop(connection, "gone")
                continue
            answer.at = at = at + 1
            if sent != len(data):
                heappop(heap)
                connection.pending = data[sent:]
                self._epoll.modify(connection.socket.fileno(), READ | WRITE)
            elif at < len(answer.writes):
                heapreplace(heap, (answer.base + answer.offsets[at], turn, answer))
            else:
                heappop(heap)
                self._finish(answer)
        if self._idle_ns is not None:
            self._close_idle_due()

    def _on_event(self, fd: int, events: int) -> None:
        connection = self._connections.get(fd)
        if connection is not None:
            if events & WRITE:
                self._flush(connection)
            if events & ~WRITE and self._connections.get(fd) is connection:
                self._read(connection)
        elif fd in self._listeners:
            self._accept(self._listeners[fd])
        elif fd == self._bell:
            os.eventfd_read(self._bell)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:  # taken back by the client, or we are refusing by now
            return
        sock.setblocking(False)
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self._accepted += 1
        self.tally.connections += 1
        connection = Connection(self._accepted, sock, self._tls is not None)
        self._connections[sock.fileno()] = connection
        self._epoll.register(sock.fileno(), READ)
        self._now_idle(connection)

    def _read(self, connection: Connection) -> None:
        try:
            there = connection.read()
        except AGAIN:
            return
        except OSError:
            there = False
        if there:
            self._take(connection)
        else:
            self._drop(connection, "gone")

    def _take(self, connection: Connection) -> None:
        """Begin the next answer, if the connection is free and a request is whole."""
        while connection.answer is None and connection.buffer:
            request = take_request(connection.buffer)
            if request is None:
                return
            answer = self._answer_to(connection, request)
            if answer is None:
                self._drop(connection, "cut off")
                return
            connection.requests += 1
            connection.answer = answer
            if answer.at_once:
                connection.pending, answer.at = b"".join(answer.writes), len(answer.writes)
                self._epoll.modify(connection.socket.fileno(), READ | WRITE)
                self._flush(connection)
            elif answer.writes:
                self._turn += 1
                heappush(self._heap, (answer.base + answer.offsets[0], self._turn, answer))
            else:
                self._finish(answer)

    def _flush(self, connection: Connection) -> None:
        """The client takes bytes again. What it held up is sent, and stamped, only now."""
        now = perf_counter_ns()
        try:
            sent = connection.socket.send(connection.pending)
        except AGAIN:
            return
        except OSError:
            self._drop(connection, "gone")
            return
        connection.pending = connection.pending[sent:]
        if connection.pending:
            return
        self._epoll.modify(connection.socket.fileno(), READ)
        answer = connection.answer
        if answer is None:
            return
        answer.free_ns = now
        for number in range(answer.chunks[answer.at - 1]):
            answer.sent_ns[-1 - number] = now
        if answer.at < len(answer.writes):
            self._turn += 1
            heappush(self._heap, (answer.base + answer.offsets[answer.at], self._turn, answer))
        else:
            self._finish(answer)

    def _finish(self, answer: Answer) -> None:
        """The last write is out: let the connection serve again, or end it as the program says."""
        connection, script = answer.connection, answer.script
        if script.end == "stall":
            answer.served.end = "stall"
            return
        self._end(connection, script.end)
        if script.end == "done" and script.keep and not self.draining:
            self._now_idle(connection)
            self._take(connection)
        else:
            self._drop(connection, script.end)

    def _end(self, connection: Connection, end: str) -> None:
        if connection.answer is None:
            return
        served, connection.answer = connection.answer.served, None
        served.ended_ns = perf_counter_ns()
        if served.end == "open":
            served.end = end
        self._ended(served)

    def _drop(self, connection: Connection, end: str) -> None:
        self._end(connection, end)
        fd = connection.socket.fileno()
        if self._connections.get(fd) is connection:
            del self._connections[fd]
            self._epoll.unregister(fd)
            connection.close(reset=end == "reset")

    def _now_idle(self, connection: Connection) -> None:
        if self._idle_ns is not None:
            self._idle.append((perf_counter_ns() + self._idle_ns, connection, connection.requests))

    def _close_idle_due(self) -> None:
        now = perf_counter_ns()
        while self._idle and self._idle[0][0] <= now:
            _, connection, requests = self._idle.popleft()
            if connection.answer is None and connection.requests == requests:
                self._drop(connection, "idle")

    def _close_idle_now(self) -> None:
        for connection in [one for one in self._connections.values() if one.answer is None]:
            self._drop(connection, "idle")
