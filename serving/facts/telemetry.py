"""What was seen of servers, GPUs and the harness itself while a load test ran. Schema `warmgate.telemetry/v1`.

`loadtest.telemetry` writes it, one JSON document a line: a head that names the sources, then one row for each sample
and each miss. The metrics' names, units and meaning are here, and nowhere else. Times are seconds from the start of the
run, on the clock of its requests; those before it are negative. No prompt, no answer and no key is ever in a row.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from pydantic import FiniteFloat, TypeAdapter, ValidationError

from serving.errors import CannotObserve
from serving.facts.series import Series

SCHEMA: Final = "warmgate.telemetry/v1"
Kind = Literal["engine", "agent", "gpu", "harness"]
Shape = Literal["gauge", "counter", "ratio"]


@dataclass(frozen=True)
class Metric:
    """What a figure means. A `ratio` is made of the rise of two counters, times `factor`.

    `kinds` are the kinds of source that give it; where several do, the first one that the run has is believed.
    """

    unit: str
    about: str
    kinds: tuple[Kind, ...] = ("engine",)
    shape: Shape = "gauge"
    parts: tuple[str, str] = ("", "")
    factor: float = 1.0


_GPU: Final[tuple[Kind, ...]] = ("gpu", "agent")
METRICS: Final[Mapping[str, Metric]] = {
    "running": Metric("requests", "requests in vLLM's batches"),
    "waiting": Metric("requests", "requests in vLLM's queue"),
    "kv_cache_usage": Metric("share", "share of the KV cache in use; the fullest engine core's"),
    "preemptions": Metric("preemptions", "requests thrown out of the KV cache to make room", shape="counter"),
    "admission_rejections": Metric("requests", "requests refused by a queue limit", shape="counter"),
    "prompt_tokens": Metric("tokens", "prompt tokens processed", shape="counter"),
    "generation_tokens": Metric("tokens", "tokens generated", shape="counter"),
    "prefix_queries": Metric("tokens", "prompt tokens looked up in the prefix cache", shape="counter"),
    "prefix_hits": Metric("tokens", "prompt tokens found in the prefix cache", shape="counter"),
    "server_ttft_s": Metric("s", "seconds to first token, summed over requests", shape="counter"),
    "server_ttft_count": Metric("requests", "requests that got their first token", shape="counter"),
    "queue_time_s": Metric("s", "seconds in the queue, summed over requests", shape="counter"),
    "queue_time_count": Metric("requests", "requests that left the queue for good", shape="counter"),
    "prefix_hit_share": Metric(
        "share", "prefix-cache hits of all lookups", shape="ratio", parts=("prefix_hits", "prefix_queries")
    ),
    "server_ttft_ms": Metric(
        "ms", "the server's own TTFT", shape="ratio", parts=("server_ttft_s", "server_ttft_count"), factor=1e3
    ),
    "queue_time_ms": Metric(
        "ms", "time in vLLM's queue", shape="ratio", parts=("queue_time_s", "queue_time_count"), factor=1e3
    ),
    "agent_ready": Metric("", "1 while the agent says ready, else 0", ("agent",)),
    "agent_uptime_s": Metric("s", "seconds since the agent started", ("agent",), "counter"),
    "agent_idle_s": Metric("s", "seconds since the engine last proved that it moves", ("agent",)),
    "agent_resident_mib": Metric("MiB", "resident memory of the engine's process tree", ("agent",)),
    "agent_kv_tokens": Metric("tokens", "size of the KV cache", ("agent",)),
    "gpu_used_mib": Metric("MiB", "used memory of one GPU or MIG slice", _GPU),
    "gpu_free_mib": Metric("MiB", "free memory of one GPU or MIG slice", _GPU),
    "gpu_util": Metric("share", "share of time in which any kernel ran; not valid for MIG slices", ("gpu",)),
    "gpu_power_w": Metric("W", "power draw", ("gpu",)),
    "gpu_xid": Metric("", "code of the last XID error, 0 for none", ("gpu",)),
    "harness_lag_ms": Metric("ms", "how late the harness's own event loop woke, at worst", ("harness",)),
    "harness_cpu": Metric("share", "processor time of the load process, 1 for a whole core", ("harness",)),
    "harness_resident_mib": Metric("MiB", "resident memory of the load process", ("harness",)),
    "harness_in_flight": Metric("requests", "streams that the harness had open", ("harness",)),
}


@dataclass(frozen=True)
class Source:
    """Where figures come from, and how often. Names have no colon: `gpu:GPU-5a…` is one device of the source `gpu`."""

    name: str
    kind: Kind
    url: str = ""
    every_s: float = 1.0


@dataclass(frozen=True)
class Head:
    """The first line: the run's origin on the monotonic clock, and the sources."""

    schema: Literal["warmgate.telemetry/v1"]
    origin_ns: int
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Row:
    """A sample, or why there is none. `state` is what the source says of itself, where it has words for it."""

    at_s: FiniteFloat
    source: str
    values: dict[str, FiniteFloat] = field(default_factory=dict)
    missed: str | None = None
    state: str | None = None


