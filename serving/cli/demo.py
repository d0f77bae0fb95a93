"""`warmgate demo`: the whole house on one machine: serve, wait, verify, load-test, report; then stop everything.

It only calls what the other commands are made of, in their order, and ends every process that it started.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

import click

from serving.child import die_with_parent
from serving.cli.wait import Ticker, verify_until
from serving.embedded import model as embedded
from serving.embedded.progress import on_stream
from serving.embedded.stack import NAME, Stack, choose_ports, interruptible, undisturbed
from serving.errors import CannotAct
from serving.expectations import Readiness
from serving.facts.seen import Seen
from serving.observe.endpoint import Target, observe_agent
from serving.report.json import render_json
from serving.report.text import color_wanted, render_text
from serving.verdict import EXIT_CODES, Verdict, worst

VERIFY_S: Final = 120.0
EMBEDDED_MIB: Final = 6144.0  # three processes of 3.5 GiB together with a KV cache of 1 GiB, and room
VERDICTS: Final = {0: Verdict.PASS, 1: Verdict.FAIL}  # of the harness's exit codes; any other is UNKNOWN
LATEST: Final = Path("reports/latest")


@click.command()
@click.option(
    "--model", envvar="WARMGATE_MODEL", default="embedded", show_default=True, help="embedded, DIR or hf://ID."
)
@click.option("--port", envvar="WARMGATE_PORT", default=8000, show_default=True, help="Port of the gateway.")
@click.option("--profile", envvar="WARMGATE_PROFILE", default="demo", show_default=True, help="Load profile.")
@click.option("--wait", "wait_s", envvar="WARMGATE_WAIT", default=600.0, show_default=True, help="Seconds for loading.")
@click.option("--ttft-ms", envvar="WARMGATE_TTFT_MS", default=3000.0, show_default=True, help="Target of TTFT at p95.")
@click.option("--keep", envvar="WARMGATE_KEEP", is_flag=True, help="Leave the stack up until Ctrl-C.")
def command(model: str, port: int, profile: str, wait_s: float, ttft_ms: float, keep: bool) -> int:
    """Serve the embedded model behind a gateway, verify it, load-test it, report.

    Starts real vLLM under the agent and a real Envoy, on loopback. Writes reports/<utc-timestamp>/ and the link
    reports/latest. Ctrl-C ends it at any moment and leaves no process behind.

    \b
    Exit codes: 0 pass, 1 fail, 3 invalid or could not observe; 130 after Ctrl-C.

    \b
    Examples:
      warmgate demo
      warmgate demo --keep --port 9000
      warmgate demo --model hf://Qwen/Qwen3-0.6B --profile smoke
    """
    with interruptible():
        ports = choose_ports(port)
        path = embedded.resolve(model, on_stream())
        work = Path(tempfile.mkdtemp(prefix="warmgate-demo-"))
        stack = Stack(path, ports, work)
        try:
            memory_mib = EMBEDDED_MIB if model == "embedded" else None
            verdict = _prove(stack, profile, wait_s, ttft_ms, memory_mib)
            click.echo(f"verdict: {'invalid' if verdict is Verdict.UNKNOWN else verdict}")
            if keep:
                _keep(stack)
        finally:
            with undisturbed():
                interrupted = isinstance(sys.exc_info()[1], KeyboardInterrupt)
                _say("stopping every process")
                stack.stop(at_once=interrupted or keep)
                if interrupted:
                    shutil.rmtree(work, ignore_errors=True)
        if verdict is Verdict.PASS:
            shutil.rmtree(work, ignore_errors=True)
        else:
            _say(f"logs: {stack.agent_log} {stack.envoy_log}")
    return EXIT_CODES[verdict]


def _prove(stack: Stack, profile: str, wait_s: float, ttft_ms: float, memory_mib: float | None) -> Verdict:
    stack.start()
    _say(f"starting vLLM under its agent ({stack.admin}) behind Envoy ({stack.url})")
    target = Target(stack.admin, stack.url, stack.gateway_admin)
    ticker = Ticker(sys.stderr)
    try:
        expectations = Readiness(model=NAME, ttft_ms=ttft_ms, memory_mib=memory_mib)
        report = asyncio.run(verify_until(target, expectations, VERIFY_S, wait_s, ticker))
    finally:
        ticker.close()
    click.echo(render_text(report, color=color_wanted(sys.stdout, os.environ)))
    agent = asyncio.run(observe_agent(target)).modelz
    if not isinstance(agent, Seen) or not agent.value.ready:
        _say("no load test: the model is not ready")
        return report.verdict
    verified = stack.directory / "verify.json"
    verified.write_text(render_json(report), encoding="utf-8")
    return worst([report.verdict, _load_test(stack, profile, verified)])


def _load_test(stack: Stack, profile: str, verified: Path) -> Verdict:
    # Locust's own tables are left out (--skip-log-setup): its percentiles are rounded, the harness's are exact.
    locust = [sys.executable, "-m", "locust", "--headless", "--skip-log-setup", "-f", str(_locustfile())]
    own = ["--host", stack.url, "--profile", profile, "--model", NAME, "--attach", str(verified)]
    seen = ["--engines", stack.engine, "--agents", stack.admin]
    harness = subprocess.Popen(
        [*locust, *own, *seen],
        start_new_session=True,  # Ctrl-C reaches it through us, once
        preexec_fn=partial(die_with_parent, signal.SIGTERM),
    )
    try:
        code = harness.wait()
    finally:
        with undisturbed():
            if harness.poll() is None:
                harness.send_signal(signal.SIGINT)
                try:
                    harness.wait(10)
                except subprocess.TimeoutExpired:
                    harness.kill()
                    harness.wait()
    for log in (stack.agent_log, stack.envoy_log):
        if LATEST.is_dir() and log.exists():
            shutil.copy(log, LATEST)
    return VERDICTS.get(code, Verdict.UNKNOWN)


def _locustfile() -> Path:
    """Found without importing the harness, which patches the sockets of whoever imports it."""
    package = importlib.util.find_spec("loadtest")
    if package is None or not package.submodule_search_locations:
        raise CannotAct("the harness is not installed: pip install 'warmgate[loadtest]'")
    return Path(package.submodule_search_locations[0]) / "locustfile.py"


def _keep(stack: Stack) -> None:
    body = f'{{"model": "{NAME}", "messages": [{{"role": "user", "content": "What is the capital of France?"}}]}}'
    click.echo(
        f"\nthe stack stays up; try it from another terminal:\n"
        f"  curl -s {stack.url}/v1/chat/completions -H 'Content-Type: application/json' -d '{body}'\n"
        f"  curl -s {stack.admin}/modelz\n"
        f"stop it with Ctrl-C here, or: kill {os.getpid()}"
    )
    try:
        while stack.ended() is None:
            time.sleep(1)
    except KeyboardInterrupt:
        return
    _say(f"{stack.ended()}: see {stack.agent_log}")


def _say(line: str) -> None:
    click.echo(line, err=True)
