"""The fine-tune's program, on a tiny model: interrupted or not, alone or with others, it makes the same release."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.manifests.kustomize import MANIFESTS

PROGRAM = MANIFESTS / "jobs" / "fine-tune" / "common" / "train.py"
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}> {{ m.content }} </s> {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
ONE_MORE = {"messages": [{"role": "user", "content": "h"}, {"role": "assistant", "content": "i"}]}
NO_ANSWERS = {
    "no JSON": '{"messages": my secret}',
    "no conversation": '{"messages": "my secret"}',
    "no answer": '{"messages": [{"role": "user", "content": "my secret"}]}',
}
FOREVER = 10**6  # steps
PATIENCE_S = 200
pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

# Loads torch once, makes the model, then runs each program that it is told of in a process of its own.
PARENT = """
import gc, json, os, runpy, sys, traceback
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
import torch, torch.distributed, torch.nn.parallel
release, template = sys.argv[1:]
words = ["<pad>", "</s>", "<user>", "<assistant>", "?", *"abcdefghij"]
tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="?"))
tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?", pad_token="<pad>", eos_token="</s>")
fast.chat_template = template
fast.save_pretrained(release)
torch.manual_seed(1)
shape = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1)
LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **shape)).save_pretrained(release)
gc.freeze()
print("made", flush=True)
for line in sys.stdin:
    told = json.loads(line)
    if "wait" in told:
        print(os.waitstatus_to_exitcode(os.waitpid(told["wait"], 0)[1]), flush=True)
        continue
    child = os.fork()
    if not child:
        os.dup2(os.open(told["log"], os.O_WRONLY | os.O_CREAT, 0o644), 2)
        os.dup2(2, 1)
        os.environ.update(told["env"])
        sys.argv = told["command"]
        code = 0
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        os._exit(code)  # to take torch down in order takes longer than all the rest
    print(child, flush=True)
