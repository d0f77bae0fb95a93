"""What a load run did to an endpoint: the plan, one record per request, the end. Schema `warmgate.ledger/v1`.

The harness writes it (loadtest/ledger.py), `judge.slo` and rollouts read it. One JSON document a line: the plan, each
request in the order of its ending, the end. Times are seconds from the start of the run. Never a prompt, never an
answer, never a key: prompts go by their id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError

from serving.errors import CannotObserve

SCHEMA: Final = "warmgate.ledger/v1"
MICROSECOND: Final = 6


class Outcome(StrEnum):
    """How a request ended. Only OK is good; all others stay in every denominator."""

    OK = "ok"
    HTTP_ERROR = "http_error"
    STREAM_ERROR = "stream_error"
    TRUNCATED = "truncated"
    TIMEOUT = "timeout"
    CENSORED = "censored"
    NOT_SENT = "not_sent"


@dataclass(frozen=True)
class RequestSeen:
    """One scheduled request.

    `sent_s` is the moment just before its first byte was written, `connect_s` the duration of opening its connection,
    `chunk_s` the arrival of each chunk that carried tokens, `chunk_tokens` how many each carried (None where the server
    did not let that be known exactly), `end_s` the arrival of [DONE], or of the end where none came. `status` is the
    HTTP status, `reason` one line that says why the outcome is not `ok`.
    """

    index: int
    prompt: str
    outcome: Outcome
    reason: str
    scheduled_s: float
    sent_s: float | None = None
    connect_s: float | None = None
    headers_s: float | None = None
    end_s: float | None = None
    status: int | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    chunk_s: tuple[float, ...] = ()
    chunk_tokens: tuple[int, ...] | None = None

    @property
    def ok(self) -> bool:
        """Whether the stream ended as it should."""
        return self.outcome is Outcome.OK

    @property
    def first_s(self) -> float | None:
        """Arrival of the first chunk that carried tokens."""
        return self.chunk_s[0] if self.chunk_s else None

    @property
    def schedule_lag_s(self) -> float | None:
        """How late the harness itself sent; the time the connection took to open is the server's, and not in it."""
        if self.sent_s is None or self.connect_s is None:
            return None
        return max(0.0, self.sent_s - self.connect_s - self.scheduled_s)


@dataclass(frozen=True)
class LoadPlan:
    """The load that was asked for. A closed loop has a concurrency and no rate."""

    mode: Literal["poisson", "constant", "closed_loop"]
    seed: int
    planned: int | None = None
    rate_per_s: float | None = None
    duration_s: float | None = None
    concurrency: int | None = None
    warmup_s: float = 0.0


@dataclass(frozen=True)
class RunPlan:
    """The head of a run: when (RFC 3339, UTC), under which profile, against what, and with which versions."""

    schema: Literal["warmgate.ledger/v1"]
    started_at: str
    profile: str
    base_url: str
    model: str
    load: LoadPlan
    versions: dict[str, str]


@dataclass(frozen=True)
class RunEnd:
    """The end of a run: its length, whether it was cut short and by what, and what the harness says of itself.

    `loop_lag_ms` are quantiles (p50, p99, max) of how late the harness's own event loop woke: a bound of how late a
    received byte may have been stamped. `cpu_s` is the processor time that the harness used.
    """

    records: int
    elapsed_s: float
    interrupted: str | None = None
    loop_lag_ms: dict[str, float] | None = None
    cpu_s: float | None = None


@dataclass(frozen=True)
class Traffic:
    """A whole run."""

    plan: RunPlan
    requests: tuple[RequestSeen, ...]
    end: RunEnd

    @cached_property
    def window(self) -> tuple[RequestSeen, ...]:
        """The requests that count: those scheduled after the warm-up, in the order of their schedule."""
        kept = (request for request in self.requests if request.scheduled_s >= self.plan.load.warmup_s)
        return tuple(sorted(kept, key=lambda request: request.index))


def line_of(document: RunPlan | RequestSeen | RunEnd) -> str:
    """The ledger's line for a plan, a request or an end, without the newline. Times are kept to the microsecond."""
    if isinstance(document, RequestSeen):
        document = replace(document, chunk_s=tuple(round(at, MICROSECOND) for at in document.chunk_s))
    body = {
        key: round(value, MICROSECOND) if isinstance(value, float) else value for key, value in asdict(document).items()
    }
    if isinstance(document, RunEnd):
        body = {"end": body}
    return json.dumps(body, separators=(",", ":"))


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
            return Traffic(plan, tuple(requests), end)
        requests.append(_typed(_REQUEST, body, name, number))
    raise CannotObserve(
        f"{name}: has no end after {len(requests)} requests: that run did not finish, so there is nothing to judge"
    )


_PLAN: Final = TypeAdapter(RunPlan)
_REQUEST: Final = TypeAdapter(RequestSeen)
_END: Final = TypeAdapter(RunEnd)


def _json(line: str, name: str, number: int) -> dict[str, Any]:
    try:
        body = json.loads(line)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise CannotObserve(f"{name}: line {number} is cut short or is not JSON: this is not a whole ledger")
    return body


def _typed(adapter: TypeAdapter[Any], body: object, name: str, number: int) -> Any:
    try:
        return adapter.validate_python(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CannotObserve(
            f"{name}: line {number}: {where}: {first['msg']}: this is not a ledger of {SCHEMA}"
        ) from error
