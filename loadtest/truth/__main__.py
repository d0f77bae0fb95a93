"""The ground truth as a process: `python -m loadtest.truth`. Prints its URL on the first line, ends with its parent."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from loadtest.truth.program import read_program
from loadtest.truth.server import SseServer
from serving.child import die_with_parent


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--port", default=0, show_default=True, help="0 takes a free one.")
@click.option("--model", default="truth", show_default=True, help="The served model's name.")
@click.option("--ttft-ms", default=50.0, show_default=True, help="From a request's arrival to its first token.")
@click.option("--itl-ms", default=10.0, show_default=True, help="Between token chunks.")
@click.option("--tokens", default=64, show_default=True, help="Tokens of each answer.")
@click.option("--jitter-ms", default=0.0, show_default=True, help="Uniform, per chunk, not cumulative.")
@click.option("--program", default="{}", metavar="JSON", help="More fields of the program, as in '{\"cut\": 1}'.")
@click.option("--seed", default=0, show_default=True, help="Of the jitter.")
@click.option("--idle-close", type=float, metavar="SECONDS", help="Close connections that are idle so long.")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="Append one line of JSON per request.")
@click.option("--core", type=int, help="Stay on this core, at real-time priority where that is permitted.")
def command(
    port: int,
    model: str,
    ttft_ms: float,
    itl_ms: float,
    tokens: int,
    jitter_ms: float,
    program: str,
    seed: int,
    idle_close: float | None,
    log: Path | None,
    core: int | None,
) -> None:
    """Serve streamed completions with exactly known times, and tell at /truth what was sent when.

    \b
    Examples:
      python -m loadtest.truth --ttft-ms 50 --itl-ms 10 --tokens 64
      python -m loadtest.truth --core 1 --log truth.jsonl --program '{"tokens_per_chunk": 4}'
    """
    die_with_parent()
    if core is not None:
        os.sched_setaffinity(0, {core})
        with suppress(OSError):  # others on this core must not make the truth late
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        fields = read_program(program)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--program") from error
    timed = replace(fields, ttft_ms=ttft_ms, itl_ms=itl_ms, tokens=tokens, jitter_ms=jitter_ms)
    server = SseServer(
        timed, port=port, model=model, seed=seed, idle_close_s=idle_close, texts=False, log=log, start=False
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    gc.collect()
    gc.freeze()
    gc.disable()  # nothing here is cyclic for long, and a collection is a lateness
    server.run()


if __name__ == "__main__":
    command()
