"""What a client told of its requests, held to what the server did to them. Pure; it knows no client.

Times of either side are seconds from an origin of its own: only differences are compared. Every statement that a client
makes can be found wrong here: when a token came, how many came, whether the answer was good, when the request was sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import Any

from serving.facts.quantiles import quantile
from serving.facts.traffic import Traffic


@dataclass(frozen=True)
class Told:
    """A request as the client tells it; `sent_s` is None if it never was. `token_s` are its token chunks' arrivals."""

    request_id: str
    scheduled_s: float
    sent_s: float | None
    token_s: Sequence[float]
    tokens: int | None
    ok: bool


@dataclass(frozen=True)
class Did:
    """The same request as the server's log has it. `good` says that the answer was whole and as it should be."""

    request_id: str
    arrived_s: float
    token_s: Sequence[float]
    tokens: int
    good: bool


@dataclass(frozen=True)
class Bounds:
    """How far a client may be off. None asks nothing."""

    ttft_p50_ms: float | None = None
    ttft_p99_ms: float | None = None
    gap_p99_ms: float | None = None
    tpot_share: float | None = None
    lag_p99_ms: float | None = None
    drift_ms: float | None = None


@dataclass(frozen=True)
class Compared:
    """Told minus true, over the requests that both know. None where there is nothing to compare.

    TTFT counts from the sending, `gap_p99_ms` is the p99 of the absolute errors of single gaps between chunks. `lag`
    and `drift` are of the requests' arrivals at the server against the schedule: the p99, and how much later the last
    tenth arrived than the first.
    """

    requests: int
    missing: tuple[str, ...]
    ttft_told_ms: tuple[float, float] | None
    ttft_true_ms: tuple[float, float] | None
    gap_p99_ms: float | None
    tpot_share: float | None
    lag_p99_ms: float | None
    drift_ms: float | None
    wrong_tokens: tuple[str, ...]
    wrong_chunks: tuple[str, ...]
    wrongly_ok: tuple[str, ...]
    wrongly_failed: tuple[str, ...]

    @property
    def ttft_error_ms(self) -> tuple[float, float] | None:
        """Reported minus true, p50 and p99."""
        if self.ttft_told_ms is None or self.ttft_true_ms is None:
            return None
        (told50, told99), (true50, true99) = self.ttft_told_ms, self.ttft_true_ms
        return told50 - true50, told99 - true99


def told_of(traffic: Traffic) -> list[Told]:
    """What our harness tells. Its requests carry the seed and their index as their id."""
    return [
        Told(
            f"warmgate-{traffic.plan.load.seed}-{one.index}",
            one.scheduled_s,
            one.sent_s,
            one.chunk_s,
            one.completion_tokens,
            one.ok,
        )
        for one in traffic.requests
    ]


def did_of(records: Iterable[Mapping[str, Any]]) -> list[Did]:
    """What the server's log (`GET /truth/requests`) says."""
    return [
        Did(
            record["request_id"],
            record["arrived_ns"] / 1e9,
            [at / 1e9 for at in record["sent_ns"]],
            sum(record["chunk_tokens"]),
            record["good"],
        )
        for record in records
    ]


