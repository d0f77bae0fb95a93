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
from pathlib import Path

import pytest

from tests.manifests.kustomize import MANIFESTS

PROGRAM = MANIFESTS / "jobs" / "fine-tune" / "common" / "train.py"
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}> {{ m.content }} </s> {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a few thousand parameters, with a tokenizer of words and a chat template."""
    made = subprocess.run(
        [sys.executable, "-c", MAKE, str(folder := tmp_path_factory.mktemp("r1")), TEMPLATE],
        env=_quiet(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "ModuleNotFoundError" in made.stderr:
        pytest.skip("torch or transformers is not installed")
    assert made.returncode == 0, made.stderr
    return folder


MAKE = """
import sys
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
import torch
words = ["<pad>", "</s>", "<user>", "<assistant>", "?", *"abcdefghij"]
tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="?"))
tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?", pad_token="<pad>", eos_token="</s>")
fast.chat_template = sys.argv[2]
fast.save_pretrained(sys.argv[1])
torch.manual_seed(1)
shape = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1)
LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **shape)).save_pretrained(sys.argv[1])
"""


def _quiet(**more: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", **more}


def _data(folder: Path) -> Path:
    pairs = [("a b", "c"), ("d", "e f"), ("g h i", "j"), ("b", "a"), ("c d e", "f g")]
    roles = ("user", "assistant")
    talks = [{"messages": [{"role": r, "content": c} for r, c in zip(roles, pair, strict=True)]} for pair in pairs]
    (folder / "data.jsonl").write_text("".join(json.dumps(each) + "\n" for each in talks))
    return folder / "data.jsonl"


def _command(release: Path, folder: Path, name: str, steps: int = 6, save_every: int = 2) -> list[str]:
    return [
        str(PROGRAM),
        f"--model={release}",
        f"--output={folder / name}",
        f"--data={_data(folder)}",
        f"--checkpoints={folder / 'checkpoints'}",
        f"--steps={steps}",
        f"--save-every={save_every}",
        "--batch-size=2",
        "--learning-rate=0.01",
    ]


def _run(command: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], env=_quiet(**env), capture_output=True, text=True, timeout=120, check=False
    )


def _weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def _losses(log: str) -> dict[str, str]:
    return dict(re.findall(r"step (\d+): loss (\S+)", log))


def test_a_run_that_was_evicted_ends_as_if_it_had_not_been(release: Path, tmp_path: Path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    done = _run(_command(release, whole, "r2"))
    assert done.returncode == 0, done.stderr
    assert _weights(whole / "r2") != _weights(release)
    assert {each.stat().st_mode & 0o777 for each in (whole / "r2").iterdir()} == {0o644}

    with subprocess.Popen(
        [sys.executable, *_command(release, broken, "r2", save_every=100)],
        env=_quiet(),
        stderr=subprocess.PIPE,
        text=True,
    ) as evicted:
        assert evicted.stderr is not None
        seen = ""
        for line in evicted.stderr:
            seen += line
            if "step 2: loss" in line:
                evicted.send_signal(signal.SIGTERM)
        assert evicted.wait(60) == 128 + signal.SIGTERM, seen
    assert not (broken / "r2").exists()
    again = _run(_command(release, broken, "r2"))
    assert again.returncode == 0, again.stderr
    assert "going on from" in again.stderr
    assert "1" not in _losses(again.stderr)
    assert _weights(broken / "r2") == _weights(whole / "r2")
    assert {*_losses(seen).items(), *_losses(again.stderr).items()} >= set(_losses(done.stderr).items())


def test_two_workers_share_the_work_and_make_one_release(release: Path, tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["-m", "torch.distributed.run", "--nnodes=1", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    done = _run([*launch, f"--master-port={port}", *_command(release, tmp_path, "r2", steps=2)])
    assert done.returncode == 0, done.stderr
    assert "worker 1: step 2" in done.stderr
    assert done.stderr.count("is ready to be served") == 1
    assert sorted(each.name for each in (tmp_path / "checkpoints").iterdir()) == ["00000002.pt"]
    assert {"model.safetensors", "tokenizer.json", "config.json"} <= {each.name for each in (tmp_path / "r2").iterdir()}


def test_only_the_answers_are_learned(release: Path, tmp_path: Path):
    look = (
        "import sys; sys.path.insert(0, sys.argv[1]); import train, torch; from pathlib import Path\n"
        "from transformers import AutoTokenizer\n"
        "examples = train.read(Path(sys.argv[2]), AutoTokenizer.from_pretrained(sys.argv[3]), 2048)\n"
        "made = train.tensors(examples[:2], torch.device('cpu'))\n"
        "print(made['labels'].tolist(), made['attention_mask'].tolist())\n"
    )
    done = _run(["-c", look, str(PROGRAM.parent), str(_data(tmp_path)), str(release)], PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == 0, done.stderr
    labels: list[list[int]]
    mask: list[list[int]]
    labels, mask = json.loads(f"[{done.stdout.replace('] [', '], [')}]")
    # <user> a b </s> <assistant> | c </s>      and      <user> d </s> <assistant> | e f </s>
    assert labels == [[-100] * 5 + [7, 1], [-100] * 4 + [9, 10, 1]]
    assert mask == [[1] * 7, [1] * 7]


@pytest.mark.parametrize("case", ["release exists", "no data fits"])
def test_what_cannot_end_well_is_refused_with_two(release: Path, tmp_path: Path, case: str):
    command = _command(release, tmp_path, "r2", steps=1)
    if case == "release exists":
        shutil.copytree(release, tmp_path / "r2")
    else:
        command.append("--max-tokens=2")
    done = _run(command)
    assert done.returncode == 2
    assert ("a release never changes" if case == "release exists" else "raise --max-tokens") in done.stderr
