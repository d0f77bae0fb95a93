"""The requests of a run as CSV: one line each, with its metrics, for a spreadsheet or a notebook.

Never a prompt, never an answer. A metric is empty where it is not defined and where the request failed: the column
`outcome` tells which.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

from serving.expectations import Slo
from serving.facts.samples import PER_REQUEST, of_request
from serving.facts.traffic import RequestSeen, Traffic
from serving.judge.slo import good

SEEN: Final = (
    "prompt", "arm", "replica", "outcome", "reason", "status", "finish_reason", "scheduled_s", "sent_s", "connect_s",
    "headers_s", "first_s", "content_s", "end_s", "first_lag_ms", "prompt_tokens", "cached_tokens", "completion_tokens",
    "chunks", "resends", "sane",
)  # fmt: skip
HEAD: Final = ("index", "phase", "counts", "good", *SEEN, "schedule_lag_ms", *(f"{name}_ms" for name in PER_REQUEST))
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def rows(traffic: Traffic, slos: Sequence[Slo]) -> Iterator[str]:
    """The lines of requests.csv, the head first, in the order of the schedule."""
    yield _line(HEAD)
    phases, counted = traffic.phases, {request.index for request in traffic.window}
    for request in sorted(traffic.requests, key=lambda request: request.index):
        phase = phases[request.phase].name if phases else ""
        lag = request.schedule_lag_s
        yield _line(
            [
                request.index,
                phase,
                request.index in counted,
                good(request, slos),
                *(getattr(request, name) for name in SEEN),
                None if lag is None else lag * 1e3,
                *(_metric(name, request) for name in PER_REQUEST),
            ]
        )


def _metric(name: str, request: RequestSeen) -> float | None:
    value = of_request(name, request)
    return None if value is None or not math.isfinite(value) else value


def _line(cells: Sequence[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([_cell(cell) for cell in cells])
    return out.getvalue()


def _cell(value: Any) -> Any:
    """Times to the microsecond; words that a spreadsheet would take for a formula are quoted."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value