"""


@dataclass(frozen=True)
class Run:
    """A program that was started."""

    parent: Parent
    pid: int
    log: Path

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def stop_after(self, words: str) -> None:
        """SIGTERM as soon as it has said this."""
        deadline = time.monotonic() + PATIENCE_S
        while words not in self.said():
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.01)
        os.kill(self.pid, signal.SIGTERM)

    def code(self) -> int:
        return int(self.parent.ask(wait=self.pid))


@dataclass(frozen=True)
class Parent:
    """A process with torch loaded, and the release that it made: a few thousand parameters, a tokenizer of words."""

    process: subprocess.Popen[str]
    release: Path

    def ask(self, **told: object) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def start(self, command: list[str], log: Path, **env: str) -> Run:
        return Run(self, int(self.ask(command=command, log=str(log), env=env)), log)

    def run(self, command: list[str], log: Path) -> tuple[int, str]:
        run = self.start(command, log)
        return run.code(), run.said()


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parent]:
    folder = tmp_path_factory.mktemp("r1")
    quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
    quiet |= {"TOKENIZERS_PARALLELISM": "false", "GLOO_SOCKET_IFNAME": "lo"}
    with (
        (folder.parent / "parent.log").open("w+") as log,
        subprocess.Popen(
            [sys.executable, "-c", PARENT, str(folder), TEMPLATE],
            env=os.environ | quiet,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout is not None
        made = process.stdout.readline()
        log.seek(0)
        complaint = log.read()
        if "ModuleNotFoundError" in complaint:
            pytest.skip("torch or transformers is not installed")
        assert made == "made\n", complaint
        yield Parent(process, folder)
        os.killpg(process.pid, signal.SIGKILL)


def _data(folder: Path) -> Path:
    pairs = [("a b", "c"), ("d", "e f"), ("g h i", "j"), ("b", "a"), ("c d e", "f g")]
    roles = ("user", "assistant")
    talks = [{"messages": [{"role": r, "content": c} for r, c in zip(roles, pair, strict=True)]} for pair in pairs]
    (folder / "data.jsonl").write_text("".join(json.dumps(each) + "\n" for each in talks))
    return folder / "data.jsonl"


def _command(parent: Parent, folder: Path, steps: int = FOREVER, save_every: int = FOREVER) -> list[str]:
    return [
        str(PROGRAM),
        f"--model={parent.release}",
        f"--output={folder / 'r2'}",
        f"--data={_data(folder)}",
        f"--checkpoints={folder / 'checkpoints'}",
        f"--steps={steps}",
        f"--save-every={save_every}",
        "--batch-size=2",
        "--learning-rate=0.01",
    ]


def _checkpoints(folder: Path) -> list[str]:
    return sorted(each.name for each in (folder / "checkpoints").iterdir())


def _weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def _losses(log: str) -> dict[str, str]:
    return dict(re.findall(r"step (\d+): loss (\S+)", log))


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    (tmp_path / "whole").mkdir()
    return tmp_path / "whole"


def test_a_run_that_was_evicted_ends_as_if_it_had_not_been(parent: Parent, tmp_path: Path, whole: Path):
    evicted = parent.start(_command(parent, tmp_path), tmp_path / "evicted.log")
    evicted.stop_after("step 2: loss")
    assert evicted.code() == 128 + signal.SIGTERM, evicted.said()
    assert not (tmp_path / "r2").exists()
    (checkpoint,) = _checkpoints(tmp_path)
    steps = int(checkpoint.removesuffix(".pt")) + 3

    code, again = parent.run(_command(parent, tmp_path, steps), tmp_path / "again.log")
    assert code == 0, again
    assert "going on from" in again
    assert len(_losses(again)) == 3
    code, unbroken = parent.run(_command(parent, whole, steps, save_every=2), tmp_path / "whole.log")
    assert code == 0, unbroken
    assert _losses(evicted.said()) | _losses(again) == _losses(unbroken)
    assert _weights(tmp_path / "r2") == _weights(whole / "r2") != _weights(parent.release)
    assert len(_checkpoints(whole)) == 2
    assert {"model.safetensors", "tokenizer.json", "config.json"} <= {each.name for each in (whole / "r2").iterdir()}
    assert {each.stat().st_mode & 0o777 for each in (whole / "r2").iterdir()} == {0o644}


def _workers(parent: Parent, folder: Path, name: str, steps: int = FOREVER) -> tuple[Run, Run]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meet = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command, logs = _command(parent, folder, steps), folder.parent
    return (
        parent.start(command, logs / f"{name}-0.log", RANK="0", **meet),
        parent.start(command, logs / f"{name}-1.log", RANK="1", **meet),
    )


def test_two_workers_stop_and_go_on_together_and_make_one_release(parent: Parent, tmp_path: Path, whole: Path):
    broken = tmp_path / "broken"
    broken.mkdir()
    evicted = _workers(parent, broken, "evicted")
    evicted[1].stop_after("step 2: loss")
    assert [each.code() for each in evicted] == [143, 143], [each.said() for each in evicted]
    (checkpoint,) = _checkpoints(broken)
    steps = int(checkpoint.removesuffix(".pt")) + 2

    again, unbroken = _workers(parent, broken, "again", steps), _workers(parent, whole, "whole", steps)
    for each in (*again, *unbroken):
        assert each.code() == 0, each.said()
    assert [len(_losses(each.said())) for each in again] == [2, 2]
    assert [each.said().count("is ready to be served") for each in again] == [1, 0]
    assert _weights(broken / "r2") == _weights(whole / "r2") != _weights(parent.release)


def test_only_the_answers_are_learned(parent: Parent, tmp_path: Path):
    look = tmp_path / "look.py"
    look.write_text(
        "import json, sys; sys.path.insert(0, sys.argv[1]); import train, torch; from pathlib import Path\n"
        "from transformers import AutoTokenizer\n"
        "examples = train.read(Path(sys.argv[2]), AutoTokenizer.from_pretrained(sys.argv[3]), 2048)\n"
        "made = train.tensors(examples[:2], torch.device('cpu'))\n"
        "print(json.dumps([made['labels'].tolist(), made['attention_mask'].tolist()]))\n"
    )
    command = [str(look), str(PROGRAM.parent), str(_data(tmp_path)), str(parent.release)]
    code, said = parent.run(command, tmp_path / "look.log")
    assert code == 0, said
    labels, mask = json.loads(said.splitlines()[-1])
    # <user> a b </s> <assistant> | c </s>      and      <user> d </s> <assistant> | e f </s>
    assert labels == [[-100] * 5 + [7, 1], [-100] * 4 + [9, 10, 1]]
    assert mask == [[1] * 7, [1] * 7]


def test_a_line_separator_within_a_conversation_does_not_end_its_line(parent: Parent, tmp_path: Path):
    command = _command(parent, tmp_path, steps=1)
    data = tmp_path / "data.jsonl"
    data.write_text(data.read_text().replace("a b", "a\u2028b\x85"), encoding="utf-8")
    code, said = parent.run(command, tmp_path / "log")
    assert code == 0, said


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("release exists", "a release never changes"),
        ("no data fits", "raise --max-tokens"),
        ("no JSON", r"line 6 of \S+ is no conversation with an answer \(JSONDecodeError\)"),
        ("no conversation", r"line 6 of \S+ is no conversation"),
        ("no answer", r"line 6 of \S+ is no conversation with an answer"),
        ("checkpoints of another run", "is of a run with another data and learning_rate; remove it"),
    ],
)
def test_what_cannot_end_well_is_refused_with_two(parent: Parent, tmp_path: Path, case: str, told: str):
    command = _command(parent, tmp_path, steps=1)
    if case == "release exists":
        (tmp_path / "r2").mkdir()
    elif case == "no data fits":
        command.append("--max-tokens=2")
    else:
        with (tmp_path / "data.jsonl").open("a") as data:
            data.write(NO_ANSWERS.get(case, "") + "\n")
    if case == "checkpoints of another run":
        code, said = parent.run(_command(parent, tmp_path, steps=1), tmp_path / "first.log")
        assert code == 0, said
        shutil.rmtree(tmp_path / "r2")
        (tmp_path / "data.jsonl").write_text(json.dumps(ONE_MORE) + "\n")
        command.append("--learning-rate=0.02")
    code, said = parent.run(command, tmp_path / "log")
    assert code == 2, said
    assert re.search(told, said), said
    assert "secret" not in said
