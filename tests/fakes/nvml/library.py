"""Compiles the stand-in for NVML, and writes the world that it shows. The real nvidia-ml-py loads it in a subprocess.

A process that has loaded one libnvidia-ml.so.1 keeps it, so tests never load it into their own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

GIB = 1024**3
SOURCE = Path(__file__).with_name("nvml.c")
H100 = f"gpu uuid=GPU-0 total={80 * GIB} used={60 * GIB} free={19 * GIB} reserved={1 * GIB} name=NVIDIA H100 80GB HBM3"


def compile_library(directory: Path) -> Path:
    """Build libnvidia-ml.so.1 in `directory`; skips the test where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc): the stand-in for NVML cannot be built")
    library = directory / "libnvidia-ml.so.1"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-Wl,-soname,libnvidia-ml.so.1"]
    subprocess.run([compiler, *flags, str(SOURCE), "-o", str(library)], check=True, capture_output=True, timeout=60)
    return library


class FakeNvml:
    """One world on disk: the library, and the script that it reads at every call."""

    def __init__(self, library: Path, script: Path) -> None:
        self.library = library
        self.script = script
        self.show()

    def show(self, *lines: str) -> None:
        """Change the world, in one step."""
        beside = self.script.with_suffix(".new")
        beside.write_text("".join(f"{line}\n" for line in lines))
        beside.replace(self.script)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a process that is to see this world."""
        return os.environ | {"LD_LIBRARY_PATH": str(self.library.parent), "FAKE_NVML": str(self.script)}

    def run(self, code: str, *arguments: str) -> Any:
        """Run Python code in such a process; it prints JSON, which is returned."""
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled library, once per run."""
    return compile_library(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def fake_nvml(nvml_library: Path, tmp_path: Path) -> FakeNvml:
    """A host with the driver and no GPU, until the test shows it another world."""
    return FakeNvml(nvml_library, tmp_path / "nvml.txt")
