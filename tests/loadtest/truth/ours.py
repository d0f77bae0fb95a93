"""Our own harness against the ground truth, as a process: prints what was found, one line a scenario."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from loadtest.truth.honesty import Compared
from loadtest.truth.program import Program

TIMEOUT_S = 100
SCRIPT = """
import json, sys
from dataclasses import asdict
from gevent import monkey
monkey.patch_all()
from loadtest.truth.process import truth_process
from loadtest.truth.program import Program
from loadtest.truth.self_check import measure
with truth_process() as truth:
    for program, load in json.loads(sys.argv[1]):
        print(json.dumps(asdict(measure(truth, "test", None, Program(**program), load).compared)), flush=True)
"""


def measured(*scenarios: tuple[Program, dict[str, Any]]) -> list[Compared]:
    """What our harness told of each scenario, beside what was true."""
    asked = json.dumps([(asdict(program), load) for program, load in scenarios])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, asked], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return [compared(json.loads(line)) for line in done.stdout.splitlines()]


def compared(body: dict[str, Any]) -> Compared:
    values: dict[str, Any] = {name: tuple(of) if isinstance(of, list) else of for name, of in body.items()}
    return Compared(**values)
