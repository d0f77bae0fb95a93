"""`make bench-loadtest`: our harness against vllm bench, GuideLLM, AIPerf and inference-perf, and against its own aims.

Paired: every run's figure is compared with what the ground-truth server logged of that very run. The client is pinned
to one core, the server to another; tools take turns within each repeat. Prints a table and writes every raw figure.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from loadtest.truth.process import Truth, truth_process
from loadtest.truth.program import Program
from serving.embedded.model import prepare
from serving.embedded.progress import on_stream
from tests.bench.loadtest_process import run
from tests.bench.loadtest_rows import ROWS, Bench, NoResult
from tests.bench.loadtest_table import Row, row_of, table
from tests.bench.loadtest_tools import TOOLS, Job, Skipped, Tool, cache_directory, environment

PROGRAM = Program(ttft_ms=50, itl_ms=10, tokens=64, token_text=" the")
RUN_S = 300.0
MODEL = "truth"


def numbers(_: Any, __: Any, text: str) -> list[int]:
    """A list of numbers out of an option. Raises click.BadParameter."""
    try:
        return [int(word) for word in text.split(",") if word]
    except ValueError as error:
        raise click.BadParameter("give whole numbers with commas between them, e.g. 32,128") from error


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--tools", default=",".join(tool.name for tool in TOOLS), show_default=True, help="Which to compare.")
@click.option("--streams", default="32,128,256", show_default=True, callback=numbers, help="Closed loops to try.")
@click.option("--repeats", default=3, show_default=True, help="Turns of each tool at each number of streams.")
@click.option("--requests", type=int, help="Per run.  [default: the larger of 400 and 4 x streams]")
@click.option("--rows", default=",".join(ROWS), show_default=True, help="Our own further rows; empty for none.")
@click.option("--soak", default=60.0, show_default=True, help="Seconds of the drift row; 600 is the stated aim.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON of all raw figures.")
def main(
    tools: str, streams: list[int], repeats: int, requests: int | None, rows: str, soak: float, out: Path | None
) -> None:
    """Compare, and print. Takes about 25 minutes with everything; asserts nothing."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise click.ClickException("needs two cores: one for the client, one for the server")
    chosen = _chosen(tools.split(","), [tool.name for tool in TOOLS], "--tools")
    own = _chosen(rows.split(","), list(ROWS), "--rows")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = Path(tempfile.mkdtemp(prefix="warmgate-bench-"))
    found: list[Row] = []
    raw: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    try:
        with truth_process(PROGRAM, core=cores[1], model=MODEL) as truth:
            interpreters = _interpreters([tool for tool in TOOLS if tool.name in chosen], skipped)
            tokenizer = prepare(on_stream()) if interpreters.keys() - {"ours"} else Path()
            for repeat in range(repeats):
                for count in streams:
                    for number in range(len(interpreters)):  # every tool goes first once
                        name = list(interpreters)[(number + repeat) % len(interpreters)]
                        tool = next(tool for tool in TOOLS if tool.name == name)
                        job = Job(
                            truth.url, MODEL, tokenizer, count, requests or max(400, 4 * count), PROGRAM.tokens, work
                        )
                        row = _once(tool, interpreters[name], job, truth, repeat, cores[0], raw, skipped)
                        if row is not None:
                            found.append(row)
            if found:
                print(table(found, skipped), flush=True)
            bench = Bench(truth, PROGRAM, cores[0], work, soak)
            for name in own:
                try:
                    for line in ROWS[name](bench):
                        raw.append({"row": name, **asdict(line)})
                        print(line.text(), flush=True)
                except NoResult as why:
                    skipped[f"row {name}"] = str(why)
                    print(f"skipped row {name}: {why}", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if out is not None:
            out.write_text(json.dumps({"skipped": skipped, "runs": raw}, indent=1))


def _chosen(asked: list[str], known: list[str], option: str) -> list[str]:
    unknown = sorted({name for name in asked if name} - set(known))
    if unknown:
        raise click.BadParameter(f"no {', '.join(unknown)}: there are {', '.join(known)}", param_hint=option)
    return [name for name in known if name in asked]


def _interpreters(tools: list[Tool], skipped: dict[str, str]) -> dict[str, Path]:
    found = {}
    for tool in tools:
        try:
            found[tool.name] = tool.interpreter(cache_directory())
        except Skipped as why:
            skipped[tool.name] = str(why)
    return found


def _once(
    tool: Tool,
    python: Path,
    job: Job,
    truth: Truth,
    repeat: int,
    core: int,
    raw: list[dict[str, Any]],
    skipped: dict[str, str],
) -> Row | None:
    """One run of one tool, beside what the server saw of it."""
    shutil.rmtree(job.work, ignore_errors=True)
    job.work.mkdir()
    truth.reset(PROGRAM)
    ran = run(tool.command(python, job), job.work, timeout_s=RUN_S, core=core, env=environment(tool, cache_directory()))
    time.sleep(0.3)  # streams that a killed client left behind are noticed
    true = truth.summary()
    # Our harness says 3 when it finds that it was itself too late; its figures are then shown all the same.
    problem = None if tool.name == "ours" and ran.code in (0, 1, 3) else ran.problem
    try:
        if problem is not None:
            raise Skipped(problem)
        reported = tool.read(job, ran)
        row = row_of(tool.name, job.streams, repeat, reported, true, ran.cpu_s)
    except (Skipped, OSError, ValueError, KeyError, TypeError) as error:
        why = str(error) if isinstance(error, Skipped) else f"no figures: {type(error).__name__} {error}"
        skipped[f"{tool.name} at {job.streams} streams"] = why
        raw.append({"tool": tool.name, "streams": job.streams, "repeat": repeat, "problem": why, "truth": true})
        return None
    raw.append({**asdict(row), "truth": true, "more": reported.more, "wall_s": ran.wall_s, "peak_kib": ran.peak_kib})
    p50, p99 = row.errors
    print(f"{job.streams:4} streams  {tool.name:14}  TTFT error p50 {p50:+.2f}  p99 {p99:+.2f} ms", flush=True)
    return row


if __name__ == "__main__":
    main()
