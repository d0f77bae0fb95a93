"""Which versions made a figure: of the harness, of Python, of what the harness stands on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from serving import __version__


def versions() -> dict[str, str]:
    """Name to version, for what is installed."""
    found = {"warmgate": __version__, "python": platform.python_version(), "kernel": platform.release()}
    for name in ("gevent", "locust", "numpy", "msgspec"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
