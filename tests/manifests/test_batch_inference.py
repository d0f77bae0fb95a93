"""The batch Job's program: vLLM ends with 0 whatever became of the prompts, the program does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.manifests.kustomize import MANIFESTS, build, only

PROGRAM = MANIFESTS / "jobs" / "batch-inference" / "run.py"
FAKE = """#!{python}
import sys, time
from pathlib import Path
assert sys.argv[1] == "run-batch", sys.argv
options = dict(each.split("=", 1) for each in sys.argv[2:])
if options["--model"] == "slow":
    Path(options["--output-file"]).touch()
    time.sleep(60)
if options["--model"] == "broken":
    sys.exit(7)
Path(options["--output-file"]).write_text(Path(options["--model"]).read_text())
"""


def _line(name: str, error: str | None = None) -> str:
    return json.dumps({"custom_id": name, "error": error, "response": {}}) + "\n"


@pytest.fixture
def vllm(tmp_path: Path) -> dict[str, str]:
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(FAKE.format(python=sys.executable))
    program.chmod(0o755)
    (tmp_path / "prompts").write_text("".join(json.dumps({"custom_id": name}) + "\n" for name in "abc"))
    return os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}


def _command(folder: Path, model: str) -> list[str]:
    files = [f"--input-file={folder / 'prompts'}", f"--output-file={folder / 'answers'}"]
    return [sys.executable, str(PROGRAM), *files, f"--model={model}"]


@pytest.mark.parametrize(
    ("answers", "code", "told"),
    [
        pytest.param([_line("c"), _line("a"), _line("b")], 0, "3 of 3 prompts", id="all, in any order"),
        pytest.param([_line("a"), _line("b")], 2, "2 of 3 prompts", id="one missing"),
        pytest.param([_line("a"), _line("b"), _line("c", "too long")], 2, "2 of 3 prompts", id="one with an error"),
        pytest.param([_line("a"), _line("b"), _line("b")], 2, "2 of 3 prompts", id="one twice"),
        pytest.param([], 2, "0 of 3 prompts", id="none"),
    ],
)
def test_it_is_complete_only_when_every_prompt_has_an_answer(tmp_path, vllm, answers: list[str], code: int, told: str):
    (tmp_path / "made").write_text("".join(answers))
    command = _command(tmp_path, str(tmp_path / "made"))
    done = subprocess.run(command, env=vllm, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == code, done.stderr
    assert told in done.stderr


def test_nothing_asked_is_not_a_success(tmp_path, vllm):
    (tmp_path / "prompts").write_text("\n")
    (tmp_path / "made").write_text("")
    command = _command(tmp_path, str(tmp_path / "made"))
    assert subprocess.run(command, env=vllm, capture_output=True, timeout=20, check=False).returncode == 2


def test_vllms_own_failure_is_passed_on(tmp_path, vllm):
    command = _command(tmp_path, "broken")
    assert subprocess.run(command, env=vllm, capture_output=True, timeout=20, check=False).returncode == 7


def test_an_eviction_ends_vllm_at_once(tmp_path, vllm):
    with subprocess.Popen(_command(tmp_path, "slow"), env=vllm) as program:
        deadline = time.monotonic() + 20
        while not (tmp_path / "answers").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 128 + signal.SIGTERM


def test_a_batch_that_cannot_be_answered_is_not_tried_again():
    spec = only(build("jobs/batch-inference"), "Job")["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    rules = {rule["action"]: rule for rule in spec["podFailurePolicy"]["rules"]}
    assert rules["FailJob"]["onExitCodes"] == {"containerName": container["name"], "operator": "In", "values": [2]}
    assert rules["Ignore"]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
