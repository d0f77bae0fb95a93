"""The batch Job's arguments, read by vLLM's own parser."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

from tests.manifests.kustomize import build, only

pytestmark = pytest.mark.engine
PARSE = """
import json, sys
from vllm.entrypoints.launchers.run_batch import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
told = make_arg_parser(FlexibleArgumentParser()).parse_args(sys.argv[1:])
print(json.dumps([told.input_file, told.output_file, told.model, told.max_model_len]))
"""


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (make setup installs it)")
def test_vllm_takes_the_jobs_arguments():
    (container,) = only(build("jobs/batch-inference"), "Job")["spec"]["template"]["spec"]["containers"]
    done = subprocess.run(
        [sys.executable, "-c", PARSE, *container["args"]], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == ["/batch/prompts.jsonl", "/batch/answers.jsonl", "/mnt/models", 8192]
