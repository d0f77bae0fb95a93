"""The workers of a run on any machines, reached by messages of a runner that has them connected: Locust's master.

Each has a clock of its own, so it is measured before a run and after it: by how much it is off, and by how much that
may be wrong. It knows of the runner only what `Master` says. Needs gevent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from time import perf_counter_ns
from typing import Any, Final, Protocol

import gevent
from gevent.event import Event

from loadtest.carrier import Job
from loadtest.crew import OnEnd, OnReport
from loadtest.orders import Names, job_document, schedule_document
from loadtest.profile import Profile

ORDER: Final = "warmgate_order"
REPORT: Final = "warmgate_report"
PINGS: Final = 10
PONG_WAIT_S: Final = 2.0

_runs = count(1)


class Master(Protocol):
    """A runner with workers."""

    @property
    def clients(self) -> Mapping[str, Any]:
        """The connected ones, by their names."""

    def send_message(self, msg_type: str, data: Any = None, client_id: str | None = None) -> None:
        """Send to one of them."""


class Post:
    """Where reports arrive: it hands each to the run at hand. One for each runner, since Locust takes one listener."""

    def __init__(self) -> None:
        self.take: Callable[[str, Mapping[str, Any]], None] = lambda *_: None

    def __call__(self, environment: Any, msg: Any, **_: Any) -> None:
        """Hand on a report."""
        self.take(msg.node_id, msg.data)


class RemoteWorkers:
    """The workers that are connected when it is made. `names` tell where they find keys and certificates."""

    def __init__(self, master: Master, post: Post, names: Names) -> None:
        self._master, self._names = master, names
        self._ids = [name for name, client in master.clients.items() if client.state != "missing"]
        self._run = next(_runs)
        self._offsets_ns = [0] * len(self._ids)
        self._uncertain_ns = [0] * len(self._ids)
        self._pongs: dict[int, tuple[Event, list[int]]] = {}
        self._numbers = count()
        self._on_report: OnReport = lambda *_: None
        self._on_end: OnEnd = lambda *_: None
        self._measured = False
        post.take = self._take

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._ids)

    @property
    def clock_uncertainty_ms(self) -> float | None:
        """By how much the worst known clock may be off from what was assumed."""
        return max(self._uncertain_ns, default=0) / 1e6 if self._measured else None

    def begin(self, job: Job, shares: list[Profile], on_report: OnReport, on_end: OnEnd) -> None:
        """Measure their clocks, and tell each its job."""
        self._on_report, self._on_end = on_report, on_end
        self.clocks()
        for worker, profile in enumerate(shares):
            self._send(worker, {"do": "begin", "job": job_document(job, profile, self._names)})

    def send(self, worker: int, order: dict[str, Any]) -> None:
        """Give an order."""
        if "schedule" in order:
            order = {**order, "schedule": schedule_document(order["schedule"])}
        self._send(worker, order)

    def clock_ns(self, worker: int, at_ns: int) -> int:
        """A moment of our perf_counter on the worker's."""
        return at_ns + self._offsets_ns[worker]

    def check(self) -> None:
        """Notice those that the runner has lost."""
        clients = self._master.clients
        for worker, name in enumerate(self._ids):
            if name not in clients:
                self._on_end(worker, "quit")
            elif clients[name].state == "missing":
                self._on_end(worker, "went missing")

    def clocks(self) -> None:
        """Measure all clocks. The first measure is what is assumed of them; a later one shows how right that was."""
        gevent.joinall([gevent.spawn(self._measure, worker) for worker in range(self.count)])
        self._measured = True

    def drop(self, worker: int) -> None:
        """It cannot be ended from here, but it can be told to."""
        self._send(worker, {"do": "end"})

    def close(self) -> None:
        """Let them go: they wait for another run."""
        for worker in range(self.count):
            self._send(worker, {"do": "end"})

    def _measure(self, worker: int) -> None:
        """The quickest of a few pings: the worker's clock was read somewhere between our two moments."""
        best: tuple[int, int] | None = None
        for _ in range(PINGS):
            number, answered, read = next(self._numbers), Event(), list[int]()
            self._pongs[number] = answered, read
            asked_ns = perf_counter_ns()
            self._send(worker, {"do": "ping", "number": number})
            if answered.wait(PONG_WAIT_S):
                theirs_ns, back_ns = read
                found = (back_ns - asked_ns) // 2, theirs_ns - (asked_ns + back_ns) // 2
                best = found if best is None else min(best, found)
            del self._pongs[number]
            if best is None:
                return self._on_end(worker, "did not tell its clock")
        if best is not None:
            within_ns, offset_ns = best
            if not self._measured:
                self._offsets_ns[worker] = offset_ns
            off_ns = abs(offset_ns - self._offsets_ns[worker]) + within_ns
            self._uncertain_ns[worker] = max(self._uncertain_ns[worker], off_ns)
        return None

    def _send(self, worker: int, order: dict[str, Any]) -> None:
        self._master.send_message(ORDER, {**order, "run": self._run}, self._ids[worker])

    def _take(self, name: str, report: Mapping[str, Any]) -> None:
        back_ns = perf_counter_ns()
        if name not in self._ids or report.get("run") != self._run:
            return
        if report.get("is") != "pong":
            self._on_report(self._ids.index(name), report)
        elif (waiting := self._pongs.get(report.get("number", -1))) is not None:
            answered, read = waiting
            read[:] = report["at_ns"], back_ns
            answered.set()
