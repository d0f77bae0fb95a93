"""What /proc tells of a process tree. Reads only; a process that ends while it is read is simply not there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Process:
    """One process: pid, parent, name as the kernel knows it (15 bytes), state letter, resident memory in bytes."""

    pid: int
    parent: int
    name: str
    state: str
    resident_bytes: int


def read_process(pid: int) -> Process | None:
    """One process, or None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    head, _, tail = stat.rpartition(")")  # the name may itself hold spaces and brackets
    fields = tail.split()
    return Process(pid, int(fields[1]), head.partition("(")[2], fields[0], int(fields[21]) * _PAGE)


def descendants(root: int) -> list[Process]:
    """The living tree below `root`, itself included, zombies excluded."""
    table = [read_process(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    children: dict[int, list[Process]] = {}
    found = [process for process in table if process is not None]
    for process in found:
        children.setdefault(process.parent, []).append(process)
    tree, queue = [], [process for process in found if process.pid == root]
    while queue:
        process = queue.pop()
        tree.append(process)
        queue.extend(children.get(process.pid, []))
    return [process for process in tree if process.state != "Z"]


def title(pid: int) -> str:
    """The title that a process gave itself (its command line), or an empty string when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""
