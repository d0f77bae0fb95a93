"""What carries out schedules for a run: one process (`engine`) or several (`crew`). Run and Sweeper use either."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from loadtest.engine import Arm
from loadtest.own_figures import OwnFigures
from loadtest.profile import Profile
from loadtest.prompts.prompt import Prompts
from loadtest.prompts.vocabulary import Costs
from loadtest.schedule import Length, Schedule
from serving.facts.traffic import RequestSeen


@dataclass(frozen=True)
class Job:
    """All that a load process needs to know before its first schedule. It can be pickled.

    `costs` and `lengths` are what the prompts were made with: prompts can be made again from them and the seed.
    """

    profile: Profile
    arms: tuple[Arm, ...]
    prompts: Prompts
    seed: int
    costs: Costs | None = None
    lengths: tuple[Length, ...] | None = None


class Gauges(Protocol):
    """How the load fares at this moment."""

    @property
    def in_flight(self) -> int:
        """Streams that are open now."""

    @property
    def started(self) -> int:
        """Requests that were begun."""

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start of the schedule."""

    def worst_lag_ms(self) -> float | None:
        """How late the event loop was at worst since this was last asked; None when it was not measured."""


class Carrier(Protocol):
    """Carries out schedules one by one; each record goes to the `Keep` that it was made with."""

    @property
    def dispatcher(self) -> Gauges | None:
        """The gauges of the schedule at hand; None before the first one."""

    def prepare(self, schedule: Schedule) -> None:
        """Do ahead what can be done ahead: start processes, open connections."""

    def carry_out(
        self, schedule: Schedule, begin_ns: int, *, run_origin_ns: int | None = None, phase_offset: int = 0
    ) -> OwnFigures:
        """Carry out a schedule that begins at a moment of perf_counter, and wait for its streams."""

    def close(self) -> None:
        """Let go of connections and processes."""


class Keep(Protocol):
    """Takes each record, and the ledger's line of it where another process has already written that."""

    def __call__(self, seen: RequestSeen, line: str | None = None) -> None:
        """Keep it. Raises CannotAct when the disk refuses."""
