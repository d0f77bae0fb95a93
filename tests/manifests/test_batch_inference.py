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
output, model = Path(options["--output-file"]), options["--model"]
if model in ("slow", "full"):
    output.write_text("half an ans")
    time.sleep(60 if model == "slow" else 0)
if model == "broken":
    print("  Field required [type=missing, input_value={{'prompt': 'my secret'}}, input_type=dict]", file=sys.stderr)
    print("ValidationError: 1 error", file=sys.stderr)
if model in ("broken", "full"):
    sys.exit(7)
output.write_bytes(Path(model).read_bytes())
"""


def _prompt(name: str, **more: object) -> str:
    return json.dumps({"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": {}} | more) + "\n"


def _line(name: str, error: str | None = None, said: str = "") -> str:
    return json.dumps({"custom_id": name, "error": error, "response": {"body": said}}, ensure_ascii=False) + "\n"


@pytest.fixture
def vllm(tmp_path: Path) -> dict[str, str]:
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(FAKE.format(python=sys.executable))
    program.chmod(0o755)
    (tmp_path / "prompts").write_text("".join(map(_prompt, "abc")), encoding="utf-8")
    return os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}


def _command(folder: Path, model: str) -> list[str]:
    files = [f"--input-file={folder / 'prompts'}", f"--output-file={folder / 'answers'}"]
    return [sys.executable, str(PROGRAM), *files, f"--model={model}"]


def _run(folder: Path, vllm: dict[str, str], model: str) -> subprocess.CompletedProcess[str]:
    command = _command(folder, model)
    return subprocess.run(command, env=vllm, capture_output=True, text=True, timeout=25, check=False)


@pytest.mark.parametrize(
    ("answers", "code", "told"),
    [
        pytest.param([_line("c"), _line("a"), _line("b")], 0, "3 of 3 prompts", id="all, in any order"),
        pytest.param([_line("a"), _line("b")], 2, "2 of 3 prompts", id="one missing"),
        pytest.param([_line("a"), _line("b"), _line("c", "too long")], 2, "2 of 3 prompts", id="one with an error"),
        pytest.param([_line("a"), _line("b"), _line("b")], 2, "2 of 3 prompts", id="one twice"),
        pytest.param([], 2, "0 of 3 prompts", id="none"),
        pytest.param(
            [_line(each, said="one\u2028two\x85three\x1cfour") for each in "abc"],
            0,
            "3 of 3",
            id="ends of lines within",
        ),
    ],
)
def test_it_is_complete_only_when_every_prompt_has_an_answer(tmp_path, vllm, answers: list[str], code: int, told: str):
    (tmp_path / "made").write_text("".join(answers), encoding="utf-8")
    done = _run(tmp_path, vllm, str(tmp_path / "made"))
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert (tmp_path / "answers").read_text(encoding="utf-8") == "".join(answers)


@pytest.mark.parametrize(
    ("prompts", "told"),
    [
        pytest.param("\n", "it holds no prompt", id="nothing asked"),
        pytest.param(None, "it holds no prompt", id="no file"),
        pytest.param(_prompt("a") + '{"custom_id": "b" "my secret"}\n', "prompt 2 is not a JSON object", id="no JSON"),
        pytest.param('["my secret"]\n', "prompt 1 is not a JSON object", id="no object"),
        pytest.param(_prompt("a", body="my secret"), "prompt 1 is not", id="no body"),
        pytest.param(_prompt("a", url=None), "custom_id, method, url and body", id="no url"),
        pytest.param(_prompt("a") + _prompt("a"), "several prompts have one custom_id", id="one id twice"),
    ],
)
def test_what_vllm_would_not_take_is_refused_before_it_starts(tmp_path, vllm, prompts: str | None, told: str):
    if prompts is None:
        (tmp_path / "prompts").unlink()
    else:
        (tmp_path / "prompts").write_text(prompts)
    done = _run(tmp_path, vllm, "broken")  # vLLM would have ended with 7
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr


def test_vllms_own_failure_is_passed_on_without_what_people_wrote(tmp_path, vllm):
    done = _run(tmp_path, vllm, "broken")
    assert done.returncode == 7
    assert "ValidationError: 1 error" in done.stderr
    assert "Field required" in done.stderr
    assert "secret" not in done.stderr + done.stdout


def test_half_an_output_never_takes_the_place_of_answers(tmp_path, vllm):
    (tmp_path / "answers").write_text("of the day before")
    assert _run(tmp_path, vllm, "full").returncode == 7
    assert (tmp_path / "answers").read_text() == "of the day before"


def test_an_eviction_ends_vllm_at_once(tmp_path, vllm):
    with subprocess.Popen(_command(tmp_path, "slow"), env=vllm) as program:
        deadline = time.monotonic() + 20
        while not (tmp_path / "answers.partial").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 128 + signal.SIGTERM
    assert not (tmp_path / "answers").exists()


def test_a_batch_that_cannot_be_answered_is_not_tried_again():
    spec = only(build("jobs/batch-inference"), "Job")["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    rules = {rule["action"]: rule for rule in spec["podFailurePolicy"]["rules"]}
    assert rules["FailJob"]["onExitCodes"] == {"containerName": container["name"], "operator": "In", "values": [2]}
    assert rules["Ignore"]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
