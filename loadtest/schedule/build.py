"""Makes the schedule of each kind of load: open loop at rates that may change, a replay, a closed loop. Pure.

The warm-up and the cool-down are windows of schedule time, laid over the phases: what is due in them is sent like
everything else and does not count.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from loadtest.schedule.laws import Law, Stretch, boundaries, due_first, due_within, points
from loadtest.schedule.timetable import Length, Schedule
from serving.facts.traffic import Phase

WARM_UP: Final = "warm-up"
COOL_DOWN: Final = "cool-down"


@dataclass(frozen=True)
class Part:
    """A named part of an open loop."""

    name: str
    stretch: Stretch
    counts: bool = True


@dataclass(frozen=True)
class Level:
    """A named part of a closed loop: so many streams, for so long. None lasts until the last request."""

    name: str
    concurrency: int
    length_s: float | None
    counts: bool = True


@dataclass(frozen=True)
class Window:
    """What is cut off the counting: seconds of schedule time at the start and at the end."""

    warmup_s: float = 0.0
    cooldown_s: float = 0.0

    def over(self, phases: Sequence[Phase]) -> tuple[Phase, ...]:
        """The phases, split where the window's edges cut them; what lies outside of the window does not count."""
        end_s = phases[-1].end_s
        cool_s = None if end_s is None else end_s - self.cooldown_s
        found: list[Phase] = []
        for phase in phases:
            cuts = sorted(at for at in (self.warmup_s, cool_s) if at is not None and _within(at, phase))
            for start_s, stop_s in zip([phase.start_s, *cuts], [*cuts, phase.end_s], strict=True):
                piece = replace(phase, start_s=start_s, end_s=stop_s)
                if start_s < self.warmup_s:
                    piece = replace(piece, name=WARM_UP, counts=False)
                elif cool_s is not None and start_s >= cool_s:
                    piece = replace(piece, name=COOL_DOWN, counts=False)
                found.append(piece)
        return tuple(found)


def open_loop(parts: Sequence[Part], law: Law, burstiness: float, seed: int, window: Window = Window()) -> Schedule:
    """Arrivals that follow the parts' rates by a law, whatever becomes of the answers.

    >>> list(open_loop([Part("steady", Stretch(1.5, 2, 2))], "constant", 1, seed=0).due_s)
    [0.0, 0.5, 1.0]
    """
    stretches = [part.stretch for part in parts]
    due_s = due_within(stretches, points(law, burstiness, seed))
    phases = [
        Phase(part.name, start_s, end_s, _one_rate(part.stretch), counts=part.counts)
        for part, (start_s, end_s) in zip(parts, boundaries(stretches), strict=True)
    ]
    return Schedule(due_s, window.over(phases))


def open_requests(
    requests: int, rate_rps: float, law: Law, burstiness: float, seed: int, window: Window = Window()
) -> Schedule:
    """The first so many arrivals at a rate; the schedule ends where the next one would have been due."""
    due_s, end_s = due_first(requests, rate_rps, points(law, burstiness, seed))
    return Schedule(due_s, window.over([Phase("steady", 0.0, end_s, rate_rps)]))


def replay(due_s: array[float], lengths: Sequence[Length], window: Window = Window()) -> Schedule:
    """Arrivals exactly as a trace had them. The schedule ends one mean gap after the last one."""
    gaps = len(due_s) - 1
    end_s = due_s[-1] * (1 + 1 / gaps) if gaps and due_s[-1] else due_s[-1] + 1.0
    return Schedule(due_s, window.over([Phase("trace", 0.0, end_s)]), tuple(lengths))


def closed_loop(levels: Sequence[Level], requests: int | None, window: Window = Window()) -> Schedule:
    """So many streams at a time, each followed by the next one. Ends with the last level, or after the requests."""
    spans = boundaries([Stretch(level.length_s or 0.0, 0, 0) for level in levels])
    phases = [
        Phase(
            level.name,
            start_s,
            None if level.length_s is None else end_s,
            concurrency=level.concurrency,
            counts=level.counts,
        )
        for level, (start_s, end_s) in zip(levels, spans, strict=True)
    ]
    return Schedule(array("d"), window.over(phases), requests=requests)


def _one_rate(stretch: Stretch) -> float | None:
    return stretch.from_rps if stretch.from_rps == stretch.to_rps else None


def _within(at_s: float, phase: Phase) -> bool:
    return phase.start_s < at_s and (phase.end_s is None or at_s < phase.end_s)
