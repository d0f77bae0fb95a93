"""Waiting for an endpoint, visibly: polls the agent, verifies when it says ready, tells what it waits for on stderr."""

from __future__ import annotations

import asyncio
import time
from typing import Final, TextIO

from serving.expectations import Readiness
from serving.facts.model import State
from serving.facts.readiness import AgentFacts
from serving.facts.seen import Unseen
from serving.judge.readiness import judge_readiness
from serving.observe.endpoint import Target, observe_agent, observe_readiness
from serving.report.text import one_line
from serving.verdict import Report, Verdict

POLL_S: Final = 0.5
REPEAT_S: Final = 10.0
LINE_WIDTH: Final = 100


class Ticker:
    """One status line on a terminal; elsewhere a line for each new status, and one every ten seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._start = time.monotonic()
        self._last = ""
        self._last_at = 0.0
        self._drawn = False

    def tell(self, status: str, detail: str = "") -> None:
        """Show what is happening now; a change of `detail` alone is worth no line of its own."""
        now = time.monotonic()
        if self._live:
            line = f"[{now - self._start:4.0f} s] {status}{detail}"
            self._stream.write(f"\r\x1b[2K{one_line(line)[:LINE_WIDTH]}")
            self._drawn = True
        elif status != self._last or now - self._last_at >= REPEAT_S:
            self._stream.write(one_line(f"[{now - self._start:4.0f} s] {status}{detail}") + "\n")
            self._last, self._last_at = status, now
        self._stream.flush()

    def close(self) -> None:
        """Leave the terminal as it was found."""
        if self._drawn:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()


async def verify_until(
    target: Target, expectations: Readiness, timeout_s: float, wait_s: float, ticker: Ticker
) -> Report:
    """The first report that passes; else the last one, made when `wait_s` seconds are over or the engine has failed.

    Takes at most `wait_s` plus one verification (`timeout_s`). A full verification is tried only while the agent says
    ready, so that waiting puts no load on an engine that is warming up.
    """
    deadline = time.monotonic() + wait_s
    while True:
        last = time.monotonic() >= deadline
        if not last:
            agent = await observe_agent(target, bound_s=min(5.0, max(0.1, deadline - time.monotonic())))
            ticker.tell(*_status(agent))
            last = not isinstance(agent.modelz, Unseen) and agent.modelz.value.state is State.FAILED
            if not last and not _ready(agent):
                await asyncio.sleep(min(POLL_S, max(0.0, deadline - time.monotonic())))
                continue
        report = await verify_once(target, expectations, timeout_s, ticker)
        if last or report.verdict is Verdict.PASS or time.monotonic() >= deadline:
            return report
        ticker.tell(f"not yet: {'; '.join(_open(report))}")
        await asyncio.sleep(min(2 * POLL_S, max(0.0, deadline - time.monotonic())))


async def verify_once(target: Target, expectations: Readiness, timeout_s: float, ticker: Ticker) -> Report:
    """Observe, then judge."""
    facts = await observe_readiness(
        target, model=expectations.model, samples=expectations.samples, timeout_s=timeout_s, tell=ticker.tell
    )
    return judge_readiness(facts, expectations)


def _ready(agent: AgentFacts) -> bool:
    return not isinstance(agent.modelz, Unseen) and agent.modelz.value.ready


def _status(agent: AgentFacts) -> tuple[str, str]:
    if isinstance(agent.modelz, Unseen):
        return f"waiting for the agent: {agent.modelz.why}", ""
    model = agent.modelz.value
    spent = model.phases.get(model.state)
    return f"{model.state}: {model.reason}", "" if spent is None else f" ({spent:.0f} s in this state)"


def _open(report: Report) -> list[str]:
    return [
        f"{finding.subject} {finding.verdict}, {finding.why}"
        for finding in report.findings
        if finding.verdict in (Verdict.FAIL, Verdict.UNKNOWN)
    ]
