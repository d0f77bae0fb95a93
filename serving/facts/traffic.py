"""What a load run did to an endpoint: the plan, one record per request, the end. Schema `warmgate.ledger/v1`.

The harness writes it (loadtest/ledger.py), `judge.slo` and rollouts read it. One JSON document a line: the plan, each
request in the order of its ending, the end. Times are seconds from the start of the run. Never a prompt, never an
answer, never a key: prompts go by their id.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from pydantic import PlainValidator, TypeAdapter, ValidationError

from serving.errors import CannotObserve

SCHEMA: Final = "warmgate.ledger/v1"
MICROSECOND: Final = 6
MOST_TOKENS: Final = 1_000_000  # that one chunk can bring


class Outcome(StrEnum):
    """How a request ended. Only OK is good; all others stay in every denominator."""

    OK = "ok"
    HTTP_ERROR = "http_error"
    STREAM_ERROR = "stream_error"
    TRUNCATED = "truncated"
    TIMEOUT = "timeout"
    CENSORED = "censored"
    NOT_SENT = "not_sent"


@dataclass(frozen=True, slots=True)
class RequestSeen:
    """One scheduled request.

    `sent_s` is the moment just before its first byte was written, `connect_s` how long it waited for its connection to
    open (0 when one stood open), `first_s` the arrival of the first chunk that carried tokens and `gaps_ms` the gaps
    between it and each later one (array of float32), `chunk_tokens` how many tokens each chunk carried (one number when
    all carried as many, None where the server did not let that be known exactly), `content_s` the arrival of the first
    content that is not reasoning, `end_s` the arrival of [DONE], or of the end where none came. `status` is the HTTP
    status, `reason` one line that says why the outcome is not `ok`. `phase` is an index into the plan's phases, `arm`
    names the side of an A/B run, `replica` the server that answered where it said so, `sane` whether a golden question
    got a good answer that held what was expected, `resends` how often a connection that had stood idle was found dead
    and replaced. `first_lag_ms` is how long the first chunk waited in the kernel before the harness read it: it is not
    in `first_s` where the kernel's own stamps could be had.
    """

    index: int
    prompt: str
    outcome: Outcome
    reason: str
    scheduled_s: float
    sent_s: float | None = None
    connect_s: float | None = None
    headers_s: float | None = None
    first_s: float | None = None
    content_s: float | None = None
    end_s: float | None = None
    status: int | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    gaps_ms: Gaps = field(default_factory=lambda: array("f"))
    chunk_tokens: tuple[int, ...] | int | None = None
    first_lag_ms: float | None = None
    phase: int = 0
    arm: str = ""
    replica: str | None = None
    sane: bool | None = None
    resends: int = 0

    @property
    def ok(self) -> bool:
        """Whether the stream ended as it should."""
        return self.outcome is Outcome.OK

    @property
    def chunks(self) -> int:
        """How many chunks carried tokens."""
        return 0 if self.first_s is None else len(self.gaps_ms) + 1

    @property
    def chunk_s(self) -> tuple[float, ...]:
        """The arrival of each chunk that carried tokens, in seconds; exact to a microsecond in a minute."""
        if self.first_s is None:
            return ()
        return tuple(accumulate((gap / 1e3 for gap in self.gaps_ms), initial=self.first_s))

    @property
    def tokens_per_chunk(self) -> tuple[int, ...] | None:
        """How many tokens each chunk carried, or None where that is not exactly known."""
        return (self.chunk_tokens,) * self.chunks if isinstance(self.chunk_tokens, int) else self.chunk_tokens

    @property
    def schedule_lag_s(self) -> float | None:
        """How late the harness itself sent; the time the connection took to open is the server's, and not in it."""
        if self.sent_s is None or self.connect_s is None:
            return None
        return max(0.0, self.sent_s - self.connect_s - self.scheduled_s)


