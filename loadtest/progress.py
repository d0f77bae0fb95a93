"""One line on stderr while a run is at work: rewritten in place on a terminal, a new one every 5 s elsewhere."""

from __future__ import annotations

from typing import Final, TextIO

import gevent

from loadtest.run import Run
from serving.facts.quantiles import quantile
from serving.facts.samples import of_request

EVERY_S: Final = 5.0
TERMINAL_EVERY_S: Final = 0.5
RECENT: Final = 200


class Progress:
    """Shows a run while the context is open. It reads the run and never touches it."""

    def __init__(self, run: Run, stream: TextIO) -> None:
        self._run, self._stream = run, stream
        self._terminal = stream.isatty()

    def __enter__(self) -> None:
        self._greenlet = gevent.spawn(self._show)

    def __exit__(self, *error: object) -> None:
        self._greenlet.kill()
        if self._terminal:
            self._write(f"\r\x1b[K{self.line()}\n")

    def line(self) -> str:
        """Elapsed, sent, in flight, ok, failed, TTFT p50 of the last requests."""
        run = self._run
        dispatcher = None if run.carrier is None else run.carrier.dispatcher
        if dispatcher is None:
            return "starting"
        ok = sum(request.ok for request in run.requests)
        total = None if run.schedule is None else run.schedule.planned
        planned = "" if total is None else f"/{total}"
        parts = [
            f"{dispatcher.elapsed_s:5.0f} s",
            f"{dispatcher.started}{planned} started",
            f"{dispatcher.in_flight} in flight",
            f"{ok} ok",
            f"{len(run.requests) - ok} failed",
        ]
        recent = [value for r in run.requests[-RECENT:] if r.ok and (value := of_request("ttft", r)) is not None]
        if recent:
            parts.append(f"TTFT p50 {quantile(recent, 0.5):.0f} ms")
        return "  ".join(parts) + ("  stopping" if run.interrupted else "")

    def _show(self) -> None:
        while True:
            gevent.sleep(TERMINAL_EVERY_S if self._terminal else EVERY_S)
            self._write(f"\r\x1b[K{self.line()}" if self._terminal else f"{self.line()}\n")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            return
