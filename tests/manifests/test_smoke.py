"""The GPU smoke test's program, with a torch that has no GPU, several, a broken one, a sound one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.manifests.kustomize import build, only

TORCH = """
class Matrix:
    def __matmul__(self, other): return self
    def sum(self): return self
    def item(self): return {total}
class cuda:
    device_count = staticmethod(lambda: {gpus})
    get_device_name = staticmethod(lambda: "NVIDIA H100")
    @staticmethod
    def mem_get_info():
        if {fails}: raise RuntimeError("CUDA error: no kernel image is available")
        return 79 * 2**30, 80 * 2**30
class version: cuda = "13.0"
def ones(*shape, device): return Matrix()
"""
SOUND = 1024**3


@pytest.mark.parametrize(
    ("gpus", "total", "fails", "code", "told"),
    [
        pytest.param(1, SOUND, False, 0, "NVIDIA H100: 80896 of 81920 MiB free, CUDA 13.0, it computes", id="sound"),
        pytest.param(0, SOUND, False, 1, "saw 0 GPUs instead of 1", id="none"),
        pytest.param(8, SOUND, False, 1, "saw 8 GPUs instead of 1", id="all of the node"),
        pytest.param(1, SOUND - 1024, False, 1, "take the node out of the pool", id="wrong sum"),
        pytest.param(1, SOUND, True, 1, "no kernel image", id="driver too old"),
    ],
)
def test_it_succeeds_only_on_one_gpu_that_computes(
    tmp_path: Path, gpus: int, total: int, fails: bool, code: int, told: str
):
    (tmp_path / "torch.py").write_text(TORCH.format(gpus=gpus, total=total, fails=fails))
    (container,) = only(build("gpu-smoke-test"), "Pod")["spec"]["containers"]
    assert container["command"] == ["python3", "-c"]
    done = subprocess.run(
        [sys.executable, "-c", *container["args"]],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert told in (done.stdout if code == 0 else done.stderr)
