"""The ledger's lines: read back as they were written, or refused in one line."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from serving.errors import CannotObserve
from serving.facts.traffic import Phase, RunEnd, RunPlan, Traffic, line_of, read_ledger
from tests.loadtest.runs import failed, request, traffic

RUN = traffic(request(0), failed(1), request(2, chunk_tokens=None))


def lines(run: Traffic = RUN) -> list[str]:
    return [line_of(run.plan), *(line_of(seen) for seen in run.requests), line_of(run.end)]


def changed(line: int, **members: Any) -> list[str]:
    """The ledger with some members of one line changed."""
    said = lines()
    said[line] = json.dumps(json.loads(said[line]) | members)
    return said


PHASED = replace(RUN, requests=(replace(RUN.requests[0], phase=1),), end=RunEnd(1, 9.0, phases=(Phase("one", 0, 9),)))


def test_a_run_is_read_back_as_it_was():
    assert read_ledger(lines(), "x") == RUN


def test_times_are_kept_to_the_microsecond():
    seen = request(sent_s=1.23456789, chunk_s=(1.23456789, 2.0), chunk_tokens=(1, 1))
    kept = read_ledger(lines(traffic(seen)), "x").requests[0]
    assert (kept.sent_s, kept.chunk_s[0]) == (1.234568, 1.234568)


def test_the_first_line_names_the_schema():
    assert json.loads(lines()[0])["schema"] == "warmgate.ledger/v1"


def test_the_window_is_what_was_scheduled_after_the_warmup_in_the_order_of_the_schedule():
    run = traffic(request(3), request(0), request(1), request(2), warmup_s=1.0)
    assert [seen.index for seen in run.window] == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param([], "line 1 is cut short", id="empty"),
        pytest.param(["hello"], "line 1 is cut short or is not JSON", id="not-json"),
        pytest.param(['{"a": 1}'], "not a ledger of schema warmgate.ledger/v1", id="foreign-json"),
        pytest.param(["[]"], "line 1", id="a-list"),
        pytest.param(['{"schema": "warmgate.ledger/v2"}'], "not a ledger of schema", id="another-version"),
        pytest.param(['{"schema": "warmgate.ledger/v1"}'], "line 1: started_at", id="head-without-its-fields"),
        pytest.param(lines()[:-1], "has no end after 3 requests", id="a-run-that-did-not-finish"),
        pytest.param([*lines()[:2], lines()[2][:-9]], "line 3 is cut short", id="cut-in-a-record"),
        pytest.param([*lines()[:2], lines()[-1]], "holds 1 requests of 3: lines are missing", id="missing-lines"),
        pytest.param(
            [lines()[0], lines()[1].replace('"ok"', '"fine"'), lines()[-1]], "line 2: outcome", id="unknown-outcome"
        ),
        pytest.param([*lines(), lines()[0]], "goes on after its end", id="two-runs-in-one"),
        pytest.param([lines()[0], lines()[1], *lines()[1:3], lines()[-1]], "tells twice of one request", id="twice"),
        pytest.param(changed(1, scheduled_s=math.nan), "line 2 is cut short or is not JSON", id="no-number"),
        pytest.param(changed(1, first_s=-math.inf), "line 2 is cut short or is not JSON", id="infinite"),
        pytest.param(changed(1, chunk_tokens=[1, 1]), "line 2: chunk_tokens fits no 5 chunks", id="too-few-counts"),
        pytest.param(changed(1, chunk_tokens=[]), "line 2: chunk_tokens fits no 5 chunks", id="no-counts"),
        pytest.param(changed(1, chunk_tokens=[1, 1, 1, 1, -1]), "line 2: chunk_tokens", id="negative-count"),
        pytest.param(changed(1, chunk_tokens=[1, 1, 1, 1, 10**20]), "line 2: chunk_tokens", id="count-beyond-reason"),
        pytest.param(lines(PHASED), "of a phase that the run does not tell of", id="no-such-phase"),
        pytest.param(["[" * 100_000], "line 1 is cut short or is not JSON", id="too-deep"),
    ],
)
def test_what_is_not_a_whole_ledger_is_refused_in_one_line(text: list[str], said: str):
    with pytest.raises(CannotObserve) as refused:
        read_ledger(text, "runs/ledger.jsonl")
    assert said in str(refused.value)
    assert str(refused.value).startswith("runs/ledger.jsonl: ")
    assert "\n" not in str(refused.value)


def test_plan_and_end_survive_their_optional_parts():
    plan: RunPlan = RUN.plan
    end = RunEnd(0, 1.0, "Ctrl-C", {"p50": 0.1, "p99": 0.2, "max": 0.3}, 1.5)
    assert read_ledger([line_of(plan), line_of(end)], "x") == Traffic(plan, (), end)
