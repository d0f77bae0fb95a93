"""Run vLLM's batch mode and judge what it wrote: it ends with 0 even when not one prompt was answered.

Arguments are those of `vllm run-batch`. Exit code 0: every prompt has an answer. 2: some have none, and another try
would not help. Anything else is vLLM's own. Says how many, never what was asked or answered.
"""

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path


def unanswered(prompts: Path, answers: Path) -> tuple[int, int]:
    """How many prompts there are, and how many of them have no answer without an error."""
    asked = [json.loads(line)["custom_id"] for line in prompts.read_text().splitlines() if line.strip()]
    lines = [json.loads(line) for line in answers.read_text().splitlines() if line.strip()]
    answered = {line["custom_id"] for line in lines if line["error"] is None}
    return len(asked), len(set(asked) - answered)


def main(arguments: list[str]) -> int:
    """Run the batch, pass SIGTERM on, count."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--input-file", type=Path, required=True)
    parser.add_argument("--output-file", type=Path, required=True)
    files, _ = parser.parse_known_args(arguments)

    vllm = subprocess.Popen(["vllm", "run-batch", *arguments])
    signal.signal(signal.SIGTERM, lambda *_: vllm.terminate())
    if code := vllm.wait():
        return code if code > 0 else 128 - code
    asked, missing = unanswered(files.input_file, files.output_file)
    sys.stderr.write(f"{asked - missing} of {asked} prompts answered in {files.output_file}\n")
    return 2 if missing or not asked else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
