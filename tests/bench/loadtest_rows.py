"""Our harness against its own aims, beyond the comparison: rate, lag, drift, tokens, freeze, CPU, memory."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

from loadtest.telemetry.files import HARNESS_FILE
from loadtest.truth.process import Truth
from loadtest.truth.program import Program
from serving.facts.quantiles import quantile
from serving.facts.traffic import Traffic, read_ledger
from tests.bench.loadtest_process import Ran, run

JUDGED: Final = (0, 1, 3)
FREEZE_AT_S, FREEZE_S, FREEZE_RATE, FREEZE_RUN_S = 6.0, 5.0, 20, 20
QUICK: Final = Program(ttft_ms=5, itl_ms=1, tokens=16, token_text=" the")
EXACT: Final = {
    "one token a chunk": Program(tokens=20),
    "seven tokens a chunk": Program(tokens=20, tokens_per_chunk=7),
    "a byte at a time": Program(tokens=20, cut=1),
    "split in two, with a pause": Program(tokens=20, cut_at=17, cut_gap_ms=1),
    "CRLF, comments, empty chunks": Program(tokens=20, newline="\r\n", comments=True, empty_chunks=True),
    "CR": Program(tokens=20, newline="\r"),
    "early role": Program(tokens=20, role_early=True),
    "coalesced": Program(tokens=20, coalesce=True, comments=True),
    "one body with a length": Program(tokens=20, framing="length"),
    "until the connection closes": Program(tokens=20, framing="close"),
    "interim responses": Program(tokens=20, interim=True),
    "reasoning first": Program(tokens=20, reasoning_chunks=5),
    "tool calls": Program(tokens=20, tool_chunks=True),
    "a burst": Program(tokens=500, ttft_ms=0, itl_ms=0),
    "jitter": Program(tokens=20, jitter_ms=8),
}


class NoResult(Exception):
    """A run of ours that says nothing."""


@dataclass(frozen=True)
class Line:
    """One figure, what it is of, and its aim."""

    what: str
    figure: str
    aim: str = ""
    values: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """As it is printed."""
        return f"{self.what:<76} {self.figure:>34}   {self.aim}".rstrip()


@dataclass(frozen=True)
class Bench:
    """Where the rows run."""

    truth: Truth
    program: Program
    core: int
    work: Path
    soak_s: float

    def ours(self, program: Program, *options: object, timeout_s: float = 300.0) -> Run:
        """Run our harness once under this program."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        self.truth.reset(program)
        command = [sys.executable, "-m", "loadtest", "--profile", "smoke", "--no-gates", "--seed", "1"]
        command += ["--base-url", self.truth.url, "--report-dir", "report", "--output", "json", *map(str, options)]
        ran = run(command, self.work, timeout_s=timeout_s, core=self.core)
        ledger = self.work / "report" / "ledger.jsonl"
        if ran.code not in JUDGED or ran.timed_out or not ledger.exists() or not ran.out:
            raise NoResult(f"our harness gave no result: {ran.problem}")
        with ledger.open() as lines:
            return Run(ran, json.loads(ran.out), read_ledger(lines, ledger.name), self.truth.summary())


@dataclass(frozen=True)
class Run:
    """One run of ours: the process, its document, its ledger, and what the server saw."""

    ran: Ran
    document: dict[str, Any]
    traffic: Traffic
    true: dict[str, Any]

    def error(self, metric: str = "ttft_ms") -> str:
        """Reported minus true TTFT, p50 and p99, as it is shown."""
        told, true = self.document["metrics"][metric], self.true["ttft_ms"]
        return f"{told['p50'] - true['p50']:+.2f} / {told['p99'] - true['p99']:+.2f} ms"


