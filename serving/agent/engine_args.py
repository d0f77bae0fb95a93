"""What the agent must know of vLLM's own arguments: where it listens, what it serves, under which key. Pure.

It reads the few options that concern the agent and passes every argument on untouched. vLLM accepts `--a-b`, `--a_b`,
`--a=b` and a YAML file (`--config`) whose keys stand below the command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from serving.errors import Refused

DEFAULT_PORT: Final = 8000
SEVERAL_VALUES: Final = frozenset({"served-model-name"})
READ: Final = frozenset({"model", "served-model-name", "port", "host", "api-key", "uds", "config", "shutdown-timeout"})
FLAGS: Final = frozenset({"ssl-certfile", "headless"})


@dataclass(frozen=True)
class EngineArgs:
    """The engine's arguments as given, and what the agent reads from them."""

    given: tuple[str, ...]
    model: str
    served_names: tuple[str, ...]
    host: str
    port: int
    api_key: str | None
    tls: bool
    shutdown_timeout: str | None

    @property
    def url(self) -> str:
        """Where this machine reaches the engine: loopback unless it listens on one certain address."""
        host = "127.0.0.1" if self.host in ("", "0.0.0.0", "::") else self.host
        return f"{'https' if self.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}"


def config_file(arguments: Sequence[str]) -> str | None:
    """The path behind `--config`, if there is one."""
    values = _options(arguments).get("config")
    return values[-1] if values else None


def read_engine_args(arguments: Sequence[str], config: Mapping[str, Any], environ: Mapping[str, str]) -> EngineArgs:
    """Read vLLM's arguments over its configuration file over its environment. Raises Refused for what cannot work."""
    options = {key: _texts(value) for key, value in config.items() if key.replace("_", "-") in READ | FLAGS}
    options = {key.replace("_", "-"): value for key, value in options.items()} | _options(arguments)
    if "uds" in options:
        raise Refused("vLLM's --uds is not supported: probes, gateway and agent reach the engine by TCP; use --port")
    if "headless" in options:
        raise Refused(
            "vLLM's --headless serves no HTTP, so there is nothing to be ready; start that node without agent"
        )
    models = options.get("model") or _positional(arguments)
    if not models:
        raise Refused("name the model after `--`, for example: warmgate serve -- --model Qwen/Qwen3-0.6B --port 8080")
    port = _last(options, "port", str(DEFAULT_PORT))
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise Refused(f"vLLM's --port must be a number from 1 to 65535, not {port!r}")
    return EngineArgs(
        given=tuple(arguments),
        model=models[-1],
        served_names=tuple(options.get("served-model-name") or models[-1:]),
        host=_last(options, "host", ""),
        port=int(port),
        api_key=_last(options, "api-key", "") or environ.get("VLLM_API_KEY") or None,
        tls="ssl-certfile" in options,
        shutdown_timeout=_last(options, "shutdown-timeout", "") or None,
    )


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _last(options: Mapping[str, list[str]], name: str, default: str) -> str:
    values = options.get(name)
    return values[-1] if values else default


def _positional(arguments: Sequence[str]) -> list[str]:
    """vLLM takes the model as first argument too: `vllm serve MODEL --port 8080`."""
    return [arguments[0]] if arguments and not arguments[0].startswith("-") else []


def _options(arguments: Sequence[str]) -> dict[str, list[str]]:
    options: dict[str, list[str]] = {}
    name = ""
    for argument in arguments:
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            name = name.replace("_", "-")
            options[name] = [value] if equals else []
            if equals:
                name = ""
        elif name:
            options[name].append(argument)
            if name not in SEVERAL_VALUES:
                name = ""
    return {key: value for key, value in options.items() if key in READ | FLAGS and (value or key in FLAGS)}
