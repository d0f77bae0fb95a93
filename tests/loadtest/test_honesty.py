"""Our harness and deliberately broken ones are held to the same checks: ours meets them, each of those does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from loadtest.truth.honesty import Bounds, Compared, Did, Told, compare, did_of, told_of, violations
from loadtest.truth.process import truth_process
from loadtest.truth.program import Fault, Program
from serving.facts.traffic import Outcome
from tests.loadtest.runs import failed, request, traffic
from tests.loadtest.truth.broken import (
    Client,
    Counts200AsSuccess,
    ParsesBeforeStamping,
    Reads1024Bytes,
    SleepsRelatively,
)
from tests.loadtest.truth.ours import measured

# 100 streams that emit together every 20 ms, as a decode batch does.
BATCH = Program(ttft_ms=60, itl_ms=20, grid_ms=20, tokens=10)
STREAMS = 100
ON_TIME = Bounds(ttft_p50_ms=5.0, tpot_share=0.05)
RATE, SENT = 100, 300
ON_SCHEDULE = Bounds(drift_ms=60.0)
FAULTS: tuple[Fault, ...] = ("truncate", "error_event", "no_finish", "no_done", "abort")
NOTHING = Bounds()

pytestmark = pytest.mark.timeout(120)


def broken(client: type[Client], program: Program, *, due_s: Sequence[float] = ()) -> Compared:
    """What a client of this kind tells, beside what was true."""
    with truth_process(program) as truth:
        told = client(truth.url).scheduled(due_s) if due_s else client(truth.url).burst(STREAMS)
        return compare(told, did_of(truth.requests()))


def test_our_harness_meets_every_check():
    load = {"closed_loop": {"concurrency": STREAMS, "requests": STREAMS}, "seed": 1}
    rate = {"arrivals": "constant", "rate_rps": RATE, "duration_s": SENT / RATE, "seed": 1}
    few = {"closed_loop": {"concurrency": 2, "requests": 4}, "seed": 1}
    quick = Program(ttft_ms=5, itl_ms=2, tokens=4)
    faults = [(replace(quick, fault=fault, fault_after=2), few) for fault in FAULTS]
    batch, schedule, *failed = measured((BATCH, load), (quick, rate), *faults, (replace(quick, status=503), few))
    assert violations(batch, ON_TIME) == []
    assert violations(schedule, ON_SCHEDULE) == []
    assert schedule.requests == SENT
    for found in failed:
        assert (violations(found, NOTHING), found.requests) == ([], 4)


@pytest.mark.parametrize("client", [ParsesBeforeStamping, Reads1024Bytes])
def test_a_client_that_stamps_late_is_found_out(client: type[Client]):
    said = violations(broken(client, BATCH), ON_TIME)
    assert any("TTFT p50 is off" in what for what in said), said


def test_a_client_that_sleeps_relatively_is_found_out():
    due_s = [number / RATE for number in range(SENT)]
    said = violations(broken(SleepsRelatively, Program(ttft_ms=5, itl_ms=2, tokens=4), due_s=due_s), ON_SCHEDULE)
    assert any("drift" in what for what in said), said


@pytest.mark.parametrize("fault", FAULTS)
def test_a_client_that_counts_200_as_success_is_found_out(fault: Fault):
    program = Program(ttft_ms=5, itl_ms=2, tokens=4, fault=fault, fault_after=2)
    said = violations(broken(Counts200AsSuccess, program), NOTHING)
    assert said == [f"{STREAMS} of {STREAMS} requests were called good and were not"]
    assert violations(broken(Client, program), NOTHING) == []


GOOD = Told("a", 0.0, 0.1, (0.2, 0.3, 0.4), 3, True)
TRUE = Did("a", 10.1, (10.2, 10.3, 10.4), 3, True)


@pytest.mark.parametrize(
    ("told", "did", "said"),
    [
        pytest.param(GOOD, TRUE, [], id="honest"),
        pytest.param(
            replace(GOOD, token_s=(0.25, 0.3, 0.4)), TRUE, ["TTFT p50", "TTFT p99", "a gap", "TPOT"], id="late"
        ),
        pytest.param(replace(GOOD, sent_s=0.15), TRUE, ["TTFT p50", "TTFT p99"], id="a-clock-that-starts-late"),
        pytest.param(replace(GOOD, tokens=4), TRUE, ["wrong number of tokens", "TPOT"], id="a-token-too-many"),
        pytest.param(
            replace(GOOD, token_s=(0.2, 0.4)), TRUE, ["wrong number of token chunks", "a gap"], id="a-chunk-too-few"
        ),
        pytest.param(replace(GOOD, sent_s=None), TRUE, ["TTFT p50", "TTFT p99"], id="never-sent-and-yet-it-arrived"),
        pytest.param(GOOD, replace(TRUE, good=False), ["were called good"], id="too-good"),
        pytest.param(replace(GOOD, ok=False), TRUE, ["called failed"], id="too-bad"),
        pytest.param(
            replace(GOOD, request_id="b"),
            TRUE,
            ["one side only", "known to both", "TTFT", "TTFT", "a gap", "TPOT"],
            id="lost",
        ),
    ],
)
def test_each_false_statement_is_named(told: Told, did: Did, said: list[str]):
    found = violations(compare([told], [did]), Bounds(1, 1, 1, tpot_share=0.01))
    assert len(found) == len(said)
    assert all(part in what for part, what in zip(said, found, strict=True))


def test_requests_that_our_harness_never_sent_are_not_passed_over():
    seen = failed(1, outcome=Outcome.NOT_SENT, sent_s=None)
    found = compare(told_of(traffic(request(0), seen)), [replace(TRUE, request_id="warmgate-7-0", tokens=5)])
    assert found.missing == ("warmgate-7-1",)
    assert violations(compare([], []), NOTHING) == ["no request is known to both sides"]


def test_drift_and_lag_are_seen_at_the_server_whatever_the_client_says():
    told = [replace(GOOD, request_id=str(number), scheduled_s=number / 10) for number in range(100)]
    did = [replace(TRUE, request_id=str(number), arrived_s=50 + number / 10 * 1.001) for number in range(100)]
    found = compare(told, did)
    assert found.drift_ms == pytest.approx(9.0, abs=0.2)
    assert found.lag_p99_ms == pytest.approx(9.8, abs=0.2)