def rate(bench: Bench) -> Iterator[Line]:
    """As many tokens as one core can be sent, still timed well."""
    for streams in (384, 512):
        found = bench.ours(bench.program, "--streams", streams, "--requests", 6 * streams, "--output-tokens", 64)
        per_s = found.document["tokens"]["output_per_s"]
        aim = ">= 30,000" if streams == 384 else ""
        yield Line(f"output tokens received a second, {streams} streams", f"{per_s:,.0f}", aim, found.true)
        yield Line("    TTFT error, p50 / p99", found.error(), "2 / 10 ms" if streams == 384 else "")
        yield Line("    TTFT error on the wire, p50 / p99", found.error("ttft_wire_ms"))


def lag(bench: Bench) -> Iterator[Line]:
    """How late an open loop sends."""
    for per_s, aim in ((50, 2), (200, 5)):
        found = bench.ours(bench.program, "--rate", per_s, "--arrivals", "constant", "--duration", 20)
        late, load = found.document["metrics"]["schedule_lag_ms"], found.document["load"]
        achieved = load["achieved_per_s"] / load["offered_per_s"]
        yield Line(f"schedule lag p99 at {per_s} requests/s", f"{late['p99']:.2f} ms", f"<= {aim} ms", late)
        yield Line(f"achieved / offered at {per_s} requests/s", f"{achieved:.4f}", "0.995 .. 1.005", load)


