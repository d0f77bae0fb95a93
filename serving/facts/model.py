"""What an agent says about its model: the document behind `/modelz`, schema `warmgate.modelz/v1`.

Frozen dataclasses only. The agent writes them, `verify` reads them, and docs/modelz.schema.json is generated from them
(`python -m serving.facts.model`). Readers ignore unknown fields, so fields may be added within v1 and never renamed.
Times are RFC 3339 in UTC, durations are seconds, sizes are bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from pydantic import TypeAdapter

SCHEMA: Final = "warmgate.modelz/v1"


class State(StrEnum):
    """The states of a model server. Only READY receives traffic."""

    STARTING = "starting"
    DOWNLOADING = "downloading"
    LOADING = "loading"
    COMPILING = "compiling"
    WARMING = "warming"
    READY = "ready"
    SLEEPING = "sleeping"
    STALLED = "stalled"
    OVER_BUDGET = "over_budget"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class Transition:
    """One change of state: when, from where, to where, and why."""

    at: str
    source: State
    target: State
    reason: str


@dataclass(frozen=True)
class Identity:
    """Which model was asked for, under which name, and under which names the engine serves."""

    path: str
    expected_name: str
    served_names: tuple[str, ...]


@dataclass(frozen=True)
class Engine:
    """The process that serves: its version, pid, and, once it ended, its exit code and the last telling log lines.

    `device` is where it computes, in vLLM's words (`cuda`, `cpu`, ...); None before its log has told.
    """

    version: str | None
    pid: int | None
    exit_code: int | None
    resident_bytes: int | None
    last_lines: tuple[str, ...] = ()
    device: str | None = None


@dataclass(frozen=True)
class KvCache:
    """The engine's own report of its KV cache: capacity in tokens, and how many full-length requests fit at once."""

    tokens: int
    max_concurrency: float


@dataclass(frozen=True)
class GpuMemory:
    """One GPU (or MIG device) as NVML reports it, in bytes. `used` excludes `reserved` where NVML tells them apart."""

    index: int
    uuid: str
    name: str
    total_bytes: int
    used_bytes: int
    free_bytes: int
    reserved_bytes: int | None


@dataclass(frozen=True)
class Warmup:
    """The warm-up generations: TTFT of each in milliseconds, in order, and whether the last ones had settled.

    `spread` is (max - min) / median of the last `window` TTFTs; None until there are that many.
    """

    requests: int
    ttft_ms: tuple[float, ...]
    spread: float | None
    settled: bool
    seconds: float


@dataclass(frozen=True)
class Heartbeat:
    """Whether the engine moves: requests running and waiting, and seconds since its iterations last moved."""

    running: int
    waiting: int
    idle_s: float | None


@dataclass(frozen=True)
class Budget:
    """The parts of an orderly end, in seconds. `grace` is their sum: the number for terminationGracePeriodSeconds."""

    lame_duck_s: float
    drain_s: float
    teardown_s: float
    grace_s: int


@dataclass(frozen=True)
class Modelz:
    """The model's real state. `ready` and `live` are what `/readyz` and `/livez` answer."""

    schema: Literal["warmgate.modelz/v1"]
    state: State
    reason: str
    since: str
    ready: bool
    live: bool
    agent_version: str
    uptime_s: float
    identity: Identity
    engine: Engine
    phases: dict[State, float]
    transitions: tuple[Transition, ...]
    shutdown: Budget
    kv_cache: KvCache | None = None
    warmup: Warmup | None = None
    heartbeat: Heartbeat | None = None
    gpus: tuple[GpuMemory, ...] | None = None
    gpus_unseen: str | None = None


def json_schema() -> str:
    """The text of docs/modelz.schema.json (JSON Schema, draft 2020-12)."""
    schema = TypeAdapter(Modelz).json_schema(mode="serialization")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "/modelz"}
    return json.dumps(head | {key: value for key, value in schema.items() if key != "title"}, indent=2) + "\n"


if __name__ == "__main__":
    print(json_schema(), end="")
