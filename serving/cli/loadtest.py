"""`warmgate loadtest`: becomes the harness, `python -m loadtest`, with the same arguments.

It imports nothing of the harness: gevent must patch the process before anything else is loaded.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Final

import click

from serving.errors import CannotAct

NEEDS: Final = ("gevent", "jinja2")


@click.command(
    add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Load-test an endpoint; every argument, --help too, goes to the harness."""
    for name in NEEDS:
        if find_spec(name) is None:
            raise CannotAct(f"the load test needs the package {name!r}: pip install 'warmgate[loadtest]'")
    if sys.stdout is None:
        raise CannotAct("there is no stdout for the result: leave it open, or send it to /dev/null")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "loadtest", *arguments])