@dataclass(frozen=True)
class Phase:
    """A part of the schedule, in seconds from its start. What is scheduled in one that does not count is not judged.

    `end_s` is None for a closed loop that ends with its last request. `rate_per_s` is None where the rate changes
    within the phase.
    """

    name: str
    start_s: float
    end_s: float | None
    rate_per_s: float | None = None
    concurrency: int | None = None
    counts: bool = True


@dataclass(frozen=True)
class LoadPlan:
    """The load that was asked for. A closed loop has a concurrency and no rate; changing rates are in the phases."""

    mode: str
    seed: int
    planned: int | None = None
    rate_per_s: float | None = None
    duration_s: float | None = None
    concurrency: int | None = None
    warmup_s: float = 0.0
    phases: tuple[Phase, ...] = ()


@dataclass(frozen=True)
class RunPlan:
    """The head of a run: when (RFC 3339, UTC), under which profile, against what, and with which versions.

    `candidate_url` is the other side of an A/B run, whose `base_url` is the baseline.
    """

    schema: Literal["warmgate.ledger/v1"]
    started_at: str
    profile: str
    base_url: str
    model: str
    load: LoadPlan
    versions: dict[str, str]
    candidate_url: str | None = None


@dataclass(frozen=True)
class RunEnd:
    """The end of a run: its length, whether it was cut short and by what, and what the harness says of itself.

    `loop_lag_ms` are quantiles (p50, p99, max) of how late the harness's own event loop woke: a bound of how late a
    received byte may have been stamped where the kernel did not stamp it. `client_lag` is a histogram (as
    `facts.histogram` writes one) of the milliseconds that received bytes waited in the kernel, `kernel_stamps` the
    share of reads that the kernel stamped, `coalesced` how many token chunks came in one read with an earlier one and
    share its stamp. `cpu_s` is the processor time that the harness used, `core_share` how much of its core the busiest
    of its `workers` did; `clock_uncertainty_ms` how well the clocks of workers on other machines were known, at worst
    (None where all have one clock). `phases` are those of a run that found its rates on the way. `prompts` tells how
    well the prompts' lengths could be set.
    """

    records: int
    elapsed_s: float
    interrupted: str | None = None
    loop_lag_ms: dict[str, float] | None = None
    cpu_s: float | None = None
    client_lag: dict[str, Any] | None = None
    kernel_stamps: float | None = None
    chunks: int = 0
    coalesced: int = 0
    core_share: float | None = None
    workers: int = 1
    clock_uncertainty_ms: float | None = None
    phases: tuple[Phase, ...] = ()
    prompts: dict[str, Any] | None = None


@dataclass(frozen=True)
class Traffic:
    """A whole run."""

    plan: RunPlan
    requests: tuple[RequestSeen, ...]
    end: RunEnd

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases that the requests name; none in a ledger that does not tell them."""
        return self.end.phases or self.plan.load.phases

    @cached_property
    def window(self) -> tuple[RequestSeen, ...]:
        """The requests that count, in the order of their schedule: those of phases that count, after the warm-up."""
        counts = [phase.counts for phase in self.phases]
        kept = (
            request
            for request in self.requests
            if (counts[request.phase] if counts else request.scheduled_s >= self.plan.load.warmup_s)
        )
        return tuple(sorted(kept, key=lambda request: request.index))


def line_of(document: RunPlan | RequestSeen | RunEnd) -> str:
    """The ledger's line for a plan, a request or an end, without the newline. Times are kept to the microsecond."""
    body = _request_line(document) if isinstance(document, RequestSeen) else asdict(document)
    body = {key: round(value, MICROSECOND) if isinstance(value, float) else value for key, value in body.items()}
    if isinstance(document, RunEnd):
        body = {"end": body}
    return msgspec.json.encode(body).decode()


def _request_line(request: RequestSeen) -> dict[str, Any]:
    """What is not known is left out; the gaps are whole microseconds."""
    body = {name: value for name in _NAMES if (value := getattr(request, name)) is not None}
    body["gaps_us"] = [int(gap * 1e3 + 0.5) for gap in request.gaps_ms]
    return body


