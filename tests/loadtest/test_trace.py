"""A trace is replayed exactly as it was recorded, or refused by its file and line."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from loadtest.load import TraceFile
from loadtest.schedule import Length
from loadtest.trace import parse_trace, read_trace
from serving.errors import Refused

MOONCAKE: list[dict[str, Any]] = [
    {"timestamp": 27_482, "input_length": 6755, "output_length": 500, "hash_ids": [46, 47, 48]},
    {"timestamp": 30_535, "input_length": 7322, "output_length": 490, "hash_ids": [46, 47, 59]},
    {"timestamp": 30_535, "input_length": 5, "output_length": 1},
    {"timestamp": 57_000, "input_length": 12, "output_length": 7, "hash_ids": []},
]
AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8
2023-11-16 18:17:04.0319609,110,27
2023-11-17 00:00:00,2,1
"""


def wanted(**more: Any) -> TraceFile:
    return TraceFile(file="day.jsonl", **more)


def jsonl(rows: list[dict[str, Any]]) -> list[str]:
    return [json.dumps(row) + "\n" for row in rows]


def test_mooncake_rows_keep_their_times_lengths_and_blocks():
    trace = parse_trace(jsonl(MOONCAKE), wanted())
    assert list(trace.due_s) == [0.0, 3.053, 3.053, 29.518]
    assert trace.lengths == (
        Length(6755, 500, (46, 47, 48)),
        Length(7322, 490, (46, 47, 59)),
        Length(5, 1),
        Length(12, 7),
    )


def test_azure_rows_keep_their_times_and_lengths():
    trace = parse_trace(AZURE.splitlines(keepends=True), wanted())
    assert list(trace.due_s) == [0.0, 0.052, 0.052, 20_576.02004]
    assert trace.lengths == (Length(4808, 10), Length(3180, 8), Length(110, 27), Length(2, 1))


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(
            [
                '{"TIMESTAMP": "2024-05-10 00:00:00+00:00", "ContextTokens": 3, "GeneratedTokens": 4}',
                '{"TIMESTAMP": "2024-05-10T02:00:01.5+02:00", "ContextTokens": 5, "GeneratedTokens": 6}',
            ],
            id="azure-as-jsonl-with-time-zones",
        ),
        pytest.param(["\ufeffContextTokens, GeneratedTokens, TIMESTAMP", "3,4,7", "5,6,8.5"], id="seconds-and-a-bom"),
        pytest.param(
            ["TIMESTAMP,ContextTokens,GeneratedTokens,x", "20240510,3,4,", "", '"20240511.5",5,6,"a,b"'], id="x"
        ),
        pytest.param(
            [
                "",
                '{"timestamp": 0.5, "input_length": 3, "output_length": 4}',
                "\n",
                '{"timestamp": 1500.5, "input_length": 5, "output_length": 6}',
            ],
            id="blank-lines",
        ),
    ],
)
def test_columns_of_either_kind_come_in_several_shapes(rows: list[str]):
    trace = parse_trace(rows, wanted())
    assert (list(trace.due_s), trace.lengths) == ([0.0, 1.5], (Length(3, 4), Length(5, 6)))


def test_a_time_without_a_zone_is_utc_wherever_it_is_read(monkeypatch: pytest.MonkeyPatch):
    header, row = AZURE.splitlines()[0], "2023-11-16 18:17:04{},1,1"
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "America/New_York")
        time.tzset()
        trace = parse_trace([header, row.format(""), row.format(".5+00:00")], wanted())
    time.tzset()
    assert list(trace.due_s) == [0.0, 0.5]


def test_a_replay_at_twice_the_speed_halves_every_time_and_no_length():
    trace = parse_trace(jsonl(MOONCAKE), wanted(speed=2))
    assert list(trace.due_s) == [0.0, 1.5265, 1.5265, 14.759]
    assert trace.lengths == parse_trace(jsonl(MOONCAKE), wanted()).lengths


@pytest.mark.parametrize(("limit", "rows"), [({"requests": 2}, 2), ({"duration_s": 3.053}, 1), ({"duration_s": 4}, 3)])
def test_the_beginning_of_a_trace_may_be_taken_and_what_comes_after_it_is_not_even_read(limit, rows: int):
    trace = parse_trace([*jsonl(MOONCAKE), '{"cut'] if "requests" in limit else jsonl(MOONCAKE), wanted(**limit))
    assert len(trace.due_s) == len(trace.lengths) == rows


