"""Writes `/modelz`: one life, its settings and what was measured, as the document that everyone reads. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from serving import __version__
from serving.agent.engine_args import EngineArgs
from serving.agent.lifecycle import Life, Rules
from serving.facts.model import (
    SCHEMA,
    Budget,
    Engine,
    GpuMemory,
    Heartbeat,
    Identity,
    KvCache,
    Modelz,
    State,
    Transition,
    Warmup,
)


@dataclass
class Measured:
    """What the shell has measured so far, beside the lifecycle."""

    version: str | None = None
    device: str | None = None
    pid: int | None = None
    exit_code: int | None = None
    resident_bytes: int | None = None
    last_lines: tuple[str, ...] = ()
    running: int = 0
    waiting: int = 0
    kv_cache: KvCache | None = None
    warmup: Warmup | None = None
    gpus: tuple[GpuMemory, ...] | None = None
    gpus_unseen: str | None = None


def modelz(
    life: Life, rules: Rules, engine: EngineArgs, budget: Budget, measured: Measured, now: float, wall_offset: float
) -> Modelz:
    """The document now. `wall_offset` turns the machine's clock into Unix seconds."""

    def stamp(at: float) -> str:
        moment = datetime.fromtimestamp(at + wall_offset, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    ended = life.state in (State.FAILED, State.STOPPED)
    serving = life.served_names and not ended
    return Modelz(
        schema=SCHEMA,
        state=life.state,
        reason=life.reason,
        since=stamp(life.since),
        ready=life.ready,
        live=life.live(now, rules),
        agent_version=__version__,
        uptime_s=round(now - life.born, 3),
        identity=Identity(engine.model, rules.expected_name, life.served_names),
        engine=Engine(
            version=measured.version,
            pid=measured.pid,
            exit_code=measured.exit_code,
            resident_bytes=measured.resident_bytes,
            last_lines=measured.last_lines if ended else (),
            device=measured.device,
        ),
        phases=phases(life, now),
        transitions=tuple(Transition(stamp(c.at), c.source, c.target, c.reason) for c in life.history),
        shutdown=budget,
        kv_cache=measured.kv_cache,
        warmup=measured.warmup,
        heartbeat=Heartbeat(measured.running, measured.waiting, round(now - life.proof_at, 3)) if serving else None,
        gpus=measured.gpus,
        gpus_unseen=measured.gpus_unseen,
    )


def phases(life: Life, now: float) -> dict[State, float]:
    """Seconds spent in each state so far, in the order of first entry."""
    spent = {**life.spent, life.state: life.spent.get(life.state, 0.0) + now - life.since}
    return {state: round(seconds, 3) for state, seconds in spent.items()}


def to_json(document: Modelz) -> bytes:
    """The document as it goes over the wire."""
    return json.dumps(asdict(document), ensure_ascii=False).encode()
