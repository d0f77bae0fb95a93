"""`warmgate model`: prepare, locate and check the embedded model."""

from __future__ import annotations

import click

from serving.embedded import model
from serving.embedded.progress import on_stream


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Prepare and locate the embedded model (SmolLM2-135M-Instruct, Apache-2.0, 270 MB)."""


@command.command()
@click.argument("name", default="embedded", envvar="WARMGATE_MODEL")
def path(name: str) -> None:
    """Print what vLLM takes as the model, as the last line of stdout; make the embedded one first where it is missing.

    NAME (or $WARMGATE_MODEL) is `embedded`, a Hugging Face directory, or hf://organisation/model.
    Progress goes to stderr.

    \b
    Examples:
      warmgate model path
      vllm serve "$(warmgate model path)"
      warmgate model path ~/models/Qwen3-0.6B
      warmgate model path hf://Qwen/Qwen3-0.6B
    """
    click.echo(model.resolve(name, on_stream()))


@command.command()
def check() -> None:
    """Hash every file of the embedded model and compare: exit 0 if all are as written, 1 if one is not.

    \b
    Examples:
      warmgate model check
      XDG_CACHE_HOME=/models warmgate model check
    """
    wrong = model.damaged(on_stream())
    for line in wrong:
        click.echo(f"FAIL {line}")
    if wrong:
        click.echo(f"     remove {model.location()} and run `warmgate model path`")
        raise click.exceptions.Exit(1)
    click.echo(f"ok   {model.location()}")