GOOD = '{"timestamp": 5, "input_length": 1, "output_length": 2}'


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        pytest.param([GOOD, GOOD[:30]], "line 2: cut short or not JSON", id="truncated"),
        pytest.param([GOOD, "", "[1]"], "line 3: not a JSON object", id="not-an-object"),
        pytest.param([GOOD, '{"timestamp": 6, "input_length": 1}'], "line 2: no output_length", id="missing-key"),
        pytest.param(['{"time": 6}'], "line 1: no timestamp: each row needs timestamp, input_length", id="other-keys"),
        pytest.param(
            [GOOD, GOOD.replace("5", "4.5")], "line 2: 0.0005 s before the row above: sort", id="out-of-order"
        ),
        pytest.param(
            [GOOD, GOOD.replace("5", "9"), GOOD.replace("5", "8")], "line 3: 0.001 s before the row above", id="later"
        ),
        pytest.param([GOOD.replace("5", "NaN")], "line 1: timestamp is nan", id="nan"),
        pytest.param([GOOD.replace("5", '"soon"')], "line 1: timestamp is 'soon'", id="word-as-time"),
        pytest.param([GOOD.replace("5", "true")], "line 1: timestamp is True", id="bool-as-time"),
        pytest.param([GOOD.replace("5", "9" * 400)], "line 1: timestamp is 999", id="huge-time"),
        pytest.param(
            [GOOD, GOOD.replace("5", "1800000000000")], "line 2: 2.08e+04 days after the first row", id="wrong-unit"
        ),
        pytest.param([GOOD, GOOD.replace("2}", "0}")], "line 2: output_length is 0: give a whole", id="no-tokens"),
        pytest.param([GOOD.replace("2}", "-2}")], "line 1: output_length is -2", id="negative"),
        pytest.param([GOOD.replace("2}", "2.5}")], "line 1: output_length is 2.5", id="half-a-token"),
        pytest.param([GOOD.replace("2}", "2e9}")], "line 1: output_length is 2", id="too-long"),
        pytest.param([GOOD.replace("2}", '2, "hash_ids": ["a"]}')], "line 1: hash_ids must be", id="hash-ids"),
        pytest.param(["time,in,out", "1,2,3"], "line 1: neither a JSON object nor a CSV header", id="other-header"),
        pytest.param([*AZURE.splitlines()[:2], "2023-11-16 18:1"], "line 3: has 1 columns of 3", id="truncated-csv"),
        pytest.param([*AZURE.splitlines()[:2], '"2023'], "line 3: not CSV", id="open-quote"),
        pytest.param([AZURE.splitlines()[0], "16/11/2023,1,2"], "line 2: TIMESTAMP is '16/11/2023'", id="bad-date"),
        pytest.param([AZURE.splitlines()[0], "5,1,²"], "line 2: GeneratedTokens is", id="not-a-digit"),
        pytest.param([AZURE.splitlines()[0]], "holds no request", id="header-alone"),
        pytest.param([], "holds no request", id="empty"),
    ],
)
def test_a_bad_trace_is_refused_in_one_line_with_its_file_and_line(lines: list[str], said: str):
    with pytest.raises(Refused) as refused:
        parse_trace(lines, wanted())
    assert str(refused.value).startswith("trace day.jsonl: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_trace_longer_than_any_run_is_taken_at_another_speed_or_its_beginning_is():
    eight_days = [GOOD, GOOD.replace("5", str(8 * 86_400_000))]
    assert list(parse_trace(eight_days, wanted(duration_s=86_400)).due_s) == [0]
    assert parse_trace(eight_days, wanted(speed=2)).due_s[1] < 4 * 86_400


def test_too_many_requests_are_refused_with_what_limits_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("loadtest.trace.MOST_REQUESTS", 3)
    with pytest.raises(Refused, match=r"line 4: more than 3 requests: set trace\.requests or trace\.duration_s"):
        parse_trace(jsonl(MOONCAKE), wanted())
    assert len(parse_trace(jsonl(MOONCAKE), wanted(requests=3)).lengths) == 3


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path):
    with pytest.raises(Refused, match=r"none\.jsonl: No such file or directory: give the path"):
        read_trace(TraceFile(file=str(tmp_path / "none.jsonl")))
    with pytest.raises(Refused, match="Is a directory"):
        read_trace(TraceFile(file=str(tmp_path)))
    (tmp_path / "day.gz").write_bytes(b"\x1f\x8b\x08\xff\xfe")
    with pytest.raises(Refused, match=r"day\.gz: not UTF-8: .* not compressed"):
        read_trace(TraceFile(file=str(tmp_path / "day.gz")))


def test_a_file_is_read_whole(tmp_path: Path):
    (tmp_path / "day.csv").write_text(AZURE.replace("\n", "\r\n"))
    assert len(read_trace(TraceFile(file=str(tmp_path / "day.csv"))).due_s) == 4
