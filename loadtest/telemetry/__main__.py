"""The sampler's process, `python -m loadtest.telemetry`: looks, and writes what it sees until it is told to end.

Started by `loadtest.telemetry.sampler`, which says on stdin whom to ask (one JSON line) and then when the run began
(another), and reads the first look from stdout. It ends on SIGTERM after one more look; at once when stdin ends, for
then its parent has; and at its bound.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from loadtest.telemetry.collect import rows_of, watch
from loadtest.telemetry.files import Rows
from loadtest.telemetry.options import Ask
from loadtest.telemetry.readers import Look, look_at
from serving.child import die_with_parent
from serving.errors import WarmgateError
from serving.facts.telemetry import line_of
from serving.observe.http import open_client

FIRST_BOUND_S: Final = 1.5
COURTESY: Final = 5  # nice: a look may wait for the load, never the load for a look


def main() -> int:
    """Sample until the end; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who ends us
    die_with_parent()
    os.nice(COURTESY)
    try:
        return asyncio.run(_main())
    except WarmgateError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


async def _main() -> int:
    stdin = await _stdin()
    line = await stdin.readline()
    if not line:
        return 0
    config: dict[str, Any] = json.loads(line)
    ca_cert = Path(config["ca_cert"]) if config["ca_cert"] else None
    async with open_client(ca_cert) as client:
        asked = [(ask, look_at(ask, client, ca_cert)) for ask in (Ask(**one) for one in config["asks"])]
        there = await _first_look(asked)
        origin = await stdin.readline()
        if origin and there:
            await _sample(there, Path(config["path"]), int(origin), config["bound_s"], stdin)
    return 0


async def _first_look(asked: list[tuple[Ask, Look]]) -> list[tuple[Ask, Look]]:
    """Look once at each source, tell the parent, and keep those that are asked for or there."""
    first = await asyncio.gather(*(rows_of(ask, look, lambda: 0.0, FIRST_BOUND_S) for ask, look in asked))
    there, rows = [], []
    for (ask, look), seen in zip(asked, first, strict=True):
        if ask.tentative and seen[0].missed is not None:
            continue
        there.append((ask, look))
        rows += seen
    body = {"sources": [ask.name for ask, _ in there], "rows": [line_of(row) for row in rows]}
    sys.stdout.write(json.dumps(body) + "\n")
    sys.stdout.flush()
    return there


async def _sample(
    asked: list[tuple[Ask, Look]], path: Path, origin_ns: int, bound_s: float, stdin: asyncio.StreamReader
) -> None:
    """Write rows until SIGTERM, the bound, or the parent's end, which needs no last look. Raises CannotAct."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    orphaned = asyncio.create_task(stdin.read())

    def clock() -> float:
        return (time.perf_counter_ns() - origin_ns) / 1e9

    with Rows(path, origin_ns, tuple(ask.source for ask, _ in asked)) as rows:
        watches = asyncio.gather(*(watch(ask, look, clock, rows.put, stopping) for ask, look in asked))
        await asyncio.wait((watches, orphaned), timeout=bound_s, return_when=asyncio.FIRST_COMPLETED)
        if not watches.done():
            watches.cancel()
        with suppress(asyncio.CancelledError):
            await watches  # raises what ended them


async def _stdin() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a thread that waits for the NVIDIA driver must not keep us
