"""The one thing about real GPUs that any machine with one can show: NVML's figures add up."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.facts.seen import Seen
from serving.observe.gpu import read_gpus


@pytest.mark.skipif(not list(Path("/dev").glob("nvidia[0-9]*")), reason="no NVIDIA GPU here")
def test_every_visible_gpu_is_read_and_its_memory_adds_up():
    gpus = read_gpus()
    assert isinstance(gpus, Seen)
    assert gpus.value
    for gpu in gpus.value:
        parts = gpu.used_bytes + gpu.free_bytes + (gpu.reserved_bytes or 0)
        assert abs(parts - gpu.total_bytes) < 0.01 * gpu.total_bytes
