"""Run vLLM's batch mode and judge what it wrote: it ends with 0 even when not one prompt was answered.

Arguments are those of `vllm run-batch`. Exit code 0: every prompt has an answer. 2: refused, or some have none, and
another try would not help. Anything else is vLLM's own. The answers appear under their name at once and whole. Says how
many, never what was asked or answered, and keeps vLLM from saying it.
"""

import argparse
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import IO, Any

QUOTED = re.compile(r"input_value=.*")  # what vLLM's parser refuses, it puts into its message


def objects(path: Path) -> list[Any]:
    """The JSON of each line; None where there is none. Unlike `splitlines`, a file ends lines at line feeds alone."""
    found = []
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                found += [json.loads(line)] if line.strip() else []
            except ValueError:
                found.append(None)
    return found


def refused(prompts: list[Any]) -> str | None:
    """Why vLLM would not take these prompts, or not tell them apart; it would say so only after loading the weights."""
    for number, prompt in enumerate(prompts, start=1):
        told = prompt if isinstance(prompt, dict) else {}
        words = all(isinstance(told.get(key), str) for key in ("custom_id", "method", "url"))
        if not (words and isinstance(told.get("body"), dict)):
            return f"prompt {number} is not a JSON object with custom_id, method, url and body"
    if len({each["custom_id"] for each in prompts}) < len(prompts):
        return "several prompts have one custom_id"
    return None if prompts else "it holds no prompt"


def pass_on(messages: IO[str]) -> None:
    """Repeat what vLLM says, without what people wrote."""
    for line in messages:
        sys.stderr.write(QUOTED.sub("input_value=(left out)", line))


def main(arguments: list[str]) -> int:
    """Look at the prompts, run the batch, pass SIGTERM on, count."""
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # a container's first process has no default
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--input-file", type=Path, required=True)
    parser.add_argument("--output-file", type=Path, required=True)
    files, others = parser.parse_known_args(arguments)
    prompts = objects(files.input_file) if files.input_file.exists() else []
    if problem := refused(prompts):
        sys.stderr.write(f"{files.input_file}: {problem}\n")
        return 2

    partial = files.output_file.with_name(f"{files.output_file.name}.partial")
    partial.unlink(missing_ok=True)
    command = ["vllm", "run-batch", f"--input-file={files.input_file}", f"--output-file={partial}", *others]
    vllm = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace")
    signal.signal(signal.SIGTERM, lambda *_: vllm.terminate())
    speaker = Thread(target=pass_on, args=(vllm.stderr,), daemon=True)
    speaker.start()
    code = vllm.wait()
    speaker.join(timeout=5)  # a process that outlives vLLM may hold its end of the pipe
    if code:
        return code if code > 0 else 128 - code
    partial.replace(files.output_file)
    answered = {each["custom_id"] for each in objects(files.output_file) if each and each["error"] is None}
    missing = len({each["custom_id"] for each in prompts} - answered)
    sys.stderr.write(f"{len(prompts) - missing} of {len(prompts)} prompts answered in {files.output_file}\n")
    return 2 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
