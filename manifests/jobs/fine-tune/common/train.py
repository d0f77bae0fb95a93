"""Fine-tune a causal language model on conversations, from checkpoint to checkpoint, to a release that can be served.

Reads `{"messages": [{"role": ..., "content": ...}, ...]}` lines, the last message being the answer to learn. The order
of the data follows from --seed alone, so a run that was interrupted ends with the weights of one that was not. Runs
alone or, under torchrun, as one of several workers. A release never changes: an --output that exists is refused (2).
"""

from __future__ import annotations

import argparse
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
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModelForCausalLM, AutoTokenizer

Example = tuple[list[int], int]  # token ids, and how many of them are the prompt
RANK, WORKERS = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
_log = logging.getLogger("fine-tune")
_stop = False


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
    for line in data.read_text().splitlines():
        messages = json.loads(line)["messages"]
        template = tokenizer.apply_chat_template
        prompt = template(messages[:-1], add_generation_prompt=True, return_dict=False)
        whole = template(messages, return_dict=False)[:max_tokens]
        if len(whole) > len(prompt):
            examples.append((whole, len(prompt)))
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


def save(folder: Path, step: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write a checkpoint under another name first, so that half a checkpoint is never found; keep the last two."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "partial"
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, partial)
    partial.rename(folder / f"{step:08}.pt")
    for old in sorted(folder.glob("*.pt"))[:-2]:
        old.unlink()
    _log.info("step %d: checkpoint", step)


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


def train(options: argparse.Namespace) -> int:
    """From the last checkpoint to the last step; 143 when SIGTERM came first."""
    device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(options.seed)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate)
    done = 0
    if found := sorted(options.checkpoints.glob("*.pt")):
        state = torch.load(found[-1], map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        done = int(found[-1].stem)
        _log.info("step %d: going on from %s", done, found[-1])
    examples = read(options.data, tokenizer, options.max_tokens)
    if not examples:
        _log.error("no conversation of %s fits into %d tokens; raise --max-tokens", options.data, options.max_tokens)
        return 2
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
        if RANK == 0 and (_stop or step % options.save_every == 0 or step == options.steps):
            save(options.checkpoints, step, model, optimizer)
        if _stop:
            return 128 + signal.SIGTERM
    if RANK == 0:
        publish(options.output, model, tokenizer)
    return 0


def main() -> int:
    """Refuse what cannot end well, then train."""
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s worker {RANK}: %(message)s")
    options = _options()
    if options.output.exists():
        _log.error("%s exists, and a release never changes; give another --output", options.output)
        return 2
    signal.signal(signal.SIGTERM, _ask_to_stop)
    if WORKERS > 1:
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        return train(options)
    finally:
        if WORKERS > 1:
            distributed.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
