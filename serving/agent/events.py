"""What can happen to a model server (events), and what must then be done (effects). Data only.

Every event carries `at`, seconds of a monotonic clock. serving/agent/lifecycle.py decides, serving/agent/run.py feeds
it and carries out.
"""

from __future__ import annotations

from dataclasses import dataclass

from serving.facts.model import State


@dataclass(frozen=True)
class PhaseSeen:
    """The engine's log told how far it is: a loading state and one line of detail."""

    at: float
    state: State
    detail: str


@dataclass(frozen=True)
class EngineReachable:
    """The engine's /health answered 200 and /v1/models listed these names."""

    at: float
    served_names: tuple[str, ...]


@dataclass(frozen=True)
class WarmupFinished:
    """The warm-up generations are done; `summary` says how."""

    at: float
    summary: str


@dataclass(frozen=True)
class WarmupFailed:
    """A warm-up generation gave no good answer."""

    at: float
    why: str


@dataclass(frozen=True)
class Sampled:
    """The engine's metrics: requests it holds, any counters that move when it works, and whether it is asleep."""

    at: float
    holding: int
    progress: tuple[float, ...]
    asleep: bool = False


@dataclass(frozen=True)
class SampleFailed:
    """The engine's metrics could not be read."""

    at: float
    why: str


@dataclass(frozen=True)
class ProbeAnswered:
    """The one-token generation that proves an idle engine alive was answered."""

    at: float


@dataclass(frozen=True)
class ProbeFailed:
    """The one-token generation was answered by an error."""

    at: float
    why: str


@dataclass(frozen=True)
class GpuSampled:
    """The least free memory over the visible GPUs, in bytes."""

    at: float
    least_free_bytes: int


@dataclass(frozen=True)
class TermRequested:
    """SIGTERM or SIGINT reached the agent."""

    at: float


@dataclass(frozen=True)
class CoreLost:
    """A process of the engine died under its API server, or /health says that the engine is dead."""

    at: float
    why: str


@dataclass(frozen=True)
class EngineExited:
    """The engine's first process ended; `why` is the root cause that its log named."""

    at: float
    exit_code: int
    why: str


@dataclass(frozen=True)
class Tick:
    """Time passed."""

    at: float


Event = (
    PhaseSeen
    | EngineReachable
    | WarmupFinished
    | WarmupFailed
    | Sampled
    | SampleFailed
    | ProbeAnswered
    | ProbeFailed
    | GpuSampled
    | TermRequested
    | CoreLost
    | EngineExited
    | Tick
)


@dataclass(frozen=True)
class StartWarmup:
    """Run the warm-up generations."""


@dataclass(frozen=True)
class SendProbe:
    """Ask the engine for one token."""


@dataclass(frozen=True)
class TermEngine:
    """SIGTERM to the engine: it drains within its bound."""


@dataclass(frozen=True)
class KillEngine:
    """SIGKILL to everything that the engine started: open connections close, nothing hangs."""


@dataclass(frozen=True)
class Exit:
    """End the agent with this exit code."""

    code: int


Effect = StartWarmup | SendProbe | TermEngine | KillEngine | Exit
