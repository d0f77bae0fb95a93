"""The harness's command line: options in, a run, a verdict and a report out. Exit codes 0 pass, 1 fail, 3 invalid.

Parses, runs, judges, writes, prints; decides nothing itself. Progress goes to stderr, the result to stdout.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Final

import click
import gevent

from loadtest.conclude import conclude, verdict_text
from loadtest.profile import load_profile, shipped
from loadtest.progress import Progress
from loadtest.report import read_attachment
from loadtest.run import Run, new_directory
from loadtest.target import target_of
from serving.errors import Refused, WarmgateError
from serving.report.text import color_wanted

INTERRUPTED: Final = {"Ctrl-C": 130, "SIGTERM": 143}


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--profile",
    "profile_name",
    envvar="WARMGATE_PROFILE",
    default="demo",
    show_default=True,
    help=f"A shipped profile ({', '.join(shipped())}) or the path of a YAML file.",
)
@click.option(
    "--base-url",
    envvar="WARMGATE_BASE_URL",
    default="http://127.0.0.1:8000",
    show_default=True,
    help="The gateway or server, as clients reach it, without /v1.",
)
@click.option("--model", envvar="WARMGATE_MODEL", help="Served model name.  [default: the first of /v1/models]")
@click.option(
    "--out",
    envvar="WARMGATE_OUT",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the report.  [default: reports/<UTC time>, and the link reports/latest]",
)
@click.option("--rate", envvar="WARMGATE_RATE", type=float, help="Arrivals per second, instead of the profile's.")
@click.option("--duration", envvar="WARMGATE_DURATION", type=float, help="Seconds, instead of the profile's.")
@click.option(
    "--seed", envvar="WARMGATE_SEED", type=int, help="Seed of arrivals and prompts, instead of the profile's."
)
@click.option(
    "--api-key-env", envvar="WARMGATE_API_KEY_ENV", metavar="NAME", help="The variable that holds the API key."
)
@click.option(
    "--ca-cert",
    envvar="WARMGATE_CA_CERT",
    type=click.Path(dir_okay=False, path_type=Path),
    help="PEM file of the CA to trust instead of the system's.",
)
@click.option(
    "--attach",
    envvar="WARMGATE_ATTACH",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="Show this report (JSON of `warmgate verify`) in report.html too.  May be repeated.",
)
@click.option(
    "--output",
    envvar="WARMGATE_OUTPUT",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What to print on stdout.",
)
def command(
    profile_name: str,
    base_url: str,
    model: str | None,
    out: Path | None,
    rate: float | None,
    duration: float | None,
    seed: int | None,
    api_key_env: str | None,
    ca_cert: Path | None,
    attach: tuple[Path, ...],
    output: str,
) -> int:
    """Load-test an OpenAI-compatible endpoint with streamed chat completions, and judge it against SLOs.

    \b
    Latency counts from the scheduled time; failed requests count as never answered; what was not
    seen never passes. Exit code 0 pass, 1 fail, 2 usage, 3 invalid or could not observe.

    \b
    Examples:
      warmgate loadtest --profile demo --base-url http://127.0.0.1:8000
      warmgate loadtest --profile my.yaml --rate 5 --duration 120 --base-url https://llm.example.com
      warmgate loadtest --profile smoke --attach verify.json --output json
    """
    profile = load_profile(profile_name, rate, duration, seed)
    attached = [read_attachment(path) for path in attach]
    run = Run(Path(profile_name).stem, profile, target_of(base_url, api_key(api_key_env), ca_cert), model)
    served = run.preflight()
    directory = new_directory(out)
    say = sys.stderr.write
    say(f"load test of {served} at {run.target.base_url}, profile {run.name}, report in {directory}\n")
    for number, name in zip((signal.SIGINT, signal.SIGTERM), INTERRUPTED, strict=True):
        gevent.signal_handler(number, run.stop, name)
    with Progress(run, sys.stderr):
        traffic = run.perform(directory / "ledger.jsonl")
    document, report = conclude(traffic, profile, attached, directory)
    if output == "json":
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(verdict_text(document, report, directory, color=color_wanted(sys.stdout, os.environ)))
    return INTERRUPTED[run.interrupted] if run.interrupted else int(document["exit_code"])


def api_key(variable: str | None) -> str | None:
    """The key that this environment variable holds. It never comes on a command line, where others could read it."""
    if variable is None:
        return None
    if variable not in os.environ:
        raise Refused(f"--api-key-env {variable}: there is no such environment variable: export it")
    return os.environ[variable]


def main() -> int:
    """Run the command line; returns the exit code. Every error is one line."""
    hub = gevent.get_hub()
    hub.NOT_ERROR = (*hub.NOT_ERROR, KeyboardInterrupt)  # gevent would print it before we can say it in one word
    try:
        code = command.main(standalone_mode=False, prog_name="warmgate loadtest")
    except click.exceptions.Abort:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED["Ctrl-C"]
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except WarmgateError as error:
        sys.stderr.write(f"warmgate: {error}\n")
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return code if isinstance(code, int) else 0
