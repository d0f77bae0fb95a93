"""The document of a run: what the contract names, by a closed schema, and figures by an independent path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import jsonschema
import pytest

from loadtest.document import document
from loadtest.document_parts import Swept
from loadtest.document_schema import json_schema
from loadtest.load import Search
from loadtest.sweep import Answer, Probe, Result, Sweep
from serving.expectations import Slo
from serving.facts.traffic import Outcome, Traffic
from serving.judge.slo import judge_traffic
from serving.verdict import Verdict
from tests.loadtest.asking import profile_of
from tests.loadtest.rich import rich, telemetry
from tests.loadtest.runs import failed, request, traffic

COMMITTED = Path(__file__).parents[2] / "docs" / "loadtest.schema.json"
SLOS = (Slo(metric="ttft", statistic="p95", at_most_ms=300), Slo(metric="goodput", at_least_share=0.9))
PROFILE = profile_of(slos=SLOS)
RICH = rich()
OPEN = {"reasons", "versions", "profile", "attached", "prompts", "metrics"}
SUMMARY = {"n", "mean", "p50", "p90", "p95", "p99", "max"}


def swept() -> Swept:
    probes = [Probe(1, 10.0, 16.0), Probe(2, 30.0, 6.0)]
    results = [Result(Verdict.PASS, 10.0, 9.8), Result(Verdict.UNKNOWN, 30.0, None, "the harness was late")]
    state = Sweep(Search(), 1, tuple(zip(probes, results, strict=True)))
    return Swept(state, Answer(10.0, 30.0, False, "no probe at 30/s could tell"), (RICH, traffic()))


def produced(run: Traffic, **more: Any) -> dict[str, Any]:
    body = document(run, PROFILE, judge_traffic(run, SLOS, PROFILE.harness), [{"findings": []}], **more)
    found: dict[str, Any] = json.loads(json.dumps(body, allow_nan=False))
    return found


FAILED = traffic(failed(0), failed(1, Outcome.NOT_SENT, sent_s=None, end_s=None))
DOCUMENTS = [
    pytest.param(lambda: produced(RICH, telemetry=telemetry(), swept=swept()), id="everything"),
    pytest.param(lambda: produced(traffic(*(request(n) for n in range(30)))), id="small"),
    pytest.param(lambda: produced(FAILED), id="failed"),
    pytest.param(lambda: produced(traffic(mode="closed_loop", interrupted="Ctrl-C")), id="nothing"),
]


def test_the_committed_schema_is_up_to_date_and_a_schema():
    assert COMMITTED.read_text() == json_schema(), "run: python -m loadtest.document > docs/loadtest.schema.json"
    jsonschema.Draft202012Validator.check_schema(json.loads(json_schema()))


@pytest.mark.parametrize("made", DOCUMENTS)
def test_a_produced_document_fits_the_committed_schema(made: Any):
    jsonschema.validate(made(), json.loads(COMMITTED.read_text()))


def objects(body: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every object that this project owns."""
    if isinstance(body, dict):
        yield path
        for key, value in body.items():
            if key not in OPEN or (key == "metrics" and not path):
                yield from objects(value, (*path, key))
    elif isinstance(body, list) and body:
        yield from objects(body[0], (*path, 0))


def test_an_unknown_member_is_refused_wherever_the_project_owns_the_object():
    whole = produced(RICH, telemetry=telemetry(), swept=swept())
    validator = jsonschema.Draft202012Validator(json.loads(COMMITTED.read_text()))
    paths = list(objects(whole))
    assert {path[0] for path in paths if path} >= {
        "findings",
        "load",
        "metrics",
        "phases",
        "arms",
        "sweep",
        "telemetry",
    }
    for path in paths:
        body = deepcopy(whole)
        inner = body
        for step in path:
            inner = inner[step]
        inner["stranger"] = 1
        assert not validator.is_valid(body), path
    for name in whole:
        assert not validator.is_valid({key: value for key, value in whole.items() if key != name}), name


def test_the_document_has_what_the_contract_names():
    body = produced(RICH)
    assert {"schema", "command", "verdict", "exit_code", "findings", "goodput", "environment"} <= set(body)
    assert {"offered_per_s", "achieved_per_s", "streams"} <= set(body["load"])
    assert set(body["outcomes"]) == {outcome.value for outcome in Outcome}
    assert {"prompt", "output", "output_per_s"} <= set(body["tokens"])
    assert {"error_bounds", "cpu_us_per_chunk", "kernel_timestamps"} <= set(body["measurement"])
    for name in ("ttft", "ttft_wire", "itl", "tpot", "e2e", "stall", "schedule_lag", "client_lag"):
        assert set(body["metrics"][f"{name}_ms"]) >= SUMMARY, name


def test_the_window_is_what_counts():
    body = produced(RICH)
    counted = [seen for seen in RICH.requests if 4 <= seen.scheduled_s < 36]
    good = [seen for seen in counted if seen.ok]
    assert body["load"]["window_s"] == 32
    assert body["load"]["scheduled"] == len(counted)
    assert body["load"]["offered_per_s"] == pytest.approx(len(counted) / 32)
    assert body["load"]["warmup_requests"] == len(RICH.requests) - len(counted)
    assert body["outcomes"]["ok"] == len(good)
    assert body["tokens"]["output"] == sum(seen.completion_tokens or 0 for seen in good)
    assert body["goodput"] == sum(((s.first_s or 9) - s.scheduled_s) <= 0.3 for s in good) / len(counted)


