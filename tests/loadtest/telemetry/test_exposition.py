"""Prometheus text of vLLM and dcgm-exporter: the right figures, and none where there is no knowing."""

from __future__ import annotations

import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from loadtest.telemetry.exposition import DCGM, VLLM, dcgm_values, vllm_values
from serving.errors import CannotObserve
from serving.facts.telemetry import METRICS
from tests.fakes.metrics_server import dcgm_text, vllm_text


def test_every_figure_of_vllm_is_found_among_its_neighbours():
    text = vllm_text(
        {
            "vllm:num_requests_running": 3,
            "vllm:num_requests_waiting": 2,
            "vllm:kv_cache_usage_perc": 0.25,
            "vllm:prefix_cache_queries_total": 1000,
            "vllm:prefix_cache_hits_total": 400,
            "vllm:num_preemptions_total": 1,
            "vllm:prompt_tokens_total": 5e6,
            "vllm:generation_tokens_total": 7,
            "vllm:time_to_first_token_seconds_sum": 1.5,
            "vllm:time_to_first_token_seconds_count": 10,
            "vllm:request_queue_time_seconds_sum": 0.5,
            "vllm:request_queue_time_seconds_count": 9,
        },
        rejected=4,
    )
    assert vllm_values(text) == {
        "running": 3,
        "waiting": 2,
        "kv_cache_usage": 0.25,
        "prefix_queries": 1000,
        "prefix_hits": 400,
        "preemptions": 1,
        "prompt_tokens": 5e6,
        "generation_tokens": 7,
        "server_ttft_s": 1.5,
        "server_ttft_count": 10,
        "queue_time_s": 0.5,
        "queue_time_count": 9,
        "admission_rejections": 4,
    }


def test_counts_are_summed_over_engine_cores_and_of_shares_the_fullest_is_taken():
    cores = [{"vllm:num_requests_running": n, "vllm:kv_cache_usage_perc": n / 10} for n in (2, 7, 1)]
    values = vllm_values(vllm_text(*cores))
    assert values["running"] == 10
    assert values["kv_cache_usage"] == 0.7


def test_what_an_older_vllm_does_not_give_is_not_seen_rather_than_zero():
    assert "admission_rejections" not in vllm_values(vllm_text(rejected=None))
    assert vllm_values("# HELP other Of another server.\n# TYPE other gauge\nother 1\n") == {}


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
def test_a_figure_that_is_no_number_is_not_seen(value: str):
    text = vllm_text({"vllm:kv_cache_usage_perc": 0.5}, {"vllm:kv_cache_usage_perc": 0.6})
    values = vllm_values(text.replace(" 0.6", f" {value}"))
    assert "kv_cache_usage" not in values
    assert values["running"] == 0


@pytest.mark.parametrize(
    "text", ["<html><body>Bad gateway</body></html>", '{"error": "x"}', "a b c", "x{", "\x00\xff\n", "# TYPE a"]
)
def test_other_text_is_refused_in_one_line(text: str):
    for read in (vllm_values, lambda said: dcgm_values(said, {})):
        with pytest.raises(CannotObserve, match="is not Prometheus text"):
            read(text)


def test_garbled_text_never_raises_anything_else():
    text, draw = vllm_text({}, {}), random.Random(1)
    for _ in range(500):
        garbled = list(text[draw.randrange(2000) :][:800])
        for _ in range(draw.randint(1, 20)):
            garbled[draw.randrange(len(garbled))] = draw.choice('{}"\\ \n\t,=#1a_:+\x00é')
        try:
            vllm_values("".join(garbled))
        except CannotObserve:
            continue


def test_every_series_of_vllm_is_one_that_its_source_names():
    package = find_spec("vllm")
    if package is None or package.origin is None:
        pytest.skip("needs vllm, whose source this reads")
    source = (Path(package.origin).parent / "v1/metrics/loggers.py").read_text()
    for series in VLLM:
        counter = series.endswith("_total")
        name = series.removesuffix("_total").removesuffix("_sum").removesuffix("_count")
        kind = "_counter_cls" if counter else "_gauge_cls" if name == series else "_histogram_cls"
        before, found, _ = source.partition(f'name="{name}"')
        assert found, name
        assert before.rstrip().endswith(f"self.{kind}("), series


def test_every_figure_has_a_meaning():
    for name in (*VLLM.values(), *(metric for metric, _ in DCGM.values())):
        assert name in METRICS


def test_gpus_of_an_exporter_are_told_apart_in_our_units():
    text = dcgm_text(
        {"UUID": "GPU-0", "FB_USED": 70000, "FB_FREE": 9000, "GPU_UTIL": 97, "POWER_USAGE": 612.5, "XID_ERRORS": 0},
        {"UUID": "GPU-1", "FB_USED": 10, "XID_ERRORS": 79},
    )
    assert dcgm_values(text, {}) == {
        "GPU-0": {
            "gpu_used_mib": 70000,
            "gpu_free_mib": 9000,
            "gpu_util": pytest.approx(0.97),
            "gpu_power_w": 612.5,
            "gpu_xid": 0,
        },
        "GPU-1": {"gpu_used_mib": 10, "gpu_xid": 79},
    }


@pytest.mark.parametrize(
    ("gpus", "labels", "found"),
    [
        pytest.param(
            [{"UUID": "A", "FB_USED": 1, "namespace": "llm"}, {"UUID": "B", "FB_USED": 2, "namespace": "other"}],
            {"namespace": "llm"},
            {"A": {"gpu_used_mib": 1}},
            id="only-the-labels-asked-for",
        ),
        pytest.param(
            [{"UUID": "A", "FB_USED": 1, "GPU_I_ID": "7"}, {"UUID": "A", "FB_USED": 2, "GPU_I_ID": "8"}],
            {},
            {"A/7": {"gpu_used_mib": 1}, "A/8": {"gpu_used_mib": 2}},
            id="mig-slices",
        ),
        pytest.param(
            [{"UUID": "A", "FB_USED": 5, "pod": "x"}, {"UUID": "A", "FB_USED": 5, "pod": "y"}],
            {},
            {"A": {"gpu_used_mib": 5}},
            id="shared-and-in-agreement",
        ),
        pytest.param(
            [
                {"UUID": "A", "FB_USED": 5, "FB_FREE": 1, "pod": "x"},
                {"UUID": "A", "FB_USED": 6, "FB_FREE": 1, "pod": "y"},
            ],
            {},
            {"A": {"gpu_free_mib": 1}},
            id="shared-and-at-odds",
        ),
        pytest.param([{"UUID": "A", "FB_USED": 9223372036854775794}], {}, {}, id="blank"),
        pytest.param([], {}, {}, id="no-gpu"),
    ],
)
def test_an_exporters_figures_are_taken_only_where_they_are_clear(
    gpus: list[dict[str, Any]], labels: dict[str, str], found: dict[str, Any]
):
    assert dcgm_values(dcgm_text(*gpus), labels) == found
