"""The worker's side of a run that several processes share: does what it is told, and reports what came of it.

It does not know how orders and reports travel. Reports are plain data: `news` (records as the ledger's lines, and
gauges) at intervals, `done` with what the harness measured of itself, `failed` with one line. Needs gevent.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import Semaphore

from loadtest.carrier import Job
from loadtest.engine import Engine
from loadtest.schedule import Schedule
from serving.errors import WarmgateError
from serving.facts.traffic import RequestSeen, line_of

Report = Callable[[dict[str, Any]], None]


class Hand:
    """One load process. `report` sends a report; orders return at once, and are carried out one after the other."""

    def __init__(self, report: Report, every_s: float) -> None:
        self._report, self._every_s = report, every_s
        self._lines: list[str] = []
        self._stop = Event()
        self._one_at_a_time = Semaphore()
        self._engine: Engine | None = None
        self._schedule: Schedule | None = None
        self.idle = Event()
        self.idle.set()

    def begin(self, make: Callable[[], Job]) -> None:
        """Get ready for a run: whatever was before it is over."""
        self.end()
        self._stop = Event()

        def work() -> None:
            job = make()
            self._engine = Engine(job.profile, job.arms, job.prompts, job.seed, self._take, self._stop)
            self._report({"is": "ready"})

        self._do(work)

    def prepare(self, schedule: Schedule) -> None:
        """Open connections for this schedule, which is what is carried out next."""
        self._schedule = schedule

        def work() -> None:
            if self._engine is not None:
                self._engine.prepare(schedule)
            self._report({"is": "prepared"})

        self._do(work)

    def carry_out(self, begin_ns: int, origin_ns: int, phase_offset: int) -> None:
        """Carry out what was prepared. The moments are of this machine's perf_counter."""

        def work() -> None:
            if self._engine is None or self._schedule is None:
                raise RuntimeError("told to begin before it was told what")
            over = Event()
            teller = gevent.spawn(self._tell, over)
            try:
                measured = self._engine.carry_out(
                    self._schedule, begin_ns, run_origin_ns=origin_ns, phase_offset=phase_offset
                )
            finally:
                over.set()
                teller.join()
                self._news()
            self._report({"is": "done", "measured": measured.document(), "stopped": self._stop.is_set()})

        self._do(work)

    def stop(self) -> None:
        """Cut what is open, record it as censored, report."""
        self._stop.set()

    def end(self) -> None:
        """Stop, and let go of the connections."""
        self._stop.set()
        if self._engine is not None:
            self._engine.close()

    def _do(self, work: Callable[[], None]) -> None:
        self.idle.clear()
        gevent.spawn(self._work, work)

    def _work(self, work: Callable[[], None]) -> None:
        with self._one_at_a_time:
            try:
                work()
            except WarmgateError as error:
                self._report({"is": "failed", "why": str(error)})
            except Exception as error:  # noqa: BLE001 - the run must know of it, whatever it is
                traceback.print_exc(file=sys.stderr)
                self._report({"is": "failed", "why": f"{type(error).__name__} in a load process"})
            finally:
                self.idle.set()

    def _take(self, seen: RequestSeen) -> None:
        self._lines.append(line_of(seen))

    def _tell(self, over: Event) -> None:
        while not over.wait(self._every_s):
            self._news()

    def _news(self) -> None:
        """Report what is new. Also when nothing is: silence means that this process hangs."""
        lines, self._lines = self._lines, []
        dispatcher = None if self._engine is None else self._engine.dispatcher
        if dispatcher is not None:
            self._report(
                {
                    "is": "news",
                    "lines": "\n".join(lines),
                    "started": dispatcher.started,
                    "in_flight": dispatcher.in_flight,
                    "lag_ms": dispatcher.worst_lag_ms(),
                }
            )
