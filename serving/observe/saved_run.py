"""Reads a load run that was saved: the ledger of a report directory, and the profile that its report tells of.

Read-only. Raises CannotObserve with one line for what is not there, not whole, or not a load test's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from serving.errors import CannotObserve
from serving.facts.saved_run import SavedRun
from serving.facts.traffic import read_ledger

LEDGER: Final = "ledger.jsonl"
REPORT: Final = "report.json"
GIVE: Final = "give the report directory of a load test, or its ledger.jsonl"


def read_saved_run(path: Path) -> SavedRun:
    """The run in this report directory, or of this ledger."""
    ledger = path / LEDGER if path.is_dir() else path
    try:
        with ledger.open(encoding="utf-8") as lines:
            traffic = read_ledger(lines, str(ledger))
    except OSError as error:
        raise CannotObserve(f"{ledger}: {error.strerror}: {GIVE}") from error
    except UnicodeDecodeError as error:
        raise CannotObserve(f"{ledger}: not UTF-8: {GIVE}") from error
    return SavedRun(str(path), traffic, _profile(ledger.with_name(REPORT)))


def _profile(report: Path) -> dict[str, Any] | None:
    """What the report beside a ledger says of its profile. A ledger may stand alone; half a report may not."""
    try:
        text = report.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise CannotObserve(f"{report}: {said}: repair it, or give the ledger in a directory of its own") from error
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    profile = body.get("profile") if isinstance(body, dict) else None
    if not isinstance(profile, dict):
        raise CannotObserve(f"{report}: not a load test's: repair it, or give the ledger in a directory of its own")
    return profile
