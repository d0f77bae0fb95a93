"""Looks at each source at every tick of the run's clock, and hands on rows. Sources never wait for each other.

A look that takes longer than a tick costs its source the ticks in between: each is a miss with its reason, so that a
judge can tell a server that was seen from one that was not.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

from loadtest.telemetry.options import Ask
from loadtest.telemetry.readers import Look
from serving.errors import CannotObserve
from serving.facts.telemetry import Row

BOUND_S: Final = 2.0

Clock = Callable[[], float]
Put = Callable[[Row], None]


async def rows_of(ask: Ask, look: Look, clock: Clock, bound_s: float = BOUND_S) -> list[Row]:
    """One look as rows: one for the source, or one for each device; or a miss."""
    try:
        readings = await look(bound_s)
    except CannotObserve as error:
        return [Row(clock(), ask.name, missed=" ".join(str(error).split())[:300])]
    at_s = clock()
    return [
        Row(at_s, f"{ask.name}:{reading.device}" if reading.device else ask.name, reading.values, state=reading.state)
        for reading in readings
    ]


async def watch(ask: Ask, look: Look, clock: Clock, put: Put, stopping: asyncio.Event) -> None:
    """Look at once, then at every tick, and once more when `stopping` is set: a counter's last value matters most.

    A tick that is less than half a tick old is not lost yet: it is looked at late.
    """
    tick = math.floor(clock() / ask.every_s)
    while True:
        asked_s = clock()
        for row in await rows_of(ask, look, clock):
            put(row)
        if stopping.is_set():
            return
        now_s = clock()
        following = max(tick + 1, math.ceil(now_s / ask.every_s - 0.5))
        slow = now_s - asked_s > ask.every_s / 2
        why = f"the look before took {now_s - asked_s:.1f} s" if slow else "the sampler got no processor time"
        for lost in range(tick + 1, following):
            put(Row(lost * ask.every_s, ask.name, missed=why))
        tick = following
        try:
            await asyncio.wait_for(stopping.wait(), tick * ask.every_s - now_s)
        except TimeoutError:
            continue
