"""Telemetry on disk and in memory: what is read back, and what is not believed."""

from __future__ import annotations

import json

import pytest

from serving.errors import CannotObserve
from serving.facts.series import Series
from serving.facts.telemetry import METRICS, Head, Row, Source, line_of, merged, read_telemetry

HEAD = Head("warmgate.telemetry/v1", 123, (Source("engine-0", "engine", "http://a:8000"), Source("gpu", "gpu")))
ROWS = (
    Row(1.0, "engine-0", {"running": 3, "preemptions": 0}, state="ready"),
    Row(2.0, "engine-0", missed="connection refused"),
    Row(3.0, "engine-0", {"running": 5, "preemptions": 2}, state="ready"),
    Row(3.5, "gpu:GPU-0", {"gpu_free_mib": 9000.5}),
    Row(4.0, "engine-0", {"running": 1}, state="draining: SIGTERM"),
)


def lines(*documents: Head | Row) -> list[str]:
    return [line_of(document) + "\n" for document in documents or (HEAD, *ROWS)]


def test_rows_become_series_misses_and_changes_of_state():
    seen = read_telemetry(lines(), "t")
    assert seen.sources == HEAD.sources
    assert seen.series == {
        ("engine-0", "running"): Series((1.0, 3.0, 4.0), (3, 5, 1)),
        ("engine-0", "preemptions"): Series((1.0, 3.0), (0, 2)),
        ("gpu:GPU-0", "gpu_free_mib"): Series((3.5,), (9000.5,)),
    }
    assert seen.missed == {"engine-0": ((2.0, "connection refused"),)}
    assert seen.states == {"engine-0": ((1.0, "ready"), (4.0, "draining: SIGTERM"))}
    assert seen.truncated == 0


def test_a_row_says_only_what_there_is_to_say():
    assert json.loads(line_of(ROWS[1])) == {"at_s": 2.0, "source": "engine-0", "missed": "connection refused"}
    assert json.loads(line_of(ROWS[0])) == {
        "at_s": 1.0,
        "source": "engine-0",
        "values": {"running": 3, "preemptions": 0},
        "state": "ready",
    }


def test_rows_may_come_in_any_order():
    shuffled = [lines()[0], *reversed(lines()[1:])]
    assert read_telemetry(shuffled, "t") == read_telemetry(lines(), "t")


def test_a_last_line_that_was_cut_off_is_counted_and_left_out():
    whole = lines()
    cut = read_telemetry([*whole[:-1], whole[-1][:20]], "t")
    assert cut.truncated == 1
    assert cut.series["engine-0", "running"].values == (3, 5)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        pytest.param([*lines()[:2], '{"at_s":2.0,"sou\n', *lines()[3:]], "t: line 3", id="cut-line-in-the-middle"),
        pytest.param([*lines()[:2], '{"at_s":2.0,"sou', *lines()[3:]], "t: line 3", id="cut-line-glued-to-more"),
        pytest.param([*lines(), '{"at_s":2.0,"sou\n'], "t: line 7", id="a-last-line-that-was-ended"),
        pytest.param([*lines(), '{"at_s":NaN,"source":"engine-0"}\n'], "line 7: at_s", id="a-time-that-is-none"),
        pytest.param(
            [*lines(), '{"at_s":1,"source":"engine-0","values":{"running":"many"}}\n'],
            "line 7: values.running",
            id="a-value-that-is-no-number",
        ),
        pytest.param([*lines(), '{"at_s":1,"source":"other"}\n'], "a row of 'other'", id="a-source-of-another-run"),
        pytest.param(lines()[1:], "line 1: schema", id="no-head"),
        pytest.param(['{"schema":"warmgate.ledger/v1"}\n'], "line 1: schema", id="another-schema"),
        pytest.param([], "t: is empty", id="empty"),
        pytest.param(['{"schema'], "t: line 1", id="cut-in-the-head"),
    ],
)
def test_what_is_not_telemetry_says_so_in_one_line(bad: list[str], said: str):
    with pytest.raises(CannotObserve) as raised:
        read_telemetry(bad, "t")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_files_are_merged_unless_they_are_of_two_runs():
    harness = read_telemetry([line_of(Head("warmgate.telemetry/v1", 1, (Source("harness", "harness"),)))], "h")
    both = merged([read_telemetry(lines(), "t"), harness])
    assert [source.name for source in both.sources] == ["engine-0", "gpu", "harness"]
    assert both.series == read_telemetry(lines(), "t").series
    with pytest.raises(CannotObserve, match="two files tell of engine-0"):
        merged([read_telemetry(lines(), "t")] * 2)


def test_a_metric_is_given_by_the_first_of_its_kinds_that_the_run_has():
    seen = read_telemetry(lines(), "t")
    assert [source.name for source in seen.givers("gpu_free_mib")] == ["gpu"]
    assert seen.givers("agent_ready") == ()
    agents_only = read_telemetry([line_of(Head("warmgate.telemetry/v1", 1, (Source("agent-0", "agent"),)))], "t")
    assert [source.name for source in agents_only.givers("gpu_free_mib")] == ["agent-0"]
    assert set(seen.of(seen.sources[1], "gpu_free_mib")) == {"gpu:GPU-0"}


def test_every_ratio_is_made_of_counters_that_the_same_sources_give():
    ratios = [metric for metric in METRICS.values() if metric.shape == "ratio"]
    assert ratios
    for metric in ratios:
        assert [(METRICS[part].shape, METRICS[part].kinds) for part in metric.parts] == [("counter", metric.kinds)] * 2