@dataclass(frozen=True)
class Telemetry:
    """All that was seen. `series` go by (source, metric), a device being a source of its own.

    `missed` holds, for each source, when it did not answer and why; `states` when what it said of itself changed.
    `truncated` counts files whose last line was cut off, as a killed writer leaves it.
    """

    sources: tuple[Source, ...] = ()
    series: Mapping[tuple[str, str], Series] = field(default_factory=dict)
    missed: Mapping[str, tuple[tuple[float, str], ...]] = field(default_factory=dict)
    states: Mapping[str, tuple[tuple[float, str], ...]] = field(default_factory=dict)
    truncated: int = 0

    def givers(self, metric: str) -> tuple[Source, ...]:
        """The sources that should give this metric: those of the first of its kinds that the run has."""
        for kind in METRICS[metric].kinds:
            if found := tuple(source for source in self.sources if source.kind == kind):
                return found
        return ()

    def of(self, source: Source, metric: str) -> dict[str, Series]:
        """This metric of this source, by the source's or its devices' names."""
        return {
            name: series
            for (name, given), series in self.series.items()
            if given == metric and name.partition(":")[0] == source.name
        }

    def counters(self, name: str) -> tuple[Series, ...]:
        """Every counter that this source gave."""
        return tuple(
            series
            for (giver, metric), series in self.series.items()
            if giver == name and metric in METRICS and METRICS[metric].shape == "counter"
        )


def line_of(document: Head | Row) -> str:
    """The line for a head or a row, without the newline; what a row does not say is left out."""
    body = asdict(document)
    if isinstance(document, Row):
        body["at_s"] = round(document.at_s, 3)
        body = {key: value for key, value in body.items() if value not in (None, {})}
    return json.dumps(body, separators=(",", ":"), allow_nan=False)


def read_telemetry(lines: Iterable[str], name: str) -> Telemetry:
    """What the lines of one file tell. Raises CannotObserve, naming the file and the line, when they are not telemetry.

    A last line without its newline that makes no sense is what a killed writer leaves: it is counted and left out.
    """
    head: Head | None = None
    rows: list[Row] = []
    bad: CannotObserve | None = None
    for number, line in enumerate(lines, start=1):
        if bad is not None:
            raise bad
        try:
            if head is None:
                head = _HEAD.validate_json(line)
            else:
                rows.append(_ROW.validate_json(line))
        except ValidationError as error:
            bad = _not_telemetry(error, name, number)
            if line.endswith("\n"):
                raise bad from error
    if head is None:
        raise bad or CannotObserve(f"{name}: is empty: the sampler ended before it could write; look at its messages")
    return _telemetry(head, rows, name, truncated=int(bad is not None))


def merged(parts: Iterable[Telemetry]) -> Telemetry:
    """Telemetry of several files as one. Raises CannotObserve when two of them have a source of the same name."""
    parts = list(parts)
    names = [source.name for part in parts for source in part.sources]
    if twice := {name for name in names if names.count(name) > 1}:
        raise CannotObserve(f"telemetry: two files tell of {min(twice)}: keep one run in a directory")
    return Telemetry(
        sources=tuple(source for part in parts for source in part.sources),
        series={key: series for part in parts for key, series in part.series.items()},
        missed={key: missed for part in parts for key, missed in part.missed.items()},
        states={key: states for part in parts for key, states in part.states.items()},
        truncated=sum(part.truncated for part in parts),
    )


_HEAD: Final = TypeAdapter(Head)
_ROW: Final = TypeAdapter(Row)


def _telemetry(head: Head, rows: list[Row], name: str, truncated: int) -> Telemetry:
    known = {source.name for source in head.sources}
    points: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    missed: dict[str, list[tuple[float, str]]] = defaultdict(list)
    states: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.at_s):
        if row.source.partition(":")[0] not in known:
            raise CannotObserve(f"{name}: a row of {row.source!r}, which the first line does not name: not one run's")
        for metric, value in row.values.items():
            points[row.source, metric].append((row.at_s, value))
        if row.missed is not None:
            missed[row.source].append((row.at_s, row.missed))
        if row.state is not None and (not states[row.source] or states[row.source][-1][1] != row.state):
            states[row.source].append((row.at_s, row.state))
    return Telemetry(
        sources=head.sources,
        series={key: Series(*(tuple(column) for column in zip(*found, strict=True))) for key, found in points.items()},
        missed={key: tuple(found) for key, found in missed.items()},
        states={key: tuple(found) for key, found in states.items()},
        truncated=truncated,
    )


def _not_telemetry(error: ValidationError, name: str, number: int) -> CannotObserve:
    first: Any = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the line"
    return CannotObserve(f"{name}: line {number}: {where}: {first['msg']}: this is not telemetry of {SCHEMA}")
