"""The requests of a run as CSV: one line each, with its metrics, for a spreadsheet or a notebook.

Never a prompt, never an answer. A metric is empty where it is not defined and where the request failed: the column
`outcome` tells which.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from serving.expectations import Slo
from serving.facts.columns import Floats, columns
from serving.facts.samples import PER_REQUEST, per_request
from serving.facts.traffic import Traffic
from serving.judge.slo import good_mask

SEEN: Final = (
    "prompt", "arm", "replica", "outcome", "reason", "status", "finish_reason", "scheduled_s", "sent_s", "connect_s",
    "headers_s", "first_s", "content_s", "end_s", "first_lag_ms", "prompt_tokens", "cached_tokens", "completion_tokens",
    "chunks", "resends", "sane",
)  # fmt: skip
HEAD: Final = ("index", "phase", "counts", "good", *SEEN, "schedule_lag_ms", *(f"{name}_ms" for name in PER_REQUEST))
BATCH: Final = 5_000
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def rows(traffic: Traffic, slos: Sequence[Slo]) -> Iterator[str]:
    """The text of requests.csv in pieces, the head first, in the order of the schedule."""
    yield _lines([HEAD])
    phases, counted = traffic.phases, {request.index for request in traffic.window}
    ordered = sorted(traffic.requests, key=lambda request: request.index)
    for start in range(0, len(ordered), BATCH):
        batch = ordered[start : start + BATCH]
        found = columns(batch)
        yield _lines(
            [request.index, phases[request.phase].name if phases else "", request.index in counted, good]
            + [getattr(request, name) for name in SEEN]
            + list(metrics)
            for request, good, *metrics in zip(
                batch,
                good_mask(found, slos).tolist(),
                _shown(np.maximum(found.left_s - found.scheduled_s, 0.0) * 1e3),
                *(_shown(per_request(name, found)) for name in PER_REQUEST),
                strict=True,
            )
        )


def _shown(values: Floats) -> list[float | None]:
    """Milliseconds; nothing where there is no latency."""
    return [value if finite else None for value, finite in zip(values.tolist(), np.isfinite(values), strict=True)]


def _lines(cells: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_cell(cell) for cell in line] for line in cells)
    return out.getvalue()


def _cell(value: Any) -> Any:
    """Times to the microsecond; words that a spreadsheet would take for a formula are quoted."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value
