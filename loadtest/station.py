"""A Locust worker's side of a run: takes the master's orders, lets a `Hand` carry them out, sends the reports back.

It knows of Locust's runner only that it can send. Keys and certificates are this machine's own.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter_ns
from typing import Any, Final

from loadtest.hand import Hand
from loadtest.orders import job_of_document, schedule_of_document
from loadtest.workers_remote import REPORT
from serving.errors import WarmgateError

EVERY_S: Final = 1.0


class Station:
    """What this process does for its master, run by run."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._hand: Hand | None = None
        self.served = False

    @property
    def busy(self) -> bool:
        """Whether something is being carried out."""
        return self._hand is not None and not self._hand.idle.is_set()

    def obey(self, environment: Any, msg: Any, **_: Any) -> None:
        """Take an order: a listener for Locust's messages."""
        order = msg.data
        if order["do"] == "ping":
            return self._report(order["run"], {"is": "pong", "number": order["number"], "at_ns": perf_counter_ns()})
        try:
            self._obey(order)
        except WarmgateError as error:
            self._report(order["run"], {"is": "failed", "why": str(error)})
        return None

    def stop(self) -> None:
        """Cut what is open; it is recorded and reported."""
        if self._hand is not None:
            self._hand.stop()

    def wait(self, seconds: float) -> None:
        """Wait until all is reported."""
        if self._hand is not None:
            self._hand.idle.wait(seconds)

    def _obey(self, order: dict[str, Any]) -> None:
        if order["do"] == "begin":
            if self._hand is not None:
                self._hand.end()
            self._hand = Hand(partial(self._report, order["run"]), EVERY_S)
            return self._hand.begin(lambda: job_of_document(order["job"]))
        if self._hand is None:
            return None
        match order["do"]:
            case "prepare":
                self._hand.prepare(schedule_of_document(order["schedule"]))
            case "carry_out":
                self._hand.carry_out(order["begin_ns"], order["origin_ns"], order["phase_offset"])
            case "stop":
                self._hand.stop()
            case "end":
                self._hand.end()
                self.served = True
        return None

    def _report(self, run: int, report: dict[str, Any]) -> None:
        self._runner.send_message(REPORT, {**report, "run": run})
