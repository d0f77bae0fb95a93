"""Durations and sizes in words, so that every judge's findings read alike. Pure."""

from __future__ import annotations

from typing import Final

MIB: Final = 1024 * 1024


def duration(seconds: float) -> str:
    """Seconds in words.

    >>> duration(0.123), duration(34.2), duration(725)
    ('123 ms', '34 s', '12 min 5 s')
    """
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def mib(size: float) -> str:
    """Bytes in MiB.

    >>> mib(1536 * 1024 * 1024)
    '1,536 MiB'
    """
    return f"{size / MIB:,.0f} MiB"


def excerpt(text: str, limit: int = 60) -> str:
    """The beginning of a text on one line, quoted; control characters appear as escapes.

    >>> excerpt("The capital\\nof France", limit=15)
    "'The capital of…'"
    """
    line = " ".join(text.split())
    return repr(line if len(line) <= limit else line[: limit - 1].rstrip() + "…")
