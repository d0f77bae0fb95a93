"""Drives a sweep with real probes, one after the other in one run: the I/O around `loadtest.sweep`.

A probe is judged like a run of its own. What it found comes with the run; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter_ns
from typing import Final

from gevent.event import Event

from loadtest.account import lags_of
from loadtest.carrier import Carrier
from loadtest.document_parts import Swept
from loadtest.feasible import requests_for
from loadtest.load import Sweep as SweepLoad
from loadtest.own_figures import OwnFigures
from loadtest.plan import probe_of, schedule_of
from loadtest.profile import Profile
from loadtest.schedule import Schedule
from loadtest.sweep import Answer, Probe, Result, answer_so_far, begin, step
from serving.errors import CannotAct
from serving.facts.columns import columns
from serving.facts.traffic import Phase, RequestSeen, RunEnd, RunPlan, Traffic
from serving.judge.harness import doubt, judge_harness
from serving.judge.slo import judge_traffic
from serving.verdict import Verdict

LEAD_NS: Final = 250_000_000
ROUNDING_S: Final = 1e-6  # else the shortest answer itself may lie just outside


class Sweeper:
    """One search. Phases and requests go on counting from probe to probe, on the time axis of the whole run."""

    def __init__(
        self,
        profile: Profile,
        engine: Carrier,
        plan: RunPlan,
        seed: int,
        origin_ns: int,
        stop: Event,
        say: Callable[[str], None],
    ) -> None:
        self._profile, self._engine, self._plan, self._seed = profile, engine, plan, seed
        self._origin_ns, self._stop, self._say = origin_ns, stop, say
        self._measured = OwnFigures()
        self._runs: list[Traffic] = []
        self._sent = 0
        self.phases: list[Phase] = []

    def search(self, requests: Sequence[RequestSeen]) -> tuple[Swept, OwnFigures]:
        """Probe until the answer is found. `requests` is where the records of the run arrive."""
        load = self._profile.load
        if not isinstance(load, SweepLoad):
            raise CannotAct("only a profile with a sweep can be searched")
        state, asked = begin(load.sweep, requests_for(self._profile))
        answer: Probe | Answer = asked
        while isinstance(answer, Probe):
            if self._stop.is_set():
                answer = answer_so_far(state, "the run was stopped")
                break
            result = self._probe(answer, requests)
            verdict = state.verdict_of(result).value
            self._say(f"probe {answer.number}: {answer.rate_rps:.3g}/s {verdict} {result.why}".rstrip())
            state, answer = step(state, result)
        return Swept(state, answer, tuple(self._runs)), self._measured

    def _probe(self, probe: Probe, requests: Sequence[RequestSeen]) -> Result:
        schedule = schedule_of(probe_of(self._profile, probe), self._seed + probe.number)
        schedule = replace(schedule, first=self._sent)
        begin_ns, before, first_phase = perf_counter_ns() + LEAD_NS, len(requests), len(self.phases)
        shift_s = (begin_ns - self._origin_ns) / 1e9
        self.phases += [_shifted(phase, probe, shift_s) for phase in schedule.phases]
        self._engine.prepare(schedule)
        measured = self._engine.carry_out(schedule, begin_ns, run_origin_ns=self._origin_ns, phase_offset=first_phase)
        self._measured.merge(measured)
        self._sent += schedule.planned or 0
        run = self._run(schedule, first_phase, requests[before:], measured, begin_ns)
        self._runs.append(run)
        return self._result(probe, run)

    def _run(
        self,
        schedule: Schedule,
        first_phase: int,
        requests: Sequence[RequestSeen],
        measured: OwnFigures,
        begin_ns: int,
    ) -> Traffic:
        """The probe as a run of its own, to be judged as one."""
        load = replace(
            self._plan.load,
            mode="probe",
            planned=schedule.planned,
            phases=tuple(self.phases),
            duration_s=schedule.end_s,
        )
        end = RunEnd(
            records=len(requests),
            elapsed_s=(perf_counter_ns() - begin_ns) / 1e9,
            interrupted="the run was stopped" if self._stop.is_set() else None,
            cpu_s=measured.cpu_s,
            loop_lag_ms=lags_of(measured),
            client_lag=measured.client_lag.document(),
            kernel_stamps=measured.stamped / measured.reads if measured.reads else None,
            core_share=measured.core_share,
        )
        return Traffic(replace(self._plan, load=load), tuple(requests), end)

    def _result(self, probe: Probe, run: Traffic) -> Result:
        report = judge_traffic(run, self._profile.slos, self._profile.harness, self._profile.confidence)
        harness = judge_harness(run, columns(run.window), self._profile.harness)
        counted = [phase for phase in self.phases if phase.counts][-1]
        ends = [(one.end_s, one.end_s - one.scheduled_s) for one in run.requests if one.ok and one.end_s is not None]
        from_s = counted.start_s + min((e2e_s for _, e2e_s in ends), default=0.0) - ROUNDING_S
        ended = sum(from_s <= end_s < from_s + probe.counted_s for end_s, _ in ends)
        believed = doubt(harness) is None
        offered_per_s, achieved_per_s = len(run.window) / probe.counted_s, ended / probe.counted_s
        kept_up = f"of {offered_per_s:.3g} requests a second {achieved_per_s:.3g} ended well" if believed else ""
        why = next(
            (found.why for found in report.findings if found.verdict in (Verdict.FAIL, Verdict.UNKNOWN)), kept_up
        )
        return Result(report.verdict, offered_per_s, achieved_per_s if believed else None, why)


def _shifted(phase: Phase, probe: Probe, shift_s: float) -> Phase:
    end_s = None if phase.end_s is None else phase.end_s + shift_s
    name = f"probe {probe.number}: {probe.rate_rps:.3g}/s" + ("" if phase.counts else f" ({phase.name})")
    return replace(phase, name=name, start_s=phase.start_s + shift_s, end_s=end_s)
