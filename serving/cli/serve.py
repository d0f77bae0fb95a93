"""`warmgate serve`: run vLLM under the readiness agent. Every option is a field of the agent's Settings."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import click
from pydantic import ValidationError

from serving.agent import guard
from serving.agent.run import say, serve
from serving.agent.settings import Settings, check_combination
from serving.errors import Refused


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """One option `--like-this`, with its variable WARMGATE_LIKE_THIS, per field of Settings."""
    for name, field in reversed(Settings.model_fields.items()):
        option = click.option(
            f"--{name.replace('_', '-')}",
            name,
            envvar=f"WARMGATE_{name.upper()}",
            type=field.annotation,
            default=field.default,
            show_default=True,
            help=field.description,
        )
        command = option(command)
    return command


class _Serve(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            hint = f"no option {error.option_name!r} of the agent; vLLM's arguments go after `--`"
            raise click.UsageError(hint, ctx) from error


@click.command(cls=_Serve)
@settings_options
@click.option(
    "--engine-command",
    envvar="WARMGATE_ENGINE_COMMAND",
    default="",
    help="Command in front of vLLM's arguments; default: `vllm serve` where it works, else vLLM's module entry point.",
)
@click.option("--print-grace", is_flag=True, help="Print terminationGracePeriodSeconds for these options, and exit.")
@click.argument("vllm_args", nargs=-1, type=click.UNPROCESSED)
def command(engine_command: str, print_grace: bool, vllm_args: tuple[str, ...], **options: Any) -> int:
    """Run vLLM under the readiness agent; everything after `--` goes to vLLM.

    The agent answers on its admin port from the first second: /readyz is 200 only once the expected model has generated
    its warm-up tokens and while the engine moves. /modelz tells state, reason and timings. SIGTERM drains streams.

    \b
    Exit codes: 0 ended as asked, 1 the engine failed, 2 refused, 3 the admin port or the engine cannot be used.

    \b
    Examples:
      warmgate serve -- --model Qwen/Qwen3-0.6B --served-model-name qwen --port 8080
      warmgate serve --lame-duck 15 --drain-timeout 120 --print-grace
      WARMGATE_STALL_AFTER=60 warmgate serve -- --model /models/llama --port 8080
      curl -s http://127.0.0.1:8081/modelz
    """
    try:
        settings = Settings.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise Refused(f"--{option} {first['input']}: {first['msg'].lower()}") from error
    if print_grace:
        click.echo(settings.budget.grace_s)
        return 0
    engine = guard.engine_args(vllm_args, os.environ)
    check_combination(settings, engine)
    environ, warnings = guard.engine_environment(os.environ, settings)
    guard.await_model(engine, os.environ)
    listener = guard.bind_admin(settings)
    starter = guard.engine_command(engine_command)
    for warning in warnings:
        say(warning)
    return asyncio.run(serve(settings, engine, starter, environ, listener))
