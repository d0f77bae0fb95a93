"""The server's own record: what arrived, what was sent and when, and how late the server itself was.

Times are perf_counter nanoseconds, comparable with those of any process on the same machine. An arrival is the
kernel's stamp of the request's last bytes where there is one, else the moment they were read; both are kept.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns, process_time
from typing import Any, Final

from serving.facts.quantiles import quantile

SCHEMA: Final = "warmgate.truth/v1"


@dataclass
class Served:
    """One request. `sent_ns` are the moments just before each token chunk was sent, `end` how the answer ended:
    open, done, or as the program cut it; `gone` when the client left first. `sound` is a program without any fault.
    """

    number: int
    request_id: str
    body: dict[str, Any]
    headers: dict[str, str]
    arrived_ns: int
    read_ns: int = 0
    kernel_stamp: bool = False
    reused: bool = False
    sent_ns: array[int] = field(default_factory=lambda: array("q"))
    chunk_tokens: Sequence[int] = ()
    sound: bool = True
    ended_ns: int | None = None
    end: str = "open"

    @property
    def tokens(self) -> int:
        """How many tokens were sent."""
        return sum(self.chunk_tokens[: len(self.sent_ns)])

    @property
    def good(self) -> bool:
        """Whether the client got an answer that is whole and as it should be."""
        return self.sound and self.end == "done"

    @property
    def ttft_ms(self) -> float | None:
        """From the arrival to the first token chunk's send."""
        return (self.sent_ns[0] - self.arrived_ns) / 1e6 if self.sent_ns else None

    @property
    def tpot_ms(self) -> float | None:
        """Mean time of a token after the first; None below two tokens."""
        tokens = self.tokens
        return (self.sent_ns[-1] - self.sent_ns[0]) / 1e6 / (tokens - 1) if tokens > 1 else None

    def line(self) -> str:
        """The request as one line of JSON, without anything of its text."""
        return json.dumps(
            {
                "number": self.number,
                "request_id": self.request_id,
                "arrived_ns": self.arrived_ns,
                "read_ns": self.read_ns,
                "kernel_stamp": self.kernel_stamp,
                "reused": self.reused,
                "sent_ns": list(self.sent_ns),
                "chunk_tokens": list(self.chunk_tokens[: len(self.sent_ns)]),
                "ended_ns": self.ended_ns,
                "end": self.end,
                "good": self.good,
            }
        )


@dataclass
class Tally:
    """Everything since the last reset. `late_us` is the lateness of each token chunk against its due time."""

    since_ns: int = field(default_factory=perf_counter_ns)
    cpu_s: float = field(default_factory=process_time)
    served: list[Served] = field(default_factory=list)
    late_us: array[float] = field(default_factory=lambda: array("f"))
    connections: int = 0
    reused: int = 0
    cut_off: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0

    def summary(self) -> dict[str, Any]:
        """What `GET /truth` says; see its keys. Quantiles are exact, times milliseconds."""
        served = list(self.served)
        ends = [one.end for one in served]
        read_ms = [(one.read_ns - one.arrived_ns) / 1e6 for one in served if one.kernel_stamp]
        return {
            "schema": SCHEMA,
            "elapsed_s": (perf_counter_ns() - self.since_ns) / 1e9,
            "cpu_s": process_time() - self.cpu_s,
            "requests": len(served),
            "ends": {end: ends.count(end) for end in sorted(set(ends))},
            "chunks": len(self.late_us),
            "tokens": sum(one.tokens for one in served),
            "ttft_ms": figures([one.ttft_ms for one in served]),
            "tpot_ms": figures([one.tpot_ms for one in served]),
            "lateness_ms": figures([late / 1e3 for late in self.late_us]),
            "read_lag_ms": figures(read_ms),
            "kernel_stamps": len(read_ms) / len(served) if served else None,
            "connections": self.connections,
            "reused": self.reused,
            "cut_off": self.cut_off,
            "in_flight": self.in_flight,
            "peak_in_flight": self.peak_in_flight,
        }


def figures(values: Sequence[float | None]) -> dict[str, float] | None:
    """n, mean, p50, p99 and max of what is there; None of nothing."""
    found = sorted(value for value in values if value is not None)
    if not found:
        return None
    named = {"p50": quantile(found, 0.5), "p99": quantile(found, 0.99), "max": found[-1]}
    mean = math.fsum(found) / len(found)
    return {"n": len(found), **{name: round(value, 4) for name, value in {"mean": mean, **named}.items()}}
