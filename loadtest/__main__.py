"""The harness as a process: `python -m loadtest`. Patches the sockets first, then hands over to the command line."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the harness; returns the exit code."""
    try:
        from gevent import monkey

        monkey.patch_all()
        from loadtest.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("gevent", "jinja2"):
            raise
        sys.stderr.write(f"warmgate: the load test needs the package {missing!r}: pip install 'warmgate[loadtest]'\n")
        return 3
    return run()


if __name__ == "__main__":
    sys.exit(main())