def drift(bench: Bench) -> Iterator[Line]:
    """Whether sends fall behind over a long run, and memory grows by more than what is kept of each request."""
    found = bench.ours(
        replace(bench.program, tokens=8),
        *("--rate", 50, "--arrivals", "constant", "--duration", bench.soak_s),
        timeout_s=bench.soak_s + 120,
    )
    late = [(one.sent_s - one.scheduled_s) * 1e3 for one in found.traffic.requests if one.sent_s is not None]
    tenth = max(1, len(late) // 10)
    first, last = median(late[:tenth]), median(late[-tenth:])
    figure = f"{first:.3f} -> {last:.3f} ms"
    yield Line(f"lag over {bench.soak_s:.0f} s, first and last tenth (median)", figure, "no drift")
    yield _growth(bench, found.traffic)


def _growth(bench: Bench, traffic: Traffic) -> Line:
    """How much the resident memory grew from the first tenth of the run to the last, by the harness's own telemetry."""
    rows = [json.loads(line) for line in (bench.work / "report" / HARNESS_FILE).read_text().splitlines()]
    mib = [values["harness_resident_mib"] for row in rows if (values := row.get("values"))]
    tenth = max(1, len(mib) // 10)
    first, last = median(mib[:tenth]), median(mib[-tenth:])
    apart = 0.9 * len(traffic.requests)
    figure = f"{first:.1f} -> {last:.1f} MiB, {(last - first) * 2**20 / apart:.0f} bytes a request"
    return Line(f"resident memory over {bench.soak_s:.0f} s, first and last tenth (median)", figure, "<= 1,056 bytes")


def tokens(bench: Bench) -> Iterator[Line]:
    """Every token of every program, counted once."""
    wrong = []
    for name, program in EXACT.items():
        found = bench.ours(program, "--streams", 4, "--requests", 40, "--output-tokens", program.tokens)
        counted = [one.completion_tokens for one in found.traffic.requests if one.ok]
        per_chunk = [one.tokens_per_chunk for one in found.traffic.requests if one.ok]
        chunks_right = all(carried is not None and sum(carried) == program.tokens for carried in per_chunk)
        if counted != [program.tokens] * 40 or found.true["tokens"] != 40 * program.tokens or not chunks_right:
            wrong.append(name)
    figure = "exact" if not wrong else f"wrong: {', '.join(wrong)}"
    yield Line(f"output tokens over {len(EXACT)} server programs", figure, "exact", {"wrong": wrong})


def freeze(bench: Bench) -> Iterator[Line]:
    """A server that stands still: everyone who should have been served shows it."""
    timer = threading.Timer(FREEZE_AT_S, bench.truth.freeze, (FREEZE_S,))
    options = ("--rate", FREEZE_RATE, "--arrivals", "constant", "--duration", FREEZE_RUN_S)
    timer.start()
    try:
        found = bench.ours(Program(ttft_ms=50, itl_ms=5, tokens=8, token_text=" the"), *options)
    finally:
        timer.cancel()
    arrivals, thaw = _frozen(bench.truth.requests())
    first = arrivals[0]
    due = [first + number / FREEZE_RATE for number in range(len(arrivals))]
    began = thaw - FREEZE_S
    expected = [max(0.05, thaw - at) if began - 0.05 < at < thaw else 0.05 for at in due]
    truth = quantile(expected, 0.99) * 1e3
    told = found.document["metrics"]["ttft_ms"]["p99"]
    shown = sum(one.first_s is None or one.first_s - one.scheduled_s > 0.1 for one in found.traffic.requests)
    yield Line("requests that show a freeze of 5 s at 20 requests/s", str(shown), "about 100")
    yield Line("TTFT p99 against the analytic value", f"{told:.0f} / {truth:.0f} ms, {told / truth - 1:+.2%}", "2 %")


def _frozen(served: list[dict[str, Any]]) -> tuple[list[float], float]:
    """When the requests arrived, in seconds, and the moment of the thaw: when most first tokens left at once."""
    arrivals = sorted(one["arrived_ns"] / 1e9 for one in served)
    firsts = sorted(one["sent_ns"][0] / 1e9 for one in served if one["sent_ns"])
    return arrivals, max((later - one, later) for one, later in pairwise(firsts))[1]


def cost(bench: Bench) -> Iterator[Line]:
    """CPU of a chunk and of a request: the slope over runs of several sizes, so that start-up is not in it.

    While the load runs by the harness's own count, at two loads, because a chunk that comes alone wakes a process that
    had gone to sleep; then of the whole process by the kernel's, reports included.
    """
    whole, aims = {}, ("<= 25 us", "<= 150 us")
    for streams in (256, 128):
        own = {}
        for size in ((400, 64), (1600, 64), (1600, 16)):
            found = bench.ours(replace(bench.program, tokens=size[1]), "--streams", streams, "--requests", size[0])
            own[size], whole[size] = found.traffic.end.cpu_s or 0.0, found.ran.cpu_s
        yield from _slopes(own, f"while the load runs, {streams} streams", *aims)
    yield from _slopes(whole, "of the whole process, its report included", "", "")


def _slopes(cpu_s: dict[tuple[int, int], float], when: str, chunk_aim: str, request_aim: str) -> Iterator[Line]:
    per_chunk = (cpu_s[1600, 64] - cpu_s[1600, 16]) / (1600 * 48) * 1e6
    per_request = (cpu_s[1600, 64] - cpu_s[400, 64]) / 1200 * 1e6 - 64 * per_chunk
    yield Line(f"CPU per chunk {when}", f"{per_chunk:.1f} us", chunk_aim)
    yield Line(f"CPU per request beside its chunks {when}", f"{per_request:.0f} us", request_aim)


def memory(bench: Bench) -> Iterator[Line]:
    """Memory kept of a request and of a chunk: slopes of the peak, likewise."""
    peaks = {}
    for requests, count in ((1000, 16), (9000, 16), (1000, 256)):
        program = replace(QUICK, tokens=count)
        found = bench.ours(program, "--streams", 12, "--requests", requests)
        peaks[requests, count] = found.ran.peak_kib * 1024
    per_chunk = (peaks[1000, 256] - peaks[1000, 16]) / (1000 * 240)
    per_request = (peaks[9000, 16] - peaks[1000, 16]) / 8000 - 16 * per_chunk
    yield Line("memory kept per chunk", f"{per_chunk:.1f} bytes", "<= 4 bytes")
    yield Line("memory kept per request beside its chunks", f"{per_request:.0f} bytes", "<= 1,024 bytes")


ROWS: Final[dict[str, Callable[[Bench], Iterator[Line]]]] = {
    "rate": rate,
    "lag": lag,
    "drift": drift,
    "tokens": tokens,
    "freeze": freeze,
    "cost": cost,
    "memory": memory,
}
