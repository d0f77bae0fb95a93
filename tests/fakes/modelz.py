"""A ready model as its agent describes it; tests change what they are about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from serving.facts.model import Budget, Engine, GpuMemory, Heartbeat, Identity, Modelz, State, Warmup

MIB = 1024**2
GIB = 1024**3

READY = Modelz(
    schema="warmgate.modelz/v1",
    state=State.READY,
    reason="warm-up done",
    since="2026-08-21T10:00:30.000Z",
    ready=True,
    live=True,
    agent_version="0.1.0",
    uptime_s=34.0,
    identity=Identity("/models/smollm2", "smollm2", ("smollm2",)),
    engine=Engine("0.32.0", 4242, None, 1300 * MIB),
    phases={State.STARTING: 2.0, State.LOADING: 12.5, State.WARMING: 3.0, State.READY: 16.5},
    transitions=(),
    shutdown=Budget(5.0, 60.0, 5.0, 70),
    warmup=Warmup(4, (210.0, 99.0, 98.0, 97.0), 0.02, True, 3.0),
    heartbeat=Heartbeat(0, 0, 0.4),
    gpus=None,
    gpus_unseen="no NVIDIA driver on this host (no /dev/nvidia*)",
)


def modelz(**changes: Any) -> Modelz:
    """The ready model with some fields changed. A state other than ready is neither ready nor, by itself, dead."""
    if "state" in changes:
        changes.setdefault("ready", changes["state"] is State.READY)
    return replace(READY, **changes)


def gpu(**changes: Any) -> GpuMemory:
    """An H100 with an engine on it and 9 GiB free."""
    full = GpuMemory(0, "GPU-0", "NVIDIA H100 80GB HBM3", 80 * GIB, 70 * GIB, 9 * GIB, 1 * GIB)
    return replace(full, **changes)
