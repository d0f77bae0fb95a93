"""Resident and GPU memory, against every state of their evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from serving import codes
from serving.facts.model import Engine, Modelz, State
from serving.facts.seen import Unseen
from serving.verdict import Verdict
from tests.fakes.modelz import GIB, MIB, gpu, modelz
from tests.judge.findings import DEAD, FAIL, NA, PASS, UNKNOWN, facts, finding

HOST_MEMORY = {
    "no-target": (modelz(), {}, NA, "1,300 MiB"),
    "no-target-and-no-figure": (modelz(engine=Engine("0", 1, None, None)), {}, NA, "not seen"),
    "no-target-and-no-agent": (DEAD, {}, NA, "not seen"),
    "within": (modelz(), {"memory_mib": 1300}, PASS, "1,300 MiB"),
    "over": (modelz(), {"memory_mib": 1299}, FAIL, "1,300 MiB"),
    "target-but-no-figure": (modelz(engine=Engine("0", 1, None, None)), {"memory_mib": 9e9}, UNKNOWN, "not seen"),
    "target-but-no-agent": (DEAD, {"memory_mib": 9e9}, UNKNOWN, "not seen"),
}


@pytest.mark.parametrize(
    ("model", "expected", "verdict", "observed"), [pytest.param(*case, id=name) for name, case in HOST_MEMORY.items()]
)
def test_resident_memory_is_judged_only_against_a_target(
    model: Modelz | Unseen, expected: dict[str, Any], verdict: Verdict, observed: str
):
    found = finding(codes.HOST_MEMORY, facts(model), **expected)
    assert (found.verdict, found.observed) == (verdict, observed)


def on_gpu(*gpus: Any, **changes: Any) -> Modelz:
    return modelz(gpus=gpus, gpus_unseen=None, engine=Engine("0.32.0", 4242, None, 1300 * MIB), **changes)


ON_CPU = Engine("0.32.0", 4242, None, 1300 * MIB, device="cpu")
IDLE = gpu(used_bytes=8 * MIB, free_bytes=79 * GIB)
GPU_MEMORY = {
    "no-driver": (modelz(), {}, NA),
    "no-driver-but-a-gpu-is-expected": (modelz(), {"gpu_free_mib": 0}, FAIL),
    "driver-without-gpus": (on_gpu(), {}, NA),
    "driver-without-gpus-but-one-is-expected": (on_gpu(), {"gpu_free_mib": 1}, FAIL),
    "cannot-read": (modelz(gpus_unseen="GPU 0: no permission to read it"), {}, UNKNOWN),
    "cannot-read-but-expected": (modelz(gpus_unseen="GPU 0: the GPU is lost"), {"gpu_free_mib": 1}, UNKNOWN),
    "not-read-yet": (modelz(gpus_unseen=None), {}, UNKNOWN),
    "agent-dead": (DEAD, {}, UNKNOWN),
    "held": (on_gpu(gpu()), {}, PASS),
    "held-and-enough-free": (on_gpu(gpu()), {"gpu_free_mib": 9 * 1024}, PASS),
    "too-little-free": (on_gpu(gpu()), {"gpu_free_mib": 9 * 1024 + 1}, FAIL),
    "too-little-free-on-one-of-two": (on_gpu(gpu(), gpu(index=1, free_bytes=0)), {"gpu_free_mib": 1}, FAIL),
    "full-but-nothing-asked": (on_gpu(gpu(free_bytes=0)), {}, PASS),
    "over-budget": (on_gpu(gpu(), state=State.OVER_BUDGET, reason="0.2 GiB free, 1 GiB needed"), {}, FAIL),
    "nothing-held-the-engine-is-elsewhere": (on_gpu(IDLE), {}, FAIL),
    "held-on-one-of-two": (on_gpu(gpu(), replace(IDLE, index=1)), {}, PASS),
    "impossible-sum": (on_gpu(gpu(used_bytes=75 * GIB)), {}, UNKNOWN),
    "impossible-total": (on_gpu(gpu(total_bytes=0)), {}, UNKNOWN),
    "cpu-engine-beside-an-idle-gpu": (modelz(gpus=(IDLE,), gpus_unseen=None, engine=ON_CPU), {}, NA),
    "cpu-engine-beside-a-desktops-gpu": (modelz(gpus=(gpu(),), gpus_unseen=None, engine=ON_CPU), {}, NA),
    "cpu-engine-beside-an-unreadable-gpu": (modelz(gpus_unseen="no permission", engine=ON_CPU), {}, NA),
    "cpu-engine-where-a-gpu-is-expected": (
        modelz(gpus=(IDLE,), gpus_unseen=None, engine=ON_CPU),
        {"gpu_free_mib": 1},
        FAIL,
    ),
}


@pytest.mark.parametrize(
    ("model", "expected", "verdict"), [pytest.param(*case, id=name) for name, case in GPU_MEMORY.items()]
)
def test_gpu_memory_is_not_applicable_only_where_no_gpu_is_and_none_was_asked_for(
    model: Modelz | Unseen, expected: dict[str, Any], verdict: Verdict
):
    assert finding(codes.GPU_MEMORY, facts(model), **expected).verdict is verdict


def test_every_gpu_is_shown():
    found = finding(codes.GPU_MEMORY, facts(on_gpu(gpu(), gpu(index=1, used_bytes=1 * GIB))))
    assert "GPU 0 NVIDIA H100 80GB HBM3: 71,680 MiB used of 81,920 MiB" in found.why
    assert "GPU 1 NVIDIA H100 80GB HBM3: 1,024 MiB used of 81,920 MiB" in found.why
