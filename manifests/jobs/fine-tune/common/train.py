"""Fine-tune a causal language model on conversations, from checkpoint to checkpoint, to a release that can be served.

Reads `{"messages": [{"role": ..., "content": ...}, ...]}` lines, the last message being the answer to learn. The order
of the data follows from --seed alone, so a run that was interrupted ends with the weights of one that was not. Runs
alone or as one of several workers (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT) with a GPU each. Exit code 0: the
release is there. 2: refused, and another try would be, too. 143: SIGTERM, here or at another worker; try again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import random
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModelForCausalLM, AutoTokenizer

Example = tuple[list[int], int]  # token ids, and how many of them are the prompt
RANK, WORKERS = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
_log = logging.getLogger("fine-tune")
_stop = False


class Refused(Exception):
    """Another try would end the same way."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", type=Path, required=True, help="the release to start from")
    parser.add_argument("--output", type=Path, required=True, help="the release to make; must not exist")
    parser.add_argument("--data", type=Path, required=True, help="conversations, one JSON object in each line")
    parser.add_argument("--checkpoints", type=Path, required=True, help="where to go on after an interruption")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--save-every", type=int, default=100, help="steps between two checkpoints")
    parser.add_argument("--batch-size", type=int, default=4, help="conversations in a step, for each worker")
    parser.add_argument("--max-tokens", type=int, default=2048, help="a longer conversation is cut")
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def read(data: Path, tokenizer: Any, max_tokens: int) -> list[Example]:
    """Every conversation as tokens; one whose answer was cut off entirely is left out."""
    examples = []
    with data.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                messages = json.loads(line)["messages"]
                if [each["role"] for each in messages][-1] != "assistant":
                    raise ValueError("no answer")
                template = tokenizer.apply_chat_template
                prompt = template(messages[:-1], add_generation_prompt=True, return_dict=False)
                whole = template(messages, return_dict=False)[:max_tokens]
            except (
                ValueError,
                TypeError,
                LookupError,
                AttributeError,
                TemplateError,
            ) as problem:  # its text may be a person's
                kind = type(problem).__name__
                raise Refused(
                    f"line {number} of {data} is no conversation with an answer ({kind}); mend or remove it"
                ) from None
            if len(whole) > len(prompt):
                examples.append((whole, len(prompt)))
    if not examples:
        raise Refused(f"no conversation of {data} fits into {max_tokens} tokens; raise --max-tokens")
    return examples


def batches(examples: list[Example], size: int, seed: int) -> Iterator[list[Example]]:
    """This worker's batches, without end: every epoch shuffles anew, and the workers deal the examples out."""
    epoch = 0
    while True:
        order = list(range(len(examples)))
        random.Random(f"{seed}/{epoch}").shuffle(order)
        order += order[: -len(order) % (size * WORKERS)]
        for start in range(RANK * size, len(order), size * WORKERS):
            yield [examples[i % len(examples)] for i in order[start : start + size]]
        epoch += 1


def tensors(batch: list[Example], device: torch.device) -> dict[str, torch.Tensor]:
    """Token ids padded on the right; the prompt and the padding are not learned."""
    length = max(len(tokens) for tokens, _ in batch)
    ids = torch.zeros(len(batch), length, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for row, (tokens, prompt) in enumerate(batch):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
        labels[row, prompt : len(tokens)] = ids[row, prompt : len(tokens)]
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device), "labels": labels.to(device)}


def identity(options: argparse.Namespace) -> dict[str, Any]:
    """What makes a run this one: with any other model, data or numbers, its checkpoints lead to another release."""
    with options.data.open("rb") as data:
        digest = hashlib.file_digest(data, "sha256").hexdigest()
    told = {"model": str(options.model), "output": str(options.output), "data": digest, "workers": WORKERS}
    return told | {key: getattr(options, key) for key in ("batch_size", "max_tokens", "learning_rate", "seed")}


def save(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write a checkpoint under another name first, so that half a checkpoint is never found; keep the last two."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "partial"
    with partial.open("wb") as file:
        torch.save(state, file)
        os.fsync(file.fileno())
    partial.rename(folder / f"{step:08}.pt")
    for old in sorted(folder.glob("*.pt"))[:-2]:
        old.unlink()
    _log.info("step %d: checkpoint", step)


def resume(folder: Path, run: dict[str, Any], model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Take over the last checkpoint; how many steps it had done, 0 without one."""
    found = sorted(folder.glob("*.pt"))
    if not found:
        return 0
    state = torch.load(found[-1], map_location=next(model.parameters()).device, weights_only=True)
    if other := [key for key in run if state["run"].get(key) != run[key]]:
        raise Refused(f"{folder} is of a run with another {' and '.join(other)}; remove it, or go on as that run")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    _log.info("step %d: going on from %s", done := int(found[-1].stem), found[-1])
    return done


def publish(output: Path, model: Any, tokenizer: Any) -> None:
    """The finished release appears under its name at once, and whole."""
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    for each in partial.iterdir():
        each.chmod(0o644)  # safetensors writes its files for their owner alone
    partial.rename(output)
    _log.info("%s is ready to be served", output)


def _ask_to_stop(*_: object) -> None:
    global _stop
    _stop = True


def _agreed(device: torch.device) -> bool:
    """Whether any worker is to stop: all of them do, after the same step, or the others would wait for it in vain."""
    told = torch.tensor(int(_stop), device=device)
    if WORKERS > 1:
        distributed.all_reduce(told, op=distributed.ReduceOp.MAX)
    return bool(told)


def train(options: argparse.Namespace) -> int:
    """From the last checkpoint to the last step; 143 when SIGTERM came first."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(options.seed)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    examples = read(options.data, tokenizer, options.max_tokens)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate)
    run = identity(options)
    done = resume(options.checkpoints, run, model, optimizer)
    learner = DistributedDataParallel(model) if WORKERS > 1 else model

    for step, batch in enumerate(batches(examples, options.batch_size, options.seed), start=1):
        if step <= done:
            continue
        if step > options.steps:
            break
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = learner(**tensors(batch, device)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        _log.info("step %d: loss %.4f", step, loss.item())
        stop = _agreed(device)
        if RANK == 0 and (stop or step % options.save_every == 0 or step == options.steps):
            state = {"run": run, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            save(options.checkpoints, step, state)
        if stop:
            return 128 + signal.SIGTERM
    if RANK == 0:
        publish(options.output, model, tokenizer)
    return 0


def main() -> int:
    """Refuse what cannot end well, then train; no worker leaves before the first one has written."""
    signal.signal(signal.SIGTERM, _ask_to_stop)
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s worker {RANK}: %(message)s")
    options = _options()
    try:
        if options.output.exists():
            raise Refused(f"{options.output} exists, and a release never changes; give another --output")
        if WORKERS > 1:
            distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        code = train(options)
    except Refused as problem:
        _log.error("%s", problem)
        return 2
    if WORKERS > 1:
        distributed.barrier()
        distributed.destroy_process_group()
    return code


if __name__ == "__main__":
    sys.exit(main())
