"""Records as columns: what numpy reads is what the records say, and who may import numpy at all."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from serving.facts.columns import columns
from tests.loadtest.runs import failed, request


def test_each_column_is_what_the_records_say_and_nan_where_they_say_nothing():
    rows = columns([request(0), failed(1, sent_s=None, connect_s=None), request(2, connect_s=0.5, sent_s=2.5)])
    assert rows.ok.tolist() == [True, False, True]
    assert rows.left_s[[0, 2]].tolist() == [0.0, 2.0]
    assert np.isnan(rows.left_s[1])
    assert np.isnan(rows.first_s).tolist() == [False, True, False]
    assert rows.gap_counts.tolist() == [4, 0, 4]
    assert rows.gap_starts.tolist() == [0, 4, 4]
    assert rows.span_ms.round(3).tolist() == [40.0, 0.0, 40.0]
    assert np.isnan(rows.longest_gap_ms).tolist() == [False, True, False]


def test_requests_without_any_gap_have_no_columns_of_gaps():
    for requests in ([], [failed(0)], [request(0, tokens=1)]):
        rows = columns(requests)
        assert rows.gaps_ms.size == 0
        assert rows.span_ms.tolist() == [0.0] * len(requests)


def test_a_record_marked_ok_without_its_times_is_not():
    assert not columns([request(0, end_s=None)]).ok.any()


def test_rows_are_chosen_by_a_mask():
    rows = columns([request(index) for index in range(4)])
    assert [r.index for r in rows.where(np.array([True, False, False, True])).requests] == [0, 3]
    assert columns(rows) is rows


def test_the_agent_and_the_verifier_do_not_load_numpy():
    """A readiness agent is small; numpy is for judging load runs."""
    script = "import sys, serving.agent.run, serving.cli.verify; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
