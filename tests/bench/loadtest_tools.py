"""The load tools that are compared: how each is installed, asked for the same load, and what it reports.

Each gets its own virtual environment under the cache directory, once; vLLM's benchmark is taken from the environment
that runs this, where it has one. A tool that cannot be had is skipped, and the reason told.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from tests.bench.loadtest_process import Ran, run

INSTALL_S: Final = 1800
PROMPT_TOKENS: Final = 32
VLLM_BENCH: Final = (
    "from vllm.benchmarks.serve import add_cli_args, main\n"
    "from vllm.utils.argparse_utils import FlexibleArgumentParser\n"
    "parser = FlexibleArgumentParser()\n"
    "add_cli_args(parser)\n"
    "main(parser.parse_args())\n"
)


class Skipped(Exception):
    """The tool cannot be had, or gave no figure; says why."""


@dataclass(frozen=True)
class Job:
    """One run: this many streams against `url`, in the empty directory `work`."""

    url: str
    model: str
    tokenizer: Path
    streams: int
    requests: int
    tokens: int
    work: Path


@dataclass(frozen=True)
class Reported:
    """What a tool said of its run, in milliseconds. `tokens` are the output tokens that it counted.

    TTFT counts from the sending, as every peer counts it; `scheduled` is p50 and p99 of ours from the schedule.
    """

    ttft_p50: float
    ttft_p99: float
    tpot_mean: float | None = None
    tokens: int | None = None
    scheduled: tuple[float, float] | None = None
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tool:
    """`command` gets the interpreter of its environment; `read` finds the figures after the run."""

    name: str
    command: Callable[[Path, Job], list[str]]
    read: Callable[[Job, Ran], Reported]
    requirement: str | None = None
    needs: tuple[int, int] = (3, 11)
    env: tuple[tuple[str, str], ...] = ()

    def interpreter(self, cache: Path) -> Path:
        """The interpreter of its environment, which is made when it is not there. Raises Skipped."""
        if self.requirement is None:
            if self.name == "vllm bench" and find_spec("vllm") is None:
                raise Skipped("vllm is not installed in this environment")
            return Path(sys.executable)
        directory = cache / self.requirement.partition("==")[0]
        python = directory / "bin" / "python"
        if not _holds(python, self.requirement):
            _install(directory, self.requirement, self.needs)
        return python


def cache_directory() -> Path:
    """Where the environments stay; remove it by hand."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "warmgate" / "bench"


