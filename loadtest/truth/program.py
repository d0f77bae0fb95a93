"""What the server does with one request, as data. Pure: nothing is sent or timed here.

All times are milliseconds. They are absolute: token chunk k is due at arrival + ttft + k * itl (+ its own jitter),
however late the chunks before it were.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Literal

import msgspec

Fault = Literal["error_event", "truncate", "abort", "no_done", "no_finish", "reset", "stall", "not_json", "no_content"]


@dataclass(frozen=True)
class Program:
    """What the server does with one request. `fault` strikes after `fault_after` token chunks.

    Jitter is uniform on [0, jitter_ms), independent for each token chunk, and never reorders chunks. With `grid_ms`
    every token chunk waits for the next multiple of it on the server's clock, as the streams of one decode batch do.
    A stream pauses `pause_ms` before token chunk number `pause_after`. `token_text` is a token's text, {} its number.
    `cut` sends every write in pieces of so many bytes, `cut_at` in two pieces at this byte; `cut_gap_ms` lies between
    pieces, so that a reader sees them apart.
    """

    status: int = 200
    content_type: str = "text/event-stream; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    headers_ms: float = 0.0
    ttft_ms: float = 5.0
    itl_ms: float = 2.0
    jitter_ms: float = 0.0
    grid_ms: float = 0.0
    pause_after: int | None = None
    pause_ms: float = 0.0
    tokens: int = 6
    tokens_per_chunk: int = 1
    token_text: str = " tök{}"
    prompt_tokens: int = 7
    cached_tokens: int | None = None
    reasoning_chunks: int = 0
    tool_chunks: bool = False
    answer: str | None = None
    role_chunk: bool = True
    role_early: bool = False
    empty_chunks: bool = False
    usage: bool = True
    newline: str = "\n"
    comments: bool = False
    coalesce: bool = False
    framing: Literal["chunked", "length", "close"] = "chunked"
    cut: int | None = None
    cut_at: int | None = None
    cut_gap_ms: float = 0.0
    interim: bool = False
    fault: Fault | None = None
    fault_after: int = 3
    keep_open: bool = False
    hang_up: bool = False
    drop: bool = False


def read_program(text: bytes | str) -> Program:
    """A program from the JSON of its fields. Raises ValueError, in one line, for anything else."""
    body = json.loads(text)
    if not isinstance(body, dict):
        raise ValueError("a program is a JSON object of its fields")
    known = {field.name for field in fields(Program)}
    if unknown := sorted(body.keys() - known):
        raise ValueError(f"a program has no {', '.join(unknown)}: it has {', '.join(sorted(known))}")
    try:
        program = msgspec.convert(body, Program)
    except msgspec.ValidationError as error:
        raise ValueError(f"a program's fields have types: {error}") from error
    if program.tokens_per_chunk < 1 or (program.cut is not None and program.cut < 1):
        raise ValueError("tokens_per_chunk and cut are 1 or more")
    return program
