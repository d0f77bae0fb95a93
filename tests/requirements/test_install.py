from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", REPOSITORY / "requirements" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


install: Any = _load()
KNOWN = "\n".join(sorted(install.known_complaints((REPOSITORY / "requirements/README.md").read_text(encoding="utf-8"))))


class FakePython:
    """An interpreter that answers as a shell script says, and records what it was asked."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "bin" / "python"
        self.path.parent.mkdir()
        self._calls = directory / "calls"
        self._calls.touch()

    def behaves(self, script: str) -> None:
        self.path.write_text(f'#!/bin/sh\necho "$*" >>{self._calls}\n{script}\n', encoding="utf-8")
        self.path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def python(tmp_path: Path) -> FakePython:
    return FakePython(tmp_path)


MISSING = "echo 'ERROR: No matching distribution found for torch==2.13.0+cpu' >&2; exit 1"


class TestTorch:
    def test_the_configured_indexes_are_enough_where_they_have_it(self, python: FakePython) -> None:
        python.behaves("exit 0")
        install.install_torch(python.path)
        assert len(python.calls) == 1
        assert "index-url" not in python.calls[0]

    def test_where_they_do_not_pytorchs_index_is_tried_and_setup_says_so(
        self, python: FakePython, capfd: pytest.CaptureFixture[str]
    ) -> None:
        python.behaves(f"case $* in *extra-index-url*) exit 0;; esac; {MISSING}")
        install.install_torch(python.path)
        assert len(python.calls) == 2
        assert python.calls[1].endswith("--extra-index-url https://download.pytorch.org/whl/cpu")
        assert "configured indexes have no CPU build of torch: trying https://download" in capfd.readouterr().out

    def test_another_failure_of_pip_does_not_reach_for_another_index(self, python: FakePython) -> None:
        python.behaves("echo 'ERROR: No space left on device' >&2; exit 1")
        with pytest.raises(install.Stop, match="torch could not be installed"):
            install.install_torch(python.path)
        assert len(python.calls) == 1

    def test_pip_says_what_is_looked_for_when_an_index_lacks_it(self, tmp_path: Path) -> None:
        pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--no-index"]
        pins = str(REPOSITORY / "requirements" / "torch.txt")
        env = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": str(tmp_path)}
        done = subprocess.run([*pip, "-r", pins], env=env, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert install.TORCH_MISSING in done.stderr


class TestInterpreter:
    def test_another_python_is_refused_with_the_remedy(self) -> None:
        with pytest.raises(install.Stop, match=r"for Python 3\.11, this is 3\.13: make setup PY=/path/to/python3\.11$"):
            install.check_interpreter((3, 13))

    def test_debians_missing_venv_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(install.Stop, match=r"apt-get install python3-venv$"):
            install.check_interpreter((3, 11))

    def test_this_one_will_do(self) -> None:
        install.check_interpreter((3, 11))


@pytest.mark.parametrize(
    ("script", "made"),
    [
        pytest.param("echo 3 11", None, id="whole"),
        pytest.param("echo 3 12", True, id="of-another-python"),
        pytest.param("echo No module named pip >&2; exit 1", True, id="interrupted-before-pip-was-in"),
        pytest.param(None, True, id="without-an-interpreter"),
    ],
)
def test_an_environment_is_made_again_only_where_it_is_not_whole(
    script: str | None, made: bool | None, python: FakePython, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(venv, "create", lambda directory, with_pip, clear: calls.append(clear))
    (tmp_path / "pyvenv.cfg").touch()
    if script:
        python.behaves(script)
    assert install.environment(tmp_path) == python.path
    assert calls == ([] if made is None else [made])


def test_a_directory_that_is_no_environment_is_never_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(venv, "create", lambda directory, with_pip, clear: calls.append(clear))
    install.environment(tmp_path / "new")
    assert calls == [False]


class TestResult:
    def test_the_known_complaints_pass(self, python: FakePython) -> None:
        python.behaves(f"case $* in *check) printf '%s\\n' '{KNOWN}'; exit 1;; esac")
        install.check_result(python.path)

    @pytest.mark.parametrize(
        ("said", "odd"),
        [
            pytest.param(f"{KNOWN}\nlocust 2.47.0 requires flask, which is not installed.", "requires flask", id="new"),
            pytest.param(f"{KNOWN}\na 1 has requirement b<2, but you have b 3.", "has requirement b<2", id="conflict"),
            pytest.param("No broken requirements found.", "requires torchvision", id="torchvision-came-in"),
        ],
    )
    def test_any_other_set_of_complaints_stops_setup(self, said: str, odd: str, python: FakePython) -> None:
        python.behaves(f"case $* in *check) printf '%s\\n' '{said}'; exit 1;; esac")
        with pytest.raises(install.Stop, match=odd):
            install.check_result(python.path)

    def test_transformers_that_do_not_import_stop_setup(self, python: FakePython) -> None:
        python.behaves("case $* in *LlamaConfig*) echo 'operator torchvision::nms does not exist' >&2; exit 1;; esac")
        with pytest.raises(install.Stop, match=r"does not import \(operator torchvision::nms does not exist\)"):
            install.check_result(python.path)

    def test_the_readme_lists_exactly_the_three_that_are_left_out(self) -> None:
        assert [line.split()[3].rstrip(",") for line in KNOWN.splitlines()] == [
            "torchaudio",
            "torchcodec",
            "torchvision",
        ]


def test_a_stop_is_one_line_and_exit_1(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install.sys, "version_info", (3, 12, 1))
    assert install.main([".venv"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("setup: the lock is for Python 3.11")
    assert said.err.count("\n") == 1


def test_ctrl_c_is_one_line_and_exit_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(version: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(install, "check_interpreter", interrupted)
    assert install.main([".venv"]) == 130
    assert capsys.readouterr().err == "setup: interrupted; run `make setup` again to go on\n"


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
class TestMake:
    @staticmethod
    def make(*arguments: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
        command = ["make", "-f", str(REPOSITORY / "Makefile"), *arguments]
        env = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)

    def test_the_stamp_stands_for_a_setup_that_ended_well(self, tmp_path: Path) -> None:
        venv_option, stamp = f"VENV={tmp_path}", tmp_path / ".ready"
        assert self.make("setup", venv_option, "PY=false").returncode != 0
        assert not stamp.exists()
        assert self.make("setup", venv_option, "PY=true").returncode == 0
        assert stamp.exists()
        assert self.make("setup", venv_option, "PY=false").returncode == 0, "up to date: nothing is run"
        assert self.make("setup", venv_option, "PY=false", "-W", "requirements/lock.txt").returncode != 0
        assert not stamp.exists(), "a setup that failed takes the old stamp with it"

    def test_clean_keeps_the_model_and_whatever_is_no_environment(self, tmp_path: Path) -> None:
        for name in (".venv/pyvenv.cfg", "reports/x/report.json", "serving/__pycache__/a.pyc", "keep/file"):
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).touch()
        done = self.make("clean", cwd=tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["keep", "serving"]
        assert list((tmp_path / "serving").iterdir()) == []
        assert "kept: the model in " in done.stdout
        assert self.make("clean", "VENV=keep", cwd=tmp_path).returncode == 0
        assert (tmp_path / "keep" / "file").exists()

    def test_help_names_every_target(self) -> None:
        listed = {line.split()[1] for line in self.make("help").stdout.splitlines()}
        assert {"help", "setup", "check", "test", "lock", "clean"} <= listed
