"""What a dispatcher walks: every arrival of the run, its phases, and each worker's part of the one global schedule."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from serving.facts.traffic import Phase


class Length(NamedTuple):
    """What a trace says of a request. `hash_ids` name its prompt's blocks: requests that share some share a prefix."""

    prompt_tokens: int
    output_tokens: int
    hash_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Schedule:
    """A run before it is run. Times are seconds from its start; indices are global, whichever worker holds them.

    An open loop has every arrival in `due_s`. A closed loop has none: its phases say how many streams to keep open
    (`streams_at`), and `requests` after how many of them to end (None: with the last phase). `lengths` go with `due_s`
    where a trace told them. This worker's indices are first, first + stride, first + 2 * stride, ...
    """

    due_s: array[float]
    phases: tuple[Phase, ...]
    lengths: tuple[Length, ...] | None = None
    requests: int | None = None
    first: int = 0
    stride: int = 1

    @property
    def closed(self) -> bool:
        """Whether the answers decide when the next request is due."""
        return self.phases[0].concurrency is not None

    @property
    def end_s(self) -> float | None:
        """The end of the schedule; None for a closed loop that ends with its last request."""
        return self.phases[-1].end_s

    @property
    def planned(self) -> int | None:
        """How many requests this worker has; None where only the answers will tell."""
        return self.requests if self.closed else len(self.due_s)

    @property
    def counted(self) -> int:
        """How many of this worker's arrivals are due in a phase that counts."""
        spans = ((phase.start_s, phase.end_s) for phase in self.phases if phase.counts and phase.end_s is not None)
        return sum(bisect_left(self.due_s, end_s) - bisect_left(self.due_s, start_s) for start_s, end_s in spans)

    def index(self, position: int) -> int:
        """The global index of this worker's arrival, or request, at a position from 0."""
        return self.first + position * self.stride

    def arrivals(self) -> Iterator[tuple[int, float]]:
        """The global index and the due time of each arrival of this worker, in order."""
        return ((self.index(position), due_s) for position, due_s in enumerate(self.due_s))

    def length_of(self, index: int) -> Length | None:
        """The lengths that a trace gives for the request of this global index."""
        return None if self.lengths is None else self.lengths[(index - self.first) // self.stride]

    def phase_of(self, at_s: float) -> int:
        """The index of the phase that a time falls into; what is late falls into the last one."""
        return max(0, bisect_right(self.phases, at_s, key=lambda phase: phase.start_s) - 1)

    def streams_at(self, at_s: float) -> int:
        """How many streams a closed loop keeps open at this time; 0 from its end on."""
        if self.end_s is not None and at_s >= self.end_s:
            return 0
        return self.phases[self.phase_of(at_s)].concurrency or 0

    def shard(self, worker: int, workers: int) -> Schedule:
        """The part of one of so many workers (from 0): every `workers`-th arrival of this schedule, with its index.

        The one schedule is drawn first and dealt out after that, so all workers together send exactly it, however many
        there are. To let each worker draw its own at a share of the rate needs a seed for each: GuideLLM gave all of
        them the same one, so each gap came once per worker and ten workers sent bursts of ten (an index of dispersion
        of 9.6 where Poisson has 1). Dealing out has no such seed to get wrong, and it keeps laws that no sum of
        independent shares has (constant, gamma, a trace). Raises ValueError for a closed loop with fewer streams than
        workers: a worker without a stream would never send the requests that are its.
        """
        if not 0 <= worker < workers:
            raise ValueError(f"worker {worker} of {workers}: workers count from 0")
        if self.closed and any((phase.concurrency or 0) < workers for phase in self.phases):
            raise ValueError(f"fewer streams than the {workers} workers: each worker needs one")
        return replace(
            self,
            due_s=self.due_s[worker::workers],
            phases=tuple(_share(phase, worker, workers) for phase in self.phases),
            lengths=None if self.lengths is None else self.lengths[worker::workers],
            requests=None if self.requests is None else _dealt(self.requests, worker, workers),
            first=self.first + worker * self.stride,
            stride=self.stride * workers,
        )


def _dealt(things: int, worker: int, workers: int) -> int:
    return things // workers + (worker < things % workers)


def _share(phase: Phase, worker: int, workers: int) -> Phase:
    if phase.concurrency is None:
        return phase
    return replace(phase, concurrency=_dealt(phase.concurrency, worker, workers))