def compare(told: Sequence[Told], did: Sequence[Did]) -> Compared:
    """Put both side by side, request by request."""
    known = {one.request_id: one for one in did}
    pairs = [(one, known[one.request_id]) for one in told if one.request_id in known]
    ids = {one.request_id for one in told}
    timed = [(one, true) for one, true in pairs if one.token_s and true.token_s]
    whole = [(one, true) for one, true in timed if len(one.token_s) == len(true.token_s)]
    gaps = [
        abs((later - sooner) - (true_later - true_sooner)) * 1e3
        for one, true in whole
        for (sooner, later), (true_sooner, true_later) in zip(
            pairwise(one.token_s), pairwise(true.token_s), strict=True
        )
    ]
    lag = _lag(pairs)
    return Compared(
        requests=len(pairs),
        missing=tuple(sorted(ids ^ known.keys())),
        ttft_told_ms=_both([(one.token_s[0] - one.sent_s) * 1e3 for one, _ in timed if one.sent_s is not None]),
        ttft_true_ms=_both([(true.token_s[0] - true.arrived_s) * 1e3 for _, true in timed]),
        gap_p99_ms=quantile(gaps, 0.99) if gaps else None,
        tpot_share=_tpot(timed),
        lag_p99_ms=quantile(lag, 0.99) if lag else None,
        drift_ms=_drift(lag),
        wrong_tokens=tuple(one.request_id for one, true in pairs if one.ok and one.tokens != true.tokens),
        wrong_chunks=tuple(one.request_id for one, true in pairs if one.ok and len(one.token_s) != len(true.token_s)),
        wrongly_ok=tuple(one.request_id for one, true in pairs if one.ok and not true.good),
        wrongly_failed=tuple(one.request_id for one, true in pairs if true.good and not one.ok),
    )


def violations(found: Compared, bounds: Bounds) -> list[str]:
    """Every statement that was wrong by more than the bounds, in words; empty for an honest client."""
    said = [
        f"{len(ids)} of {found.requests} requests {what}"
        for what, ids in (
            ("are known to one side only", found.missing),
            ("have a wrong number of tokens", found.wrong_tokens),
            ("have a wrong number of token chunks", found.wrong_chunks),
            ("were called good and were not", found.wrongly_ok),
            ("were good and called failed", found.wrongly_failed),
        )
        if ids
    ]
    if not found.requests:
        said.append("no request is known to both sides")
    p50, p99 = found.ttft_error_ms or (None, None)
    for what, value, bound in (
        ("TTFT p50", p50, bounds.ttft_p50_ms),
        ("TTFT p99", p99, bounds.ttft_p99_ms),
        ("a gap between chunks, p99,", found.gap_p99_ms, bounds.gap_p99_ms),
        ("lag behind the schedule, p99,", found.lag_p99_ms, bounds.lag_p99_ms),
        ("drift behind the schedule", found.drift_ms, bounds.drift_ms),
    ):
        if bound is not None and (value is None or abs(value) > bound):
            said.append(f"{what} is off by {'nobody knows what' if value is None else f'{value:.2f} ms'}")
    if bounds.tpot_share is not None and (found.tpot_share is None or abs(found.tpot_share) > bounds.tpot_share):
        said.append("mean TPOT is off by " + ("?" if found.tpot_share is None else f"{found.tpot_share:.2%}"))
    return said


def _both(values: list[float]) -> tuple[float, float] | None:
    return (quantile(values, 0.5), quantile(values, 0.99)) if values else None


def _tpot(pairs: Sequence[tuple[Told, Did]]) -> float | None:
    """The relative error of the mean TPOT, over requests of two tokens and more."""
    told, true = [], []
    for one, did in pairs:
        if one.tokens is not None and one.tokens > 1 and did.tokens > 1:
            told.append((one.token_s[-1] - one.token_s[0]) / (one.tokens - 1))
            true.append((did.token_s[-1] - did.token_s[0]) / (did.tokens - 1))
    return fmean(told) / fmean(true) - 1 if true and fmean(true) > 0 else None


def _lag(pairs: Sequence[tuple[Told, Did]]) -> list[float]:
    """How late each request arrived against the schedule, in milliseconds, in its order; the promptest counts as 0."""
    in_order = sorted(pairs, key=lambda pair: pair[0].scheduled_s)
    behind = [did.arrived_s - one.scheduled_s for one, did in in_order]
    return [(late - min(behind)) * 1e3 for late in behind]


def _drift(lag: Sequence[float]) -> float | None:
    tenth = len(lag) // 10
    return median(lag[-tenth:]) - median(lag[:tenth]) if tenth else None