def read_ledger(lines: Iterable[str], name: str) -> Traffic:
    """The run that the lines of a ledger tell of. Raises CannotObserve, naming the ledger, when it is not whole."""
    numbered = enumerate(lines, start=1)
    _, first = next(numbered, (0, ""))
    head = _json(first, name, 1)
    if head.get("schema") != SCHEMA:
        raise CannotObserve(f"{name}: not a ledger of schema {SCHEMA}: give a ledger.jsonl that a load test wrote")
    plan: RunPlan = _typed(_PLAN, head, name, 1)
    requests: list[RequestSeen] = []
    for number, line in numbered:
        body = _json(line, name, number)
        if "end" in body:
            end: RunEnd = _typed(_END, body["end"], name, number)
            if end.records != len(requests):
                raise CannotObserve(f"{name}: holds {len(requests)} requests of {end.records}: lines are missing")
            if next(numbered, None) is not None:
                raise CannotObserve(f"{name}: goes on after its end in line {number}: keep one run in a ledger")
            return _whole(Traffic(plan, tuple(requests), end), name)
        requests.append(_request(body, name, number))
    raise CannotObserve(
        f"{name}: has no end after {len(requests)} requests: that run did not finish, so there is nothing to judge"
    )


def _whole(run: Traffic, name: str) -> Traffic:
    """The run, when its requests fit each other and its phases. Raises CannotObserve."""
    if len({request.index for request in run.requests}) < len(run.requests):
        raise CannotObserve(f"{name}: tells twice of one request: this is not a whole ledger")
    phases = len(run.phases)
    if phases and not all(0 <= request.phase < phases for request in run.requests):
        raise CannotObserve(
            f"{name}: a request is of a phase that the run does not tell of: this is not a whole ledger"
        )
    return run


def read_request(line: str, name: str) -> RequestSeen:
    """The request that one line tells of. Raises CannotObserve for anything else."""
    return _request(_json(line, name, 1), name, 1)


def _request(body: dict[str, Any], name: str, number: int) -> RequestSeen:
    body["gaps_ms"] = body.pop("gaps_us", [])
    found: RequestSeen = _typed(_REQUEST, body, name, number)
    tokens = found.tokens_per_chunk
    if tokens is not None and (len(tokens) != found.chunks or not all(0 <= each <= MOST_TOKENS for each in tokens)):
        raise CannotObserve(f"{name}: line {number}: chunk_tokens fits no {found.chunks} chunks: not a whole ledger")
    return found


def _gaps_of(value: object) -> array[float]:
    """The ledger's whole microseconds as the milliseconds of a record."""
    if not isinstance(value, list) or not all(isinstance(gap, int) and gap >= 0 for gap in value):
        raise ValueError("gaps_us must be a list of microseconds")
    return array("f", (gap / 1e3 for gap in value))


if TYPE_CHECKING:
    Gaps = array[float]
else:
    Gaps = Annotated[Any, PlainValidator(_gaps_of)]  # Python 3.11's array takes no subscript
_NAMES: Final = tuple(item.name for item in fields(RequestSeen) if item.name != "gaps_ms")
_PLAN: Final = TypeAdapter(RunPlan)
_REQUEST: Final = TypeAdapter(RequestSeen)
_END: Final = TypeAdapter(RunEnd)


def _json(line: str, name: str, number: int) -> dict[str, Any]:
    try:
        body = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise CannotObserve(f"{name}: line {number} is cut short or is not JSON: this is not a whole ledger")
    return body


def _no_number(name: str) -> None:
    """Refuse NaN and the infinities, which Python reads although no JSON has them."""
    raise ValueError(name)


def _typed(adapter: TypeAdapter[Any], body: object, name: str, number: int) -> Any:
    try:
        return adapter.validate_python(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CannotObserve(
            f"{name}: line {number}: {where}: {first['msg']}: this is not a ledger of {SCHEMA}"
        ) from error
