"""`warmgate loadtest --self-check`: the harness as it is here and now, held to a server that logs its own sends.

It decides whether this harness, on this machine, may be believed. It loads the ground truth in a process of its own
through the real engine, and compares request by request. Where the server itself was late, nothing is concluded.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

from loadtest.profile import Profile
from loadtest.run import Run
from loadtest.target import target_of
from loadtest.truth.honesty import Bounds, Compared, compare, did_of, told_of, violations
from loadtest.truth.process import Truth, truth_process
from loadtest.truth.program import Program
from serving.codes import HARNESS_EXACT, HARNESS_ON_TIME, Code
from serving.facts.histogram import Histogram
from serving.facts.traffic import Traffic
from serving.report.json import report_document
from serving.report.text import color_wanted, render_text
from serving.verdict import Finding, Report, Verdict

SEED: Final = 7
STREAMS: Final = (1, 32, 128)
TTFT_BOUNDS_MS: Final = {1: (0.3, 1.0), 32: (0.3, 1.0), 128: (0.5, 3.0), 256: (1.0, 5.0)}
SERVER_LATE_MS: Final = 5.0  # it states what it did, however late; but a machine this busy says little of the harness
TPOT_SHARE: Final = 0.01
RATE: Final = 50
LAG_MS: Final = 2.0
TIMED: Final = Program(ttft_ms=50, itl_ms=10, tokens=32)
AWKWARD: Final = (
    Program(tokens=20, tokens_per_chunk=7, newline="\r\n", comments=True, empty_chunks=True),
    Program(tokens=20, cut_at=17, cut_gap_ms=1, role_early=True),
    Program(tokens=20, cut=1),
    Program(tokens=300, ttft_ms=0, itl_ms=0, coalesce=True),
    Program(tokens=20, framing="length"),
    Program(tokens=20, fault="error_event"),
    Program(tokens=20, fault="truncate"),
    Program(tokens=20, fault="no_finish"),
    Program(status=503),
)
Say = Callable[[str], None]


@dataclass(frozen=True)
class Level:
    """One run against the server: what was asked, and how far what was told is from what was true."""

    name: str
    streams: int | None
    compared: Compared
    server_late_p99_ms: float | None
    client_lag_p99_ms: float | None
    cpu_us_per_chunk: float | None


def check_itself(output: str = "text") -> int:
    """Check, print on stdout, and return the exit code: 0 pass, 1 fail, 3 the server was late and nothing is known."""
    report, levels = run(say=lambda line: click.echo(line, err=True))
    if output == "json":
        body = {
            **report_document(report),
            "command": "loadtest --self-check",
            "levels": [asdict(one) for one in levels],
        }
        sys.stdout.write(json.dumps(body, indent=2) + "\n")
    else:
        sys.stdout.write(render_text(report, color=color_wanted(sys.stdout, os.environ)))
    return report.exit_code


def run(streams: Sequence[int] = STREAMS, say: Say = lambda _: None) -> tuple[Report, tuple[Level, ...]]:
    """Load the ground truth at each number of streams, on a schedule, and through awkward answers; judge it all."""
    with _apart() as core, truth_process(TIMED, core=core) as truth:
        levels = []
        for count in streams:
            say(f"self-check: {count} stream{'s' * (count > 1)}")
            load = {"closed_loop": {"concurrency": count, "requests": max(24, 8 * count)}, "seed": SEED}
            levels.append(measure(truth, f"{count} stream{'s' * (count > 1)}", count, TIMED, load))
        say(f"self-check: {RATE} requests a second")
        load = {"arrivals": "constant", "rate_rps": RATE, "duration_s": 5.0, "seed": SEED}
        scheduled = measure(truth, f"{RATE}/s", None, replace(TIMED, tokens=8), load)
        say(f"self-check: {len(AWKWARD)} awkward answers")
        load = {"closed_loop": {"concurrency": 4, "requests": 24}, "seed": SEED}
        awkward = [measure(truth, f"awkward {number}", 4, one, load) for number, one in enumerate(AWKWARD)]
    found = [finding for level in levels for finding in _streamed(level)]
    return Report("self-check", (*found, _sent(scheduled), _counted(awkward))), (*levels, scheduled, *awkward)


@contextmanager
def _apart() -> Iterator[int | None]:
    """Give the server the last core and keep the others for ourselves, where there are two."""
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        yield None
        return
    os.sched_setaffinity(0, cores - {max(cores)})
    try:
        yield max(cores)
    finally:
        os.sched_setaffinity(0, cores)


def measure(truth: Truth, name: str, streams: int | None, program: Program, load: dict[str, Any]) -> Level:
    """Load the server under this program through the real engine, and compare."""
    profile = Profile.model_validate({"load": load, "max_tokens": program.tokens, "no_gates": True, "drain_s": 20})
    truth.reset(program)
    with tempfile.TemporaryDirectory(prefix="warmgate-self-check-") as directory:
        harness = Run("self-check", profile, target_of(truth.url), None)
        harness.preflight()
        traffic = harness.perform(Path(directory))
    late = truth.summary()["lateness_ms"]
    return Level(
        name,
        streams,
        compare(told_of(traffic), did_of(truth.requests())),
        None if late is None else late["p99"],
        _client_lag_ms(traffic),
        traffic.end.cpu_s / traffic.end.chunks * 1e6 if traffic.end.cpu_s and traffic.end.chunks else None,
    )


def _client_lag_ms(traffic: Traffic) -> float | None:
    if traffic.end.client_lag is None:
        return None
    histogram = Histogram.of_document(traffic.end.client_lag)
    return histogram.quantile(0.99) if histogram.count else None


def _streamed(level: Level) -> Iterator[Finding]:
    """TTFT and TPOT of a closed loop. What a chunk cost in processor time is told, and judged by nobody here."""
    found, streams = level.compared, level.streams or 0
    p50, p99 = TTFT_BOUNDS_MS[min((known for known in TTFT_BOUNDS_MS if known >= streams), default=256)]
    bounds = Bounds(ttft_p50_ms=p50, ttft_p99_ms=p99)
    error, true, told = found.ttft_error_ms, found.ttft_true_ms, found.ttft_told_ms
    shown = "not seen" if error is None else f"{error[0]:+.2f} / {error[1]:+.2f} ms"
    why = "" if true is None or told is None else f"told {_pair(told)}, true {_pair(true)} ms at p50 / p99"
    yield _judged(
        f"TTFT, {level.name}", shown, f"off by <= {p50:g} / {p99:g} ms", level, violations(found, bounds), why
    )
    shown = "not seen" if found.tpot_share is None else f"{found.tpot_share:+.3%}"
    why = f"client lag p99 {level.client_lag_p99_ms or 0:.2f} ms, {level.cpu_us_per_chunk or 0:.0f} us of CPU a chunk"
    yield _judged(
        f"TPOT, {level.name}",
        shown,
        f"off by <= {TPOT_SHARE:.0%}",
        level,
        violations(found, Bounds(tpot_share=TPOT_SHARE)),
        why,
    )


def _sent(level: Level) -> Finding:
    """The schedule, as the server saw it kept."""
    lag = level.compared.lag_p99_ms
    shown = "not seen" if lag is None else f"{lag:.2f} ms p99"
    bounds = Bounds(lag_p99_ms=LAG_MS)
    why = "arrivals at the server against the schedule"
    return _judged(
        f"lag, {level.name}",
        shown,
        f"<= {LAG_MS:g} ms p99",
        level,
        violations(level.compared, bounds),
        why,
        HARNESS_ON_TIME,
    )


def _counted(levels: Sequence[Level]) -> Finding:
    """Tokens and outcomes of every answer, however awkward. No lateness excuses a wrong count."""
    wrong = [f"{level.name}: {said}" for level in levels for said in violations(level.compared, Bounds())]
    requests = sum(level.compared.requests for level in levels)
    return Finding(
        HARNESS_EXACT,
        Verdict.FAIL if wrong else Verdict.PASS,
        "tokens and outcomes",
        f"{len(wrong)} of {len(levels)} kinds of answer wrong" if wrong else f"exact in {requests} requests",
        "exact",
        "; ".join(wrong) or f"{len(levels)} kinds of answer: cut, split, coalesced, failed",
        "this is a fault of the harness: please report it" if wrong else "",
        source="self-check",
    )


def _judged(
    subject: str,
    observed: str,
    expected: str,
    level: Level,
    wrong: Sequence[str],
    why: str,
    code: Code = HARNESS_EXACT,
) -> Finding:
    """One figure of a level; nothing is known of it when the server was itself late."""
    why = "; ".join([*wrong, why])
    verdict, remedy = Verdict.PASS, ""
    late = level.server_late_p99_ms
    if late is None or late > SERVER_LATE_MS:
        verdict, remedy = Verdict.UNKNOWN, "free the cores of this machine and check again"
        why = f"the server itself was late ({late or 0:.1f} ms p99), so nothing is known; {why}"
    elif wrong:
        verdict, remedy = Verdict.FAIL, "free the cores of this machine, or run the harness on another one"
    return Finding(code, verdict, subject, observed, expected, why, remedy, source="self-check")


def _pair(values: tuple[float, float]) -> str:
    return f"{values[0]:.2f} / {values[1]:.2f}"
