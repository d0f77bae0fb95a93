"""The one exception tree. An exception means "could not look" or "could not act"; bad news is a Finding.

    WarmgateError            exit code 3
    ├── CannotObserve        the world could not be looked at (dead server, missing permission, unreadable file)
    ├── CannotAct            something that was asked for could not be done (port taken, full disk, process that died)
    └── Refused              exit code 2: the request itself is wrong (bad option, bad file, bad combination)

Each message is one line and names the remedy. Foreign exceptions are translated where they are caught, at the edge.
"""

from __future__ import annotations


class WarmgateError(Exception):
    """Root of everything that Warmgate raises on purpose."""

    exit_code = 3


class CannotObserve(WarmgateError):
    """The world could not be looked at."""


class CannotAct(WarmgateError):
    """Something that was asked for could not be done."""


class Refused(WarmgateError):
    """The request itself is wrong; nothing was started."""

    exit_code = 2
