"""Walks the schedule: one greenlet per arrival, latency counted from when it was due, a record for every one of them.

It decides when to send, what could not be sent, and when to stop waiting. It knows neither HTTP nor SSE nor Locust.
Needs gevent.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, Final

import gevent
from gevent.event import Event

from loadtest.schedule import Schedule
from loadtest.timer import Timer
from loadtest.transport import Cut, Wire
from serving.facts.histogram import Histogram

LEAD_S: Final = 0.05
KILL_WAIT_S: Final = 10.0
PROBE_S: Final = 0.02
READABLE: Final = 1
FIRST: Final = 2  # libev's highest priority

Send = Callable[[int, float, Wire], None]
Settle = Callable[[int, float, Wire], None]


class Dispatcher:
    """One run. `send` performs the request of an index and due time, `settle` gets the same and the finished wire.

    `stop` may be set by anyone at any time: nothing more is sent, open streams are cut and recorded. Times in seconds
    count from `origin_ns`, a moment of perf_counter, which several processes may share.
    """

    def __init__(
        self,
        send: Send,
        settle: Settle,
        stop: Event,
        *,
        max_in_flight: int,
        drain_s: float,
        origin_ns: int | None = None,
    ) -> None:
        self._send, self._settle, self._stop = send, settle, stop
        self._max_in_flight, self._drain_s = max_in_flight, drain_s
        self._open: dict[int, tuple[float, Wire, Any]] = {}
        self._idle = Event()
        self._crash: BaseException | None = None
        self._alarm: _Alarm
        self.loop_lag_ms = Histogram()
        self._worst_lag_ms: float | None = None
        self.started = 0
        self.origin_ns = perf_counter_ns() + int(LEAD_S * 1e9) if origin_ns is None else origin_ns

    @property
    def in_flight(self) -> int:
        """Streams that are open now."""
        return len(self._open)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start of the run."""
        return max(0.0, (perf_counter_ns() - self.origin_ns) / 1e9)

    def worst_lag_ms(self) -> float | None:
        """How late the loop was at worst since this was last asked; None when it was not measured in between."""
        worst, self._worst_lag_ms = self._worst_lag_ms, None
        return worst

    def walk(self, schedule: Schedule) -> None:
        """Carry a schedule out, and wait for its last streams. Raises what `send` or `settle` raised."""
        probe = gevent.spawn(self._probe)
        self._alarm = alarm = _Alarm(self._stop)
        try:
            if schedule.closed:
                self._closed_loop(schedule)
            else:
                self._open_loop(schedule)
            self._drain()
        finally:
            probe.kill()
            alarm.close()

    def _open_loop(self, schedule: Schedule) -> None:
        """Send each request when it is due, whatever became of the ones before it."""
        for index, due_s in schedule.arrivals():
            if not self._wait_until(due_s):
                break
            self.started += 1
            if self.in_flight >= self._max_in_flight:
                refused = Wire(why=f"{self._max_in_flight} streams were open when it was due (max_in_flight)")
                self._settle(index, due_s, refused)
            else:
                self._spawn(index, due_s)

    def _closed_loop(self, schedule: Schedule) -> None:
        """Keep as many streams open as each phase says; each request is due when its stream's turn comes."""
        loops: list[Any] = []

        def keep_open(place: int) -> None:
            while not self._stop.is_set() and (schedule.requests is None or self.started < schedule.requests):
                due_s = self.elapsed_s
                if place >= schedule.streams_at(due_s):
                    return
                index, self.started = schedule.index(self.started), self.started + 1
                wire = Wire()
                self._open[index] = (due_s, wire, gevent.getcurrent())
                self._one(index, due_s, wire)  # here and not in a greenlet of its own, which would wait its turn

        for phase in schedule.phases:
            if not self._wait_until(phase.start_s):
                break
            standing = {place: loop for place, loop in enumerate(loops) if not loop.dead}
            wanted = range(phase.concurrency or 0)
            loops = [standing.get(place) or gevent.spawn(keep_open, place) for place in wanted]
        if schedule.end_s is not None:
            self._wait_until(schedule.end_s)
        else:
            gevent.wait([self._stop, gevent.spawn(gevent.joinall, loops)], count=1)

    def _wait_until(self, due_s: float) -> bool:
        """Wait for a time of the schedule; False when the run was stopped before it."""
        due_ns = self.origin_ns + int(due_s * 1e9)
        while not self._stop.is_set():
            if perf_counter_ns() >= due_ns:
                return True
            self._alarm.wait(due_ns)
        return False

    def _spawn(self, index: int, due_s: float) -> None:
        wire = Wire()
        greenlet = gevent.Greenlet(self._one, index, due_s, wire)
        self._open[index] = (due_s, wire, greenlet)
        greenlet.start()

    def _one(self, index: int, due_s: float, wire: Wire) -> None:
        try:
            self._send(index, due_s, wire)
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

    def _probe(self) -> None:
        """Measure how late the event loop wakes a sleeper: no request left, and no unstamped byte was seen, later."""
        while True:
            due = perf_counter_ns() + int(PROBE_S * 1e9)
            gevent.sleep(PROBE_S)
            lag_ms = max(0.0, (perf_counter_ns() - due) / 1e6)
            self.loop_lag_ms.add(lag_ms)
            self._worst_lag_ms = max(lag_ms, self._worst_lag_ms or 0.0)


class _Alarm:
    """Wakes its greenlet at an exact moment, or when `stop` is set. The loop keeps only to whole milliseconds."""

    def __init__(self, stop: Event) -> None:
        self._stop = stop
        self._timer = Timer()
        self._watcher = gevent.get_hub().loop.io(self._timer.fd, READABLE, priority=FIRST)
        self._rings = Event()
        stop.rawlink(self._ring)

    def wait(self, due_ns: int) -> None:
        """Wait until this moment of perf_counter, or until stopped."""
        self._rings.clear()
        if self._stop.is_set():
            return
        self._timer.arm(due_ns)
        self._watcher.start(self._ring)
        try:
            self._rings.wait()
        finally:
            self._watcher.stop()

    def close(self) -> None:
        """Give the descriptor back."""
        self._stop.unlink(self._ring)
        self._watcher.close()
        self._timer.close()

    def _ring(self, *_: object) -> None:
        self._watcher.stop()
        self._rings.set()
