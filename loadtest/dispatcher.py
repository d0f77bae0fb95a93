"""Walks the schedule: one greenlet per arrival, latency counted from when it was due, a record for every one of them.

It decides when to send, what could not be sent, and when to stop waiting. It knows neither HTTP nor SSE nor Locust;
both shells, `python -m loadtest` and the locustfile, drive this one engine. Needs gevent, and sockets that gevent has
patched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import Any, Final

import gevent
from gevent.event import Event

from loadtest.transport import Cut, Wire

LEAD_S: Final = 0.05
KILL_WAIT_S: Final = 10.0
PROBE_S: Final = 0.02

Send = Callable[[int, Wire], None]
Settle = Callable[[int, float, Wire], None]


class Dispatcher:
    """One run. `send` performs a request and fills the wire; `settle` gets each index, due time and finished wire.

    `stop` may be set by anyone at any time: nothing more is sent, open streams are cut and recorded. Times in seconds
    count from `origin_ns`.
    """

    def __init__(self, send: Send, settle: Settle, stop: Event, *, max_in_flight: int, drain_s: float) -> None:
        self._send, self._settle, self._stop = send, settle, stop
        self._max_in_flight, self._drain_s = max_in_flight, drain_s
        self._open: dict[int, tuple[float, Wire, Any]] = {}
        self._idle = Event()
        self._crash: BaseException | None = None
        self.loop_lag_s: list[float] = []
        self.started = 0
        self.origin_ns = perf_counter_ns() + int(LEAD_S * 1e9)

    @property
    def in_flight(self) -> int:
        """Streams that are open now."""
        return len(self._open)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start of the run."""
        return max(0.0, (perf_counter_ns() - self.origin_ns) / 1e9)

    def open_loop(self, arrivals: Sequence[float]) -> None:
        """Send each request when it is due, whatever became of the ones before it."""
        with _Probe(self.loop_lag_s):
            for index, due_s in enumerate(arrivals):
                if not self._wait_until(due_s):
                    break
                self.started += 1
                if self.in_flight >= self._max_in_flight:
                    refused = Wire(why=f"{self._max_in_flight} streams were open when it was due (max_in_flight)")
                    self._settle(index, due_s, refused)
                else:
                    self._spawn(index, due_s)
            self._drain()

    def closed_loop(self, concurrency: int, duration_s: float | None, requests: int | None) -> None:
        """Keep so many streams open; each is due when the one before it has ended."""

        def keep_one_open() -> None:
            while not self._stop.is_set() and (requests is None or self.started < requests):
                due_s = self.elapsed_s
                if duration_s is not None and due_s >= duration_s:
                    return
                index, self.started = self.started, self.started + 1
                self._spawn(index, due_s).join()

        with _Probe(self.loop_lag_s):
            self._wait_until(0.0)
            loops = [gevent.spawn(keep_one_open) for _ in range(concurrency)]
            if duration_s is not None:
                self._wait_until(duration_s)
            else:
                gevent.wait([self._stop, gevent.spawn(gevent.joinall, loops)], count=1)
            self._drain()
            gevent.killall(loops)

    def _wait_until(self, due_s: float) -> bool:
        """Wait for a time of the schedule; False when the run was stopped before it."""
        while not self._stop.is_set():
            left = due_s - (perf_counter_ns() - self.origin_ns) / 1e9
            if left <= 0:
                return True
            self._stop.wait(left)
        return False

    def _spawn(self, index: int, due_s: float) -> Any:
        wire = Wire()
        greenlet = gevent.Greenlet(self._one, index, due_s, wire)
        self._open[index] = (due_s, wire, greenlet)
        greenlet.start()
        return greenlet

    def _one(self, index: int, due_s: float, wire: Wire) -> None:
        try:
            self._send(index, wire)
            self._end(index, due_s, wire)
        except Exception as error:  # noqa: BLE001 - raised again by _drain, where it can be told
            self._crash = self._crash or error
            self._stop.set()

    def _end(self, index: int, due_s: float, wire: Wire) -> None:
        del self._open[index]
        self._settle(index, due_s, wire)
        if not self._open:
            self._idle.set()

    def _drain(self) -> None:
        """Wait for what is open, within the bound; then cut it. Nothing that was due stays without a record."""
        give_up_s = self.elapsed_s + self._drain_s
        while self._open and not self._stop.is_set() and self.elapsed_s < give_up_s:
            self._idle.clear()
            gevent.wait([self._idle, self._stop], timeout=give_up_s - self.elapsed_s, count=1)
        if self._open and self._crash is None:
            why = "the run was stopped" if self._stop.is_set() else f"still open {self._drain_s:g} s after the last one"
            gevent.sleep(0)  # let those that were only just spawned reach the transport, which knows how to be cut
            gevent.killall([greenlet for _, _, greenlet in self._open.values()], Cut(why), timeout=KILL_WAIT_S)
            for index, (due_s, wire, _) in list(self._open.items()):
                self._end(index, due_s, wire)
        if self._crash is not None:
            gevent.killall([greenlet for _, _, greenlet in self._open.values()], timeout=KILL_WAIT_S)
            raise self._crash


class _Probe:
    """Measures how late the event loop wakes a sleeper: no received byte was stamped much later than that."""

    def __init__(self, lags_s: list[float]) -> None:
        self._lags_s = lags_s

    def __enter__(self) -> None:
        self._greenlet = gevent.spawn(self._run)

    def __exit__(self, *error: object) -> None:
        self._greenlet.kill()

    def _run(self) -> None:
        while True:
            due = perf_counter_ns() + int(PROBE_S * 1e9)
            gevent.sleep(PROBE_S)
            self._lags_s.append(max(0.0, (perf_counter_ns() - due) / 1e9))
