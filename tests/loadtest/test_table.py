from __future__ import annotations

import csv
import io

import pytest

from loadtest.table import rows
from serving.expectations import Slo
from serving.facts.traffic import Outcome
from tests.loadtest.rich import rich
from tests.loadtest.runs import failed, request, traffic

SLOS = (Slo(metric="ttft", statistic="p95", at_most_ms=300),)


def read(*args: object) -> list[dict[str, str]]:
    text = "".join(rows(*args))  # type: ignore[arg-type]
    return list(csv.DictReader(io.StringIO(text)))


def test_there_is_a_line_for_every_request_in_the_order_of_the_schedule():
    run = rich()
    lines = read(run, SLOS)
    assert [int(line["index"]) for line in lines] == sorted(seen.index for seen in run.requests)
    assert {line["phase"] for line in lines} == {"warm-up", "steady", "spike", "recovery", "cool-down"}
    assert sum(line["counts"] == "yes" for line in lines) == len(run.window)
    assert {line["outcome"] for line in lines} == {outcome.value for outcome in Outcome}


def test_a_line_holds_the_metrics_of_its_request():
    (line,) = read(traffic(request(3, ttft_s=0.25, itl_s=0.02, tokens=5, sent_s=3.001)), SLOS)
    assert line["good"] == "yes"
    assert float(line["ttft_ms"]) == pytest.approx(250)
    assert float(line["ttft_wire_ms"]) == pytest.approx(249)
    assert float(line["schedule_lag_ms"]) == pytest.approx(1)
    assert float(line["tpot_ms"]) == pytest.approx(20)
    assert float(line["e2e_ms"]) == pytest.approx(330)
    assert (line["chunks"], line["completion_tokens"], line["status"]) == ("5", "5", "200")


def test_a_failed_request_has_a_reason_and_no_latency():
    (line,) = read(traffic(failed(0, reason='said "no", twice\nand again')), SLOS)
    assert line["reason"] == 'said "no", twice\nand again'
    assert (line["good"], line["outcome"]) == ("no", "http_error")
    assert {line[name] for name in line if name.endswith("_ms") and name != "schedule_lag_ms"} == {""}


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@x", "\tx"])
def test_a_servers_words_are_no_formula(text: str):
    (line,) = read(traffic(request(0, replica=text)), SLOS)
    assert line["replica"] == f"'{text}"