def environment(tool: Tool, cache: Path) -> dict[str, str]:
    """A tool's variables: nothing of ours, no hub, one thread where it has a choice."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WARMGATE_", "HF_"))}
    quiet = {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1", "HF_HOME": str(cache / "hf")}
    return kept | quiet | {"VLLM_NO_USAGE_STATS": "1", "NO_COLOR": "1"} | dict(tool.env)


def _holds(python: Path, requirement: str) -> bool:
    name, _, version = requirement.partition("==")
    asked = f"from importlib.metadata import version; print(version({name!r}))"
    try:
        found = subprocess.run([python, "-c", asked], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return found.stdout.strip() == version


def _install(directory: Path, requirement: str, needs: tuple[int, int]) -> None:
    base = _python(needs)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    print(f"installing {requirement} into {directory}", flush=True)
    # torch without CUDA, where it can be had, is a tenth of torch with it.
    pins = (["torch==2.13.0+cpu"], []) if requirement.startswith("guidellm") else ([],)
    problem = run([base, "-m", "venv", directory], directory.parent, timeout_s=120).problem
    if problem is None:
        for pinned in pins:
            pip = [str(directory / "bin" / "pip"), "install", "--no-cache-dir", "--quiet", requirement, *pinned]
            problem = run(pip, directory.parent, timeout_s=INSTALL_S).problem
            if problem is None:
                break
    for name in ("out.txt", "err.txt"):
        (directory.parent / name).unlink(missing_ok=True)
    if problem is not None:
        shutil.rmtree(directory, ignore_errors=True)
        raise Skipped(f"cannot be installed: {problem}")


def _python(needs: tuple[int, int]) -> Path:
    """A Python of at least this version. Raises Skipped."""
    named = [shutil.which(f"python3.{minor}") for minor in range(needs[1], needs[1] + 3)]
    roots = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    kept = [str(path) for minor in range(needs[1], needs[1] + 3) for path in roots.glob(f"3.{minor}.*/bin/python")]
    for candidate in [sys.executable, *named, *kept]:
        if candidate is None:
            continue
        asked = [candidate, "-c", "import sys; print(*sys.version_info[:2])"]
        try:
            found = subprocess.run(asked, capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if found.returncode == 0 and tuple(map(int, found.stdout.split())) >= needs:
            return Path(candidate)
    raise Skipped(f"needs Python {needs[0]}.{needs[1]} or newer, and none is on the PATH")


def _ours(python: Path, job: Job) -> list[str]:
    options: list[object] = ["--streams", job.streams, "--requests", job.requests, "--output-tokens", job.tokens]
    options += ["--profile", "smoke", "--no-gates", "--seed", 1]
    options += ["--base-url", job.url, "--report-dir", job.work / "report", "--output", "json"]
    return [str(word) for word in (python, "-m", "loadtest", *options)]


def read_ours(job: Job, ran: Ran) -> Reported:
    """The document that our harness prints."""
    body = json.loads(ran.out)
    ttft, wire, tpot = (body["metrics"][name] or {} for name in ("ttft_ms", "ttft_wire_ms", "tpot_ms"))
    more = {name: body[name] for name in ("metrics", "measurement", "outcomes")}
    scheduled = (ttft["p50"], ttft["p99"])
    return Reported(wire["p50"], wire["p99"], tpot.get("mean"), body["tokens"]["output"], scheduled, more)


def _vllm(python: Path, job: Job) -> list[str]:
    options: list[object] = [
        "--backend",
        "openai",
        "--base-url",
        job.url,
        "--model",
        job.model,
        "--tokenizer",
        job.tokenizer,
    ]
    options += ["--dataset-name", "random", "--random-input-len", PROMPT_TOKENS, "--random-output-len", job.tokens]
    options += ["--num-prompts", job.requests, "--max-concurrency", job.streams, "--ignore-eos", "--disable-tqdm"]
    options += ["--percentile-metrics", "ttft,tpot,itl", "--metric-percentiles", "50,99"]
    options += ["--save-result", "--result-dir", job.work, "--result-filename", "vllm.json"]
    return [str(word) for word in (python, "-c", VLLM_BENCH, *options)]


def _read_vllm(job: Job, ran: Ran) -> Reported:
    body = json.loads((job.work / "vllm.json").read_text())
    return Reported(body["p50_ttft_ms"], body["p99_ttft_ms"], body["mean_tpot_ms"], body["total_output_tokens"])


def _guidellm(python: Path, job: Job) -> list[str]:
    options = ["--backend", f"kind=openai_http,target={job.url},model={job.model}"]
    options += ["--profile", f"kind=concurrent,streams={job.streams}"]
    options += ["--constraint", f"kind=max_requests,count={job.requests}"]
    options += ["--tokenizer", f"kind=huggingface_auto,model={job.tokenizer}"]
    options += ["--data", f"kind=synthetic_text,prompt_tokens={PROMPT_TOKENS},output_tokens={job.tokens}"]
    options += ["--output", f"kind=json,path={job.work / 'guidellm.json'}", "--disable-console"]
    return [str(python.parent / "guidellm"), "run", *options]


def _read_guidellm(job: Job, ran: Ran) -> Reported:
    metrics = json.loads((job.work / "guidellm.json").read_text())["benchmarks"][0]["metrics"]
    ttft, itl = (metrics[name]["successful"] for name in ("time_to_first_token_ms", "inter_token_latency_ms"))
    tokens = int(metrics["output_token_count"]["successful"]["total_sum"])
    # What it calls ITL is everyone else's TPOT; its TPOT includes the first token.
    return Reported(ttft["percentiles"]["p50"], ttft["percentiles"]["p99"], itl["mean"], tokens)


def _aiperf(python: Path, job: Job) -> list[str]:
    options: list[object] = ["--model", job.model, "--url", job.url, "--endpoint-type", "chat", "--streaming"]
    options += ["--tokenizer", job.tokenizer, "--concurrency", job.streams, "--request-count", job.requests]
    options += ["--synthetic-input-tokens-mean", PROMPT_TOKENS, "--output-tokens-mean", job.tokens]
    options += ["--use-server-token-count", "--ui", "none", "--no-server-metrics", "--no-gpu-telemetry"]
    options += ["--artifact-dir", job.work / "aiperf"]
    return [str(word) for word in (python.parent / "aiperf", "profile", *options)]


def _read_aiperf(job: Job, ran: Ran) -> Reported:
    body = json.loads((job.work / "aiperf" / "profile_export_aiperf.json").read_text())
    ttft, tokens = body["time_to_first_token"], body["output_token_count"]["sum"]
    return Reported(ttft["p50"], ttft["p99"], body["inter_token_latency"]["avg"], int(tokens))


def _inference_perf(python: Path, job: Job) -> list[str]:
    def fixed(length: int) -> dict[str, Any]:
        sizes = {"min": length, "max": length, "mean": length, "std_dev": 0}
        return {"type": "fixed", **sizes, "total_count": job.requests}

    config = {
        "api": {"type": "completion", "streaming": True},
        "server": {"type": "vllm", "model_name": job.model, "base_url": job.url, "ignore_eos": True},
        "tokenizer": {"pretrained_model_name_or_path": str(job.tokenizer)},
        "data": {
            "type": "random",
            "input_distribution": fixed(PROMPT_TOKENS),
            "output_distribution": fixed(job.tokens),
        },
        "load": {
            "type": "concurrent",
            "num_workers": 1,
            "worker_max_concurrency": job.streams,
            "stages": [{"num_requests": job.requests, "concurrency_level": job.streams}],
        },
        "report": {"request_lifecycle": {"use_server_output_tokens": True, "percentiles": [50, 99]}},
        "storage": {"local_storage": {"path": str(job.work / "inference-perf")}},
    }
    (job.work / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    return [str(python.parent / "inference-perf"), "-c", str(job.work / "config.yaml")]


def _read_inference_perf(job: Job, ran: Ran) -> Reported:
    body = json.loads((job.work / "inference-perf" / "summary_lifecycle_metrics.json").read_text())["successes"]
    ttft, tpot = (body["latency"][name] for name in ("time_to_first_token", "time_per_output_token"))
    tokens = int(body["output_tokens"]["total"])
    return Reported(ttft["median"] * 1e3, ttft["p99"] * 1e3, tpot["mean"] * 1e3, tokens)


OFFLINE: Final = (("HF_HUB_OFFLINE", "1"),)
TOOLS: Final = (
    Tool("ours", _ours, read_ours),
    Tool("vllm bench", _vllm, _read_vllm, env=OFFLINE),
    Tool("guidellm", _guidellm, _read_guidellm, "guidellm==0.8.1", env=OFFLINE),
    # AIPerf takes a directory for the name of a repository when it is told to stay off line.
    Tool("aiperf", _aiperf, _read_aiperf, "aiperf==0.13.0"),
    Tool("inference-perf", _inference_perf, _read_inference_perf, "inference-perf==0.7.0", (3, 12), OFFLINE),
)
