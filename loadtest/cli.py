"""The harness's command line: options in, a run, a verdict and a report out. Exit codes 0 pass, 1 fail, 3 invalid.

Parses, runs, judges, writes, prints; decides nothing itself. Progress goes to stderr, the result to stdout.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, Final

import click
import gevent

from loadtest.conclude import verdict_text
from loadtest.directory import new_directory
from loadtest.options import EXAMPLES, Asked, with_options
from loadtest.progress import Progress
from loadtest.report import read_attachment
from loadtest.verdicts import concluded
from serving.errors import CannotAct, WarmgateError
from serving.report.text import color_wanted

FILES: Final = 65_536
INTERRUPTED: Final = {"Ctrl-C": 130, "SIGTERM": 143}


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=EXAMPLES)
@with_options
@click.option(
    "--self-check", envvar="WARMGATE_SELF_CHECK", is_flag=True, help="Measure the harness itself, and nothing else."
)
@click.option(
    "--output",
    envvar="WARMGATE_OUTPUT",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What to print on stdout.",
)
def command(self_check: bool, output: str, **options: Any) -> int:
    """Load-test an OpenAI-compatible endpoint with streamed chat completions, and judge it against SLOs.

    Latency counts from the scheduled time; failed requests count as never answered; what was not
    seen never passes. Exit code 0 pass, 1 fail, 2 usage, 3 invalid or could not observe.
    """
    if self_check:
        from loadtest.truth.self_check import check_itself

        return check_itself(output)
    asked = Asked(**options)
    profile = asked.load_profile()
    attached = [read_attachment(path) for path in asked.attach]
    run = asked.run(profile, lambda line: click.echo(line, err=True))
    served = run.preflight()
    directory = new_directory(asked.report_dir)
    run.say(f"load test of {served} at {run.target.base_url}, profile {run.name}, report in {directory}")
    for number, name in zip((signal.SIGINT, signal.SIGTERM), INTERRUPTED, strict=True):
        gevent.signal_handler(number, run.stop, name)
    with Progress(run, sys.stderr):
        traffic = run.perform(directory)
    conclusion = concluded(run, traffic, attached, directory)
    for line in conclusion.unwritten:
        run.say(f"warmgate: {line}")
    code = INTERRUPTED.get(run.interrupted or "", conclusion.exit_code)
    if output == "json":
        return _shown(json.dumps(conclusion.body, indent=2) + "\n", directory, code)
    return _shown(verdict_text(conclusion, directory, color=color_wanted(sys.stdout, os.environ)), directory, code)


def _shown(result: str, directory: Path, code: int) -> int:
    """Print the result; returns the exit code, which is never 0 when nobody could be told."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        sys.stdout.write(result.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries again at its end
        sys.stderr.write(f"warmgate: cannot print the result: {error.strerror}: it is in {directory}\n")
        return code or CannotAct.exit_code
    return code


def main() -> int:
    """Run the command line; returns the exit code. Every error is one line."""
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= files < FILES:  # a stream is a file; workers inherit the limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES if most < 0 else min(FILES, most), most))
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
    except Exception:  # noqa: BLE001 - whatever it is, it is no verdict on the server: 1 would say that SLOs were missed
        traceback.print_exc()
        return WarmgateError.exit_code
    return code if isinstance(code, int) else 0