def test_each_phase_tells_of_its_own_requests():
    body = produced(RICH)
    assert [phase["name"] for phase in body["phases"]] == ["warm-up", "steady", "spike", "recovery", "cool-down"]
    steady = body["phases"][1]
    inside = [seen for seen in RICH.requests if 4 <= seen.scheduled_s < 20]
    assert steady["scheduled"] == len(inside)
    assert steady["offered_per_s"] == pytest.approx(len(inside) / 16)
    middle = median((seen.first_s or 0) - seen.scheduled_s for seen in inside if seen.ok)
    assert steady["metrics"]["ttft_ms"]["p50"] == pytest.approx(middle * 1e3, rel=0.02)
    assert body["phases"][0]["counts"] is False


def test_arms_and_replicas_split_the_window():
    body = produced(RICH)
    assert [arm["name"] for arm in body["arms"]] == ["baseline", "candidate"]
    assert sum(arm["scheduled"] for arm in body["arms"]) == body["load"]["scheduled"]
    assert [replica["name"] for replica in body["replicas"]] == ["pod-0", "pod-1", "pod-2"]
    assert sum(replica["scheduled"] for replica in body["replicas"]) == body["outcomes"]["ok"]


def test_a_sweep_tells_each_probe_and_calls_unknown_invalid():
    found = produced(RICH, swept=swept())["sweep"]
    assert (found["capacity_per_s"], found["ceiling_per_s"], found["settled"]) == (10.0, 30.0, False)
    assert [probe["verdict"] for probe in found["probes"]] == ["pass", "invalid"]
    assert found["probes"][0]["metrics"]["ttft_ms"]["n"] > 0
    assert found["probes"][1]["why"] == "the harness was late"


def test_the_measurement_states_its_own_error():
    own = produced(RICH)["measurement"]
    assert own["kernel_timestamps"] is True
    assert own["kernel_stamp_share"] == 0.75
    assert own["error_bounds"]["stamped_late_ms"] == {"p50": 0.1, "p99": 1.2, "max": 4.0}
    assert own["error_bounds"]["sent_late_ms"]["p50"] == pytest.approx(0.5, abs=0.01)
    assert own["cpu_us_per_chunk"] == pytest.approx(2.5e6 / RICH.end.chunks)
    stamped = produced(replace(RICH, end=replace(RICH.end, kernel_stamps=1.0)))["measurement"]
    assert stamped["error_bounds"]["stamped_late_ms"] == {"p50": 0.0, "p99": 0.0, "max": 0.0}
    unstamped = produced(replace(RICH, end=replace(RICH.end, kernel_stamps=None, client_lag=None)))
    assert unstamped["measurement"]["kernel_timestamps"] is False
    assert unstamped["metrics"]["client_lag_ms"] is None


def test_the_measurement_states_how_well_workers_on_other_machines_were_known():
    assert produced(RICH)["measurement"]["clock_uncertainty_ms"] is None
    elsewhere = produced(replace(RICH, end=replace(RICH.end, workers=2, clock_uncertainty_ms=4.25)))
    assert elsewhere["measurement"]["clock_uncertainty_ms"] == 4.25
    jsonschema.validate(elsewhere, json.loads(COMMITTED.read_text()))


def test_client_lag_is_the_histograms():
    found = produced(RICH)["metrics"]["client_lag_ms"]
    assert found["n"] == 5_000
    assert found["p50"] == pytest.approx(0.135, rel=0.1)  # exp(-2)
    assert found["p50"] < found["p90"] < found["p95"] < found["p99"] < found["max"]


def test_telemetry_tells_who_was_asked_in_vain_and_the_range_of_each_figure():
    found = produced(RICH, telemetry=telemetry())["telemetry"]
    assert [source["missed"] for source in found["sources"]] == [0, 2, 0, 0]
    assert found["sources"][1]["last_missed"] == "connection refused"
    (gpu,) = (figure for figure in found["figures"] if figure["metric"] == "gpu_used_mib")
    assert (gpu["source"], gpu["unit"], gpu["least"], gpu["most"]) == ("gpu:GPU-1", "MiB", 71_000, 71_000)


def test_golden_questions_are_prompts_and_stay_out():
    profile = profile_of(
        slos=SLOS, prompts={"golden": {"share": 0.1, "questions": [{"ask": "What is secret?", "expect": "the answer"}]}}
    )
    body = document(RICH, profile, judge_traffic(RICH, SLOS, profile.harness), [])
    text = json.dumps(body)
    assert "secret" not in text
    assert "the answer" not in text
    assert body["profile"]["prompts"]["golden"] == {"share": 0.1, "questions": 1}
    asked = sum(seen.sane is not None for seen in RICH.window)
    assert body["golden"] == {"asked": asked, "sane": sum(seen.sane is True for seen in RICH.window)}
