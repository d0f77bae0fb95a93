"""Decides whether servers and GPUs stayed within their limits while the load ran. Pure.

What was not seen never passes: a metric that no source gives, a source that answered fewer than 90 % of the looks at
it, one that restarted meanwhile, a quantile of too few samples, and a slope over too short a time are all UNKNOWN.
Each source (a replica, a GPU) is held to the limit by itself; the finding is that of the worst of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from serving.codes import TELEMETRY_WITHIN
from serving.expectations import TelemetryGate
from serving.facts.quantiles import quantile, samples_needed
from serving.facts.series import Series, increase, resets, slope_per_hour
from serving.facts.telemetry import METRICS, Source, Telemetry
from serving.facts.traffic import Traffic
from serving.verdict import Finding, Verdict, worst

COVERAGE: Final = 0.9
EDGE: Final = 2.0  # looks between a counter's first or last value and the end of what counts
SLOPE_NEEDS_S: Final = 600.0
QUANTILES: Final = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
GIVEN_BY: Final = {
    "engine": "name each replica's own address in telemetry.engines",
    "agent": "name each agent's admin port in telemetry.agents",
    "gpu": "run beside the GPU, or name its dcgm-exporter in telemetry.dcgm",
    "harness": "judge the run with the files that its load process wrote",
}

Span = tuple[float, float]


def judged_spans(traffic: Traffic) -> tuple[Span, ...]:
    """The times of a run that count, (start, end) in seconds: its counting phases, else all after the warm-up."""
    load, elapsed_s = traffic.plan.load, traffic.end.elapsed_s
    spans = [(phase.start_s, phase.end_s) for phase in traffic.phases if phase.counts]
    if not traffic.phases:
        spans = [(load.warmup_s, load.duration_s)]
    joined: list[Span] = []
    for start, planned in sorted(spans, key=lambda span: span[0]):
        end = elapsed_s if planned is None else min(planned, elapsed_s)
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif start < end:
            joined.append((start, end))
    return tuple(joined)


def judge_telemetry(
    telemetry: Telemetry, gates: Sequence[TelemetryGate], spans: Sequence[Span], doubt: str | None = None
) -> tuple[Finding, ...]:
    """One finding for each gate over the `spans` that count. `doubt` is why the run may not be judged at all."""
    return tuple(_finding(telemetry, gate, spans, doubt) for gate in gates)


def blind_gates(telemetry: Telemetry, gates: Iterable[TelemetryGate]) -> tuple[str, ...]:
    """Which gates could never be judged by sources that show no more than this, one line each: asked before a run.

    The harness itself is no such source: it has nothing to show before the run.
    """
    whys = (
        f"{gate.telemetry} {gate.statistic}: {part.why}: {part.remedy}"
        for gate in gates
        if METRICS[gate.telemetry].kinds != ("harness",)
        for part in _parts(telemetry, gate, ((0.0, 0.0),))
        if part.why and not part.seen
    )
    return tuple(dict.fromkeys(whys))


def impossible(gate: TelemetryGate, counted_s: float, every_s: float) -> str | None:
    """Why no run that counts so many seconds could meet this gate, with the remedy; None when one could."""
    subject, looks = f"{gate.telemetry} {gate.statistic}", counted_s / every_s
    needed = samples_needed(QUANTILES[gate.statistic]) if gate.statistic in QUANTILES else 1
    if looks < needed:
        remedy = "raise the duration, or lower telemetry.every_s"
        return f"{subject} needs {needed} samples and {looks:.0f} will count: {remedy}"
    if gate.statistic == "slope_per_hour" and counted_s < SLOPE_NEEDS_S:
        return f"{subject} needs {SLOPE_NEEDS_S:g} s that count: raise the duration, or gate the growth instead"
    return None


@dataclass(frozen=True)
class _Part:
    """What one source, or one device of it, says about a gate. `why` is empty unless its value cannot be judged."""

    name: str
    value: float = 0.0
    n: int = 0
    why: str = ""
    remedy: str = ""
    seen: bool = True


class _Unclear(Exception):
    """Why a figure cannot be had from what was seen, and what to do about it."""


def _finding(telemetry: Telemetry, gate: TelemetryGate, spans: Sequence[Span], doubt: str | None) -> Finding:
    parts = _parts(telemetry, gate, spans)
    verdict = worst(_verdict(gate, part) for part in parts)
    least = gate.at_least is not None
    deciding = [part for part in parts if _verdict(gate, part) is verdict]
    shown = (min if least else max)(deciding, key=lambda part: part.value)
    others = f", the worst of {len(parts)}" if len(parts) > 1 else ""
    observed = "not seen" if shown.why else f"{_shown(gate, shown.value)} ({shown.name}{others}; n={shown.n})"
    why, remedy = shown.why or "within the limit", shown.remedy
    if verdict is Verdict.FAIL:
        why = f"{len(deciding)} of {len(parts)} beyond the limit"
        remedy = "see the report's telemetry: fewer requests per second, more replicas, or a limit that can be met"
    if doubt is not None:
        verdict, why, remedy = Verdict.UNKNOWN, f"not judged: {doubt}", "see the findings above"
    return Finding(
        TELEMETRY_WITHIN,
        verdict,
        subject=f"{gate.telemetry} {gate.statistic}",
        observed=observed,
        expected=f"{'>=' if least else '<='} {_shown(gate, gate.limit)}",
        why=why,
        remedy=remedy,
        source="telemetry",
    )


def _verdict(gate: TelemetryGate, part: _Part) -> Verdict:
    if part.why:
        return Verdict.UNKNOWN
    within = part.value <= gate.limit if gate.at_least is None else part.value >= gate.limit
    return Verdict.PASS if within else Verdict.FAIL


def _parts(telemetry: Telemetry, gate: TelemetryGate, spans: Sequence[Span]) -> list[_Part]:
    """One part for each source that should give the metric, or for each of its devices; never none."""
    metric = METRICS[gate.telemetry]
    needed = metric.parts if metric.shape == "ratio" else (gate.telemetry,)
    sources = telemetry.givers(gate.telemetry)
    if not sources:
        why, remedy = f"no source gives {gate.telemetry}", GIVEN_BY[metric.kinds[0]]
        return [_Part("", why=why, remedy=remedy, seen=False)]
    parts = []
    for source in sources:
        names = set.intersection(*(set(telemetry.of(source, one)) for one in needed))
        if not names:
            parts.append(_Part(source.name, why=_unseen(telemetry, source, needed), remedy=_look(source), seen=False))
        for name in sorted(names):
            try:
                value, n = _figure(telemetry, gate, source, name, needed, spans)
                parts.append(_Part(name, value, n))
            except _Unclear as error:
                why, remedy = error.args
                parts.append(_Part(name, why=f"{name}: {why}", remedy=remedy))
    return parts


def _figure(
    telemetry: Telemetry, gate: TelemetryGate, source: Source, name: str, needed: Sequence[str], spans: Sequence[Span]
) -> tuple[float, int]:
    """The statistic over what counts, and of how many samples. Raises _Unclear where it would not be known."""
    metric = METRICS[gate.telemetry]
    series = [telemetry.series[name, one] for one in needed]
    inside = [series[0].between(*span) for span in spans]
    n = sum(len(part.values) for part in inside)
    if not spans:
        raise _Unclear("no part of the run counts", "let the run last longer than its warm-up")
    counters = telemetry.counters(source.name)
    restarts = [at for span in spans for counter in counters for at in resets(counter.around(*span))]
    if restarts:
        why = f"its counters fell at {min(restarts):.0f} s: it restarted, or its address leads to several servers"
        raise _Unclear(why, "see its log, and name each replica's own address")
    expected = sum(max(1, int((end - start) / source.every_s)) for start, end in spans)
    if n < COVERAGE * expected:
        raise _Unclear(f"{n} of {expected} samples{_mostly(telemetry, source, spans)}", _look(source))
    if metric.shape == "gauge":
        return _of_gauge(gate.statistic, inside), n
    inner = gate.at_least is not None and metric.shape == "counter"
    rises = [_rise(one, spans, EDGE * source.every_s, inner=inner) for one in series]
    if metric.shape == "ratio":
        if rises[1] <= 0:
            raise _Unclear(f"{needed[1]} did not rise, so there is no mean", "let requests reach this server")
        return rises[0] / rises[1] * metric.factor, n
    return rises[0] / (sum(end - start for start, end in spans) if gate.statistic == "rate_per_s" else 1.0), n


def _of_gauge(statistic: str, inside: Sequence[Series]) -> float:
    at_s = [at for part in inside for at in part.at_s]
    values = [value for part in inside for value in part.values]
    if statistic in QUANTILES:
        q = QUANTILES[statistic]
        if len(values) < samples_needed(q):
            why = f"{len(values)} samples, and {statistic} needs {samples_needed(q)}"
            raise _Unclear(why, "run longer, or lower telemetry.every_s")
        return quantile(values, q)
    if statistic == "slope_per_hour":
        slope = slope_per_hour(at_s, values)
        if slope is None or at_s[-1] - at_s[0] < SLOPE_NEEDS_S * COVERAGE:
            why = f"a slope per hour needs {SLOPE_NEEDS_S / 60:.0f} minutes that count"
            raise _Unclear(why, "run longer, or gate the growth instead")
        return slope
    if statistic == "growth":
        return max(values) - values[0]
    return {"max": max(values), "min": min(values), "mean": sum(values) / len(values)}[statistic]


def _rise(counter: Series, spans: Sequence[Span], edge_s: float, *, inner: bool) -> float:
    """How much a counter rose over what counts: no less, by the looks just outside; `inner`: no more, by those within.

    So neither a limit from above nor one from below is met by what is not known.
    """
    total = 0.0
    for start, end in spans:
        part = counter.between(start, end) if inner else counter.around(start, end)
        risen = increase(part)
        if risen is None or abs(part.at_s[0] - start) > edge_s or abs(part.at_s[-1] - end) > edge_s:
            raise _Unclear(
                "it was not seen at both ends of what counts", "start its sampling with the run, or run longer"
            )
        total += risen
    return total


def _unseen(telemetry: Telemetry, source: Source, needed: Sequence[str]) -> str:
    """Why a source that was asked shows nothing of a metric."""
    answered = any(name.partition(":")[0] == source.name for name, _ in telemetry.series)
    if answered:
        return f"{source.name} ({source.url}) answers, but gives no {' and no '.join(needed)}"
    missed = telemetry.missed.get(source.name)
    return f"{source.name} never answered: {missed[-1][1]}" if missed else f"{source.name} was never asked"


def _mostly(telemetry: Telemetry, source: Source, spans: Sequence[Span]) -> str:
    """The most frequent reason for a miss in what counts, as the end of a sentence."""
    missed = telemetry.missed.get(source.name, ())
    whys = Counter(why for at, why in missed if any(start <= at <= end for start, end in spans))
    return f"; mostly: {whys.most_common(1)[0][0]}" if whys else ""


def _look(source: Source) -> str:
    return f"see that {source.url or source.name} answers throughout the run, or raise telemetry.every_s"


def _shown(gate: TelemetryGate, value: float) -> str:
    unit = METRICS[gate.telemetry].unit
    unit += {"slope_per_hour": "/h", "rate_per_s": "/s"}.get(gate.statistic, "")
    number = f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    return number if unit in ("", "share") else f"{number} {unit}"
