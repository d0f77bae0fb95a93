"""The head and the end of a run's ledger: what was planned, and what became of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from loadtest.engine import Arm
from loadtest.load import Sweep
from loadtest.own_figures import OwnFigures
from loadtest.plan import mode_of
from loadtest.profile import Profile
from loadtest.prompts.agreement import agreement
from loadtest.prompts.prepare import Prepared
from loadtest.schedule import Schedule
from loadtest.versions import versions
from serving.facts.traffic import SCHEMA, LoadPlan, Phase, RequestSeen, RunEnd, RunPlan

MOST_LENGTHS: Final = 5_000


def head_of(
    name: str, profile: Profile, arms: Sequence[Arm], schedule: Schedule | None, seed: int, started_at: str
) -> RunPlan:
    """The head of a run that is about to begin; a sweep has no schedule yet. `started_at` is RFC 3339, UTC."""
    load = profile.load
    phases = () if schedule is None else schedule.phases
    plan = LoadPlan(
        mode="sweep" if isinstance(load, Sweep) else mode_of(load),
        seed=seed,
        planned=None if schedule is None else schedule.planned,
        rate_per_s=phases[0].rate_per_s if len({phase.rate_per_s for phase in phases}) == 1 else None,
        duration_s=None if schedule is None else schedule.end_s,
        concurrency=max((phase.concurrency or 0 for phase in phases), default=0) or None,
        warmup_s=profile.warmup_s,
        phases=phases,
    )
    return RunPlan(
        schema=SCHEMA,
        started_at=started_at,
        profile=name,
        base_url=arms[0].target.base_url,
        model=arms[0].served.model,
        load=plan,
        versions=versions(),
        candidate_url=arms[1].target.base_url if len(arms) > 1 else None,
    )


def end_of(
    requests: Sequence[RequestSeen],
    measured: OwnFigures,
    prepared: Prepared,
    *,
    arms: int,
    elapsed_s: float,
    interrupted: str | None,
    workers: int,
    clock_uncertainty_ms: float | None,
    phases: tuple[Phase, ...] = (),
) -> RunEnd:
    """The end of a run with these records. `phases` are those that a sweep made on its way."""
    return RunEnd(
        records=len(requests),
        elapsed_s=elapsed_s,
        interrupted=interrupted,
        loop_lag_ms=lags_of(measured),
        cpu_s=measured.cpu_s,
        client_lag=measured.client_lag.document(),
        kernel_stamps=measured.stamped / measured.reads if measured.reads else None,
        chunks=measured.chunks,
        coalesced=measured.coalesced,
        core_share=measured.core_share,
        workers=workers,
        phases=phases,
        clock_uncertainty_ms=clock_uncertainty_ms,
        prompts=_lengths(requests, prepared, arms),
    )


def _lengths(requests: Sequence[RequestSeen], prepared: Prepared, arms: int) -> dict[str, Any] | None:
    """How well prompt lengths could be set, and how far the server's own counts are from what was asked for."""
    calibration = prepared.calibration
    if calibration is None:
        return None
    looked_at = requests[:: max(1, len(requests) // MOST_LENGTHS)]
    found = agreement(
        (prepared.prompts.prompt_of(seen.index // arms).asked_tokens, seen.prompt_tokens) for seen in looked_at
    )
    return {
        "approximated": calibration.approximated,
        "why": calibration.why,
        "worst_error_tokens": calibration.worst_error_tokens,
        "calls": calibration.calls,
        "asked_and_counted": None if found is None else asdict(found),
    }


def lags_of(measured: OwnFigures) -> dict[str, float] | None:
    """How late the event loop was, as the end of a run tells it; None where it was not measured."""
    lags = measured.loop_lag
    if not lags.count:
        return None
    return {
        "p50": round(lags.quantile(0.5), 3),
        "p99": round(lags.quantile(0.99), 3),
        "max": round(lags.largest, 3),
    }
