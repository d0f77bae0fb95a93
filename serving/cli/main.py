"""The `warmgate` command: loads a subcommand's module only when it is used, turns every error into one line.

A module `serving/cli/<name>.py` holds one command named `command`. Exit codes: 0 pass, 1 fail, 2 usage, 3 could not
observe or act; 130 after Ctrl-C.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Final

import click

from serving import __version__
from serving.cli.streams import NOT_WRITTEN, flush, give_up_stdout, mend, tell
from serving.errors import CannotAct, WarmgateError

COMMANDS: Final = {
    "serve": "Run vLLM under the readiness agent.",
    "lint": "Prove that manifests tell one story before anything is applied.",
    "verify": "Prove that an endpoint is loaded, warm, listed, fast enough and answering.",
    "loadtest": "Load-test an endpoint and judge it against SLOs.",
    "compare": "Compare two load runs: is the candidate no worse than the baseline?",
    "model": "Prepare and locate the embedded model.",
    "demo": "Serve the embedded model behind a gateway, verify it, load-test it, report.",
}


class _Lazy(click.Group):
    """A group whose subcommands are imported on use, so that `--help` needs no extra installed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        try:
            module = importlib.import_module(f"serving.cli.{cmd_name}")
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing == "serving":
                raise
            raise CannotAct(f"`warmgate {cmd_name}` needs the package {missing!r}: see README, Install") from error
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="warmgate")
def cli() -> None:
    """Nothing goes live cold: serve, verify and load-test a model on vLLM.

    \b
    Examples:
      warmgate serve -- --model Qwen/Qwen3-0.6B --served-model-name qwen --port 8080
      warmgate verify --admin http://127.0.0.1:8081 --base-url http://127.0.0.1:8000
      warmgate loadtest --profile demo --base-url http://127.0.0.1:8000
    """


def drop_service_links() -> None:
    """Forget variables that Kubernetes made, not a person.

    A Service named `warmgate-admin` in the Pod's namespace injects WARMGATE_ADMIN_PORT=tcp://..., which is no port.
    """
    for name in [name for name in os.environ if name.startswith("WARMGATE_") and name.endswith("_PORT")]:
        if "://" in os.environ[name]:
            print(f"warmgate: ignoring {name}={os.environ.pop(name)}: a service link, no setting", file=sys.stderr)


def main() -> None:
    """Run the command line; the console script's entry point."""
    mend()
    drop_service_links()
    try:
        code = cli.main(standalone_mode=False)
        flush()
    except click.exceptions.Abort:
        tell("interrupted")
        code = 130
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        code = error.exit_code
    except WarmgateError as error:
        from serving.report.text import one_line  # whatever a file or a server put into it

        tell(f"warmgate: {one_line(str(error))}")
        code = error.exit_code
    except OSError as error:
        if error.errno not in NOT_WRITTEN:
            raise
        give_up_stdout()
        tell(f"warmgate: the output cannot be written ({os.strerror(error.errno).lower()}): make room, or redirect it")
        code = CannotAct.exit_code
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
