"""The figures of a run while it is at work, from its latest requests: cheap, bounded in memory, and for the eye only.

Gates judge the exact samples of the whole run, never these. It reads the run and touches nothing of it.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from serving.expectations import Slo
from serving.facts.quantiles import rank
from serving.facts.traffic import Outcome, Phase, RequestSeen
from serving.judge.slo import good

if TYPE_CHECKING:
    from loadtest.run import Run

LATEST: Final = 1000
LATEST_GAPS: Final = 8192
RATES_OVER_S: Final = 10.0


class Recent:
    """What the latest requests showed; `take` gets each record."""

    def __init__(self, slos: Sequence[Slo]) -> None:
        self._slos = slos
        self._first_ms: deque[float] = deque(maxlen=LATEST)
        self._gaps_ms: deque[float] = deque(maxlen=LATEST_GAPS)
        self._good: deque[bool] = deque(maxlen=LATEST)
        self.outcomes: Counter[Outcome] = Counter()

    def take(self, seen: RequestSeen) -> None:
        """Count one request."""
        self.outcomes[seen.outcome] += 1
        answered = seen.ok and seen.first_s is not None
        self._first_ms.append((seen.first_s - seen.scheduled_s) * 1e3 if answered and seen.first_s else math.inf)
        self._gaps_ms.extend(seen.gaps_ms)
        self._good.append(good(seen, self._slos))

    @property
    def requests(self) -> int:
        """How many ended, since the start."""
        return self.outcomes.total()

    @property
    def failures(self) -> int:
        """How many of them did not end well."""
        return self.outcomes.total() - self.outcomes[Outcome.OK]

    @property
    def goodput(self) -> float | None:
        """The share of good ones among the latest; None when there is none yet."""
        return sum(self._good) / len(self._good) if self._good else None

    def ttft_ms(self, *quantiles: float) -> list[float] | None:
        """Quantiles of the latest, from the scheduled time; infinite where that many were never answered."""
        return _quantiles(self._first_ms, quantiles)

    def itl_ms(self, *quantiles: float) -> list[float] | None:
        """Quantiles of the latest gaps between chunks."""
        return _quantiles(self._gaps_ms, quantiles)


@dataclass(frozen=True)
class Figures:
    """One look at a run. Rates are those of the last seconds; what is not known is None."""

    phase: str
    elapsed_s: float
    end_s: float | None
    started: int
    planned: int | None
    in_flight: int
    offered_per_s: float | None
    achieved_per_s: float | None
    stopping: bool

    @property
    def left_s(self) -> float | None:
        """Until the last request is due."""
        return None if self.end_s is None else max(0.0, self.end_s - self.elapsed_s)


class Looker:
    """Looks at a run now and then; it remembers its last looks, to tell rates."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._looks: deque[tuple[float, int]] = deque()

    def look(self) -> Figures | None:
        """How the run fares; None before it has begun."""
        run = self._run
        gauges = None if run.carrier is None else run.carrier.dispatcher
        if gauges is None:
            return None
        elapsed_s, started, swept = gauges.elapsed_s, gauges.started, run.schedule is None
        if self._looks and (started < self._looks[-1][1] or elapsed_s < self._looks[-1][0]):
            self._looks.clear()  # another probe of a sweep
        self._looks.append((elapsed_s, started))
        while len(self._looks) > 2 and self._looks[1][0] <= elapsed_s - RATES_OVER_S:
            self._looks.popleft()
        (since_s, before), over_s = self._looks[0], elapsed_s - self._looks[0][0]
        phase = _phase(run.phases, run.elapsed_s)
        offered = None if phase is None else phase.rate_per_s
        if run.schedule is not None and not run.schedule.closed and over_s > 0:
            due_s = run.schedule.due_s
            offered = (bisect_left(due_s, elapsed_s) - bisect_left(due_s, since_s)) / over_s
        return Figures(
            phase="" if phase is None else phase.name,
            elapsed_s=run.elapsed_s,
            end_s=run.schedule.end_s if run.schedule is not None else None,
            started=len(run.requests) + gauges.in_flight if swept else started,
            planned=None if run.schedule is None else run.schedule.planned,
            in_flight=gauges.in_flight,
            offered_per_s=offered,
            achieved_per_s=(started - before) / over_s if over_s > 0 else None,
            stopping=run.interrupted is not None,
        )


def _phase(phases: Sequence[Phase], at_s: float) -> Phase | None:
    return phases[max(0, bisect_right(phases, at_s, key=lambda phase: phase.start_s) - 1)] if phases else None


def _quantiles(values: deque[float], quantiles: Sequence[float]) -> list[float] | None:
    if not values:
        return None
    ordered = np.sort(np.fromiter(values, np.float64, len(values)))
    return [float(ordered[rank(q, len(ordered)) - 1]) for q in quantiles]
