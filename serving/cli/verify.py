"""`warmgate verify`: the evidence chain of one endpoint, from the engine's process to a prediction through the gateway.

Read-only. Parses, waits, observes, judges, renders; decides nothing. Progress goes to stderr, the report to stdout.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any, Final, Literal

import click
import httpx
from pydantic import ValidationError

from serving.cli.wait import Ticker, verify_until
from serving.errors import Refused
from serving.expectations import Readiness
from serving.observe.endpoint import Target
from serving.report.json import render_json
from serving.report.text import color_wanted, render_text

OPTION_OF: Final = {name: f"--{name.replace('_', '-')}" for name in Readiness.model_fields}
DEFAULT: Final = Readiness.model_construct()


def _url(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """An http(s) URL without credentials, query, trailing slash or the `/v1` that clients write behind it.

    A refusal never repeats the value: it may hold a password.
    """
    if value is None:
        return None
    try:
        url = httpx.URL(value)
    except httpx.InvalidURL as error:
        raise click.BadParameter(f"not a URL ({error})", context, parameter) from None
    if url.userinfo:
        raise click.BadParameter("it must not hold credentials; use --api-key-env", context, parameter)
    if url.scheme not in ("http", "https") or not url.host or " " in value or url.query or url.fragment:
        raise click.BadParameter("not like http://HOST:PORT or https://HOST/PATH", context, parameter)
    if url.port is not None and not 0 < url.port < 65536:
        raise click.BadParameter(f"port {url.port} is not from 1 to 65535", context, parameter)
    return value.rstrip("/").removesuffix("/v1").rstrip("/")


@click.command()
@click.option("--admin", envvar="WARMGATE_ADMIN", required=True, callback=_url, help="The agent's admin URL.")
@click.option(
    "--base-url",
    envvar="WARMGATE_BASE_URL",
    required=True,
    callback=_url,
    help="What clients use: the gateway or Service, without /v1.",
)
@click.option("--model", envvar="WARMGATE_MODEL", help="Served model name.  [default: what the agent expects]")
@click.option(
    "--ttft-ms",
    envvar="WARMGATE_TTFT_MS",
    type=float,
    default=DEFAULT.ttft_ms,
    show_default=True,
    help="Most TTFT at --percentile, in milliseconds.",
)
@click.option(
    "--percentile",
    envvar="WARMGATE_PERCENTILE",
    type=float,
    default=DEFAULT.percentile,
    show_default=True,
    help="Quantile of TTFT to judge, over 0 to 1; p95 needs 20 samples, p99 needs 100.",
)
@click.option(
    "--samples",
    envvar="WARMGATE_SAMPLES",
    type=int,
    default=DEFAULT.samples,
    show_default=True,
    help="Short completions to time, one after the other.",
)
@click.option(
    "--memory-mib",
    envvar="WARMGATE_MEMORY_MIB",
    type=float,
    help="Most resident memory of the engine's processes.  [default: shown, not judged]",
)
@click.option(
    "--gpu-free-mib",
    envvar="WARMGATE_GPU_FREE_MIB",
    type=float,
    help="Least free memory of each GPU; fails where there is no GPU.  [default: GPUs judged where there are any]",
)
@click.option(
    "--expect",
    envvar="WARMGATE_EXPECT",
    metavar="TEXT",
    help="Text that the answer to “What is the capital of France?” must contain, in any case.",
)
@click.option("--gateway-admin", envvar="WARMGATE_GATEWAY_ADMIN", callback=_url, help="Envoy's admin URL.")
@click.option(
    "--api-key-env",
    envvar="WARMGATE_API_KEY_ENV",
    metavar="NAME",
    help="Environment variable that holds the API key of --base-url.",
)
@click.option(
    "--ca-cert",
    envvar="WARMGATE_CA_CERT",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file of the CA to trust instead of the system's.",
)
@click.option(
    "--timeout",
    "timeout_s",
    envvar="WARMGATE_TIMEOUT",
    type=click.FloatRange(1, 3600),
    default=60.0,
    show_default=True,
    metavar="S",
    help="Bound of one verification, in seconds.",
)
@click.option(
    "--wait",
    "wait_s",
    envvar="WARMGATE_WAIT",
    type=click.FloatRange(0, 86400),
    default=0.0,
    show_default=True,
    metavar="S",
    help="Keep trying until it passes, the agent says `failed`, or S seconds are over.",
)
@click.option(
    "--output",
    envvar="WARMGATE_OUTPUT",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Format of the report on stdout.",
)
@click.pass_context
def command(
    context: click.Context,
    /,
    admin: str,
    base_url: str,
    gateway_admin: str | None,
    api_key_env: str | None,
    ca_cert: Path | None,
    timeout_s: float,
    wait_s: float,
    output: Literal["text", "json"],
    **expected: Any,
) -> None:
    """Prove that an endpoint is loaded, warm, listed, fast enough and answering.

    Seven layers, all attempted whatever became of the others: process, model, endpoint, latency, memory, GPU memory,
    prediction. Exit code 0 pass, 1 a layer fails, 3 a layer could not be looked at (nothing listens, no permission,
    too few samples). What does not apply, such as GPU memory without a GPU, is shown and never counted as a pass.

    \b
    Examples:
      warmgate verify --admin http://127.0.0.1:8081 --base-url http://127.0.0.1:8000
      warmgate verify --admin http://10.0.0.7:8081 --base-url https://llm.example.com --api-key-env LLM_KEY \\
        --ttft-ms 500 --percentile 0.99 --samples 100 --gpu-free-mib 2048 --expect Paris
      warmgate verify --admin http://127.0.0.1:8081 --base-url http://127.0.0.1:8000 --wait 600 --output json
    """
    target = Target(admin, base_url, gateway_admin, _key(api_key_env), ca_cert)
    ticker = Ticker(sys.stderr)
    try:
        report = asyncio.run(verify_until(target, _expectations(expected), timeout_s, wait_s, ticker))
    finally:
        ticker.close()
    color = color_wanted(sys.stdout, os.environ)
    click.echo(render_json(report) if output == "json" else render_text(report, color=color), nl=False)
    context.exit(report.exit_code)


def _key(name: str | None) -> str | None:
    if name is None:
        return None
    value = os.environ.get(name, "").strip()
    if not value:
        raise Refused(f"--api-key-env {name}: that variable is not set; export it, or leave the option out")
    if not (value.isascii() and value.isprintable()):
        raise Refused(f"--api-key-env {name}: that variable holds characters that no HTTP header may carry")
    return value


def _expectations(expected: dict[str, Any]) -> Readiness:
    try:
        return Readiness(**expected)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = OPTION_OF.get(str(first["loc"][0]), str(first["loc"]))
        raise Refused(f"{option} {first['input']}: {first['msg'][0].lower()}{first['msg'][1:]}") from error
