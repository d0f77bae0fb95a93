"""Reads manifests as text: from a file, from a stream, from below a directory. Never hangs and never reads too much.

Refuses what no manifest can be: over 32 MiB, not UTF-8, not a regular file. What may not be read is CannotObserve: the
person may have given the right thing, and the exit code is another.
"""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from serving.errors import CannotObserve, Refused

MOST_BYTES: Final = 32 * 2**20  # etcd takes 1.5 MiB an object; thousands of objects fit
SUFFIXES: Final = (".yaml", ".yml", ".json")
ENCODINGS: Final = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def read_file(path: Path) -> str:
    """The text of a regular file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe nobody writes to would block
    except OSError as error:
        raise unreadable(path, error) from error
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise Refused(f"{path}: {kind}: to read from a pipe give `-`, as in `... | warmgate lint -`")
        if status.st_size > MOST_BYTES:
            raise _too_big(str(path))
        try:
            return _text(stream.read(MOST_BYTES + 1), str(path))
        except OSError as error:
            raise unreadable(path, error) from error


def read_stream(stream: BinaryIO, name: str = "stdin") -> str:
    """The text of a stream, to its end."""
    try:
        return _text(stream.read(MOST_BYTES + 1), name)
    except OSError as error:
        raise CannotObserve(f"{name}: cannot be read ({error.strerror}): give files instead") from error


def unreadable(path: Path, error: OSError) -> Refused | CannotObserve:
    """Why a path cannot be read: a wrong name is the person's, everything else the machine's."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        if path.is_symlink():
            return CannotObserve(f"{path}: a link to {path.readlink()}, which is not there: mend or remove the link")
        return Refused(f"{path}: no such file or directory: check the path")
    if isinstance(error, PermissionError):
        return CannotObserve(f"{path}: no permission to read it: change its mode, or run as its owner")
    return CannotObserve(f"{path}: cannot be read ({(error.strerror or str(error)).lower()}): check the path")


def walk(root: Path, enter: Callable[[Path, list[str]], bool]) -> Iterator[Path]:
    """Manifest files below a directory, in the order of their names; hidden files and directories are left out.

    `enter` is asked at each directory, with the names in it, whether its files are wanted. Links are followed; a
    directory is visited once, however many links lead to it. Raises CannotObserve for one that cannot be listed.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        try:
            status = directory.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            names = sorted(each.name for each in directory.iterdir())
        except OSError as error:
            raise unreadable(directory, error) from error
        names = [name for name in names if not name.startswith(".")]
        wanted = enter(directory, names)
        below = []
        for path in (directory / name for name in names):
            if path.is_dir():
                below.append(path)
            elif wanted and path.suffix.lower() in SUFFIXES and (path.is_file() or path.is_symlink()):
                yield path
        waiting += reversed(below)


def innermost(said: str) -> str:
    """An error that was wrapped again and again, in a line: where it began, and the innermost, which comes last."""
    return said if len(said) <= 300 else f"{said[:60]} ... {said[-230:]}"


def _text(data: bytes, name: str) -> str:
    if len(data) > MOST_BYTES:
        raise _too_big(name)
    for mark, encoding in ENCODINGS.items():
        if data.startswith(mark):
            raise Refused(f"{name}: {encoding}, which kubectl does not read: save it as UTF-8")
    zero = data.find(0)
    if zero >= 0:
        raise Refused(f"{name}:{_line(data, zero)}: a zero byte: it is no text; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(f"{name}:{_line(data, error.start)}: not UTF-8: save it as UTF-8") from error


def _line(data: bytes, place: int) -> int:
    return data.count(b"\n", 0, place) + 1


def _too_big(name: str) -> Refused:
    return Refused(
        f"{name}: over {MOST_BYTES >> 20} MiB, which is no set of manifests: split it, or name the right file"
    )
