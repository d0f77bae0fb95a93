"""What the harness measured of itself while it carried out a schedule; mergeable over processes. Pure."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any, Final

from loadtest.transport import Wire
from serving.facts.histogram import Histogram

AT_ONCE: Final = 4096


@dataclass
class OwnFigures:
    """The harness's own figures. Lags are histograms of milliseconds, CPU is in seconds.

    `client_lag` is how long received bytes waited in the kernel, for the `stamped` of all `reads`; `coalesced` are the
    token chunks that share the stamp of an earlier one. `core_share` is the part of its core that the busiest process
    used.
    """

    loop_lag: Histogram = field(default_factory=Histogram)
    client_lag: Histogram = field(default_factory=Histogram)
    reads: int = 0
    stamped: int = 0
    chunks: int = 0
    coalesced: int = 0
    cpu_s: float = 0.0
    core_share: float = 0.0
    _waits_ms: array[float] = field(default_factory=lambda: array("d"))

    def take(self, wire: Wire, chunks: int, coalesced: int) -> None:
        """Count what one request showed."""
        before = len(self._waits_ms)
        self._waits_ms.extend([waited / 1e6 for _, waited in wire.reads if waited >= 0])
        self.reads += len(wire.reads)
        self.stamped += len(self._waits_ms) - before
        self.chunks += chunks
        self.coalesced += coalesced
        if len(self._waits_ms) >= AT_ONCE:
            self.settle()

    def settle(self) -> None:
        """Count what still waits to be: waits are counted many at once, which costs a tenth."""
        self.client_lag.add_many(self._waits_ms)
        self._waits_ms = array("d")

    def merge(self, other: OwnFigures) -> None:
        """Take in what another process, or another part of the run, measured, and has settled."""
        self.loop_lag.merge(other.loop_lag)
        self.client_lag.merge(other.client_lag)
        self.reads += other.reads
        self.stamped += other.stamped
        self.chunks += other.chunks
        self.coalesced += other.coalesced
        self.cpu_s += other.cpu_s
        self.core_share = max(self.core_share, other.core_share)

    def document(self) -> dict[str, Any]:
        """As a plain object, for another process."""
        return {
            **{name: getattr(self, name) for name in PLAIN},
            "loop_lag": self.loop_lag.document(),
            "client_lag": self.client_lag.document(),
        }

    @classmethod
    def of_document(cls, body: dict[str, Any]) -> OwnFigures:
        """What another process wrote. Raises KeyError or ValueError for anything else."""
        return cls(
            loop_lag=Histogram.of_document(body["loop_lag"]),
            client_lag=Histogram.of_document(body["client_lag"]),
            **{name: body[name] for name in PLAIN},
        )


PLAIN: Final = ("reads", "stamped", "chunks", "coalesced", "cpu_s", "core_share")
