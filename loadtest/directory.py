"""Makes the directory of a report: the one that was named, or a new one that the link reports/latest then names."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from serving.errors import CannotAct, Refused


def new_directory(out: Path | None) -> Path:
    """Make the report's directory: `out`, or a new one under reports/ that the link reports/latest then names."""
    named = out is not None
    path = out if out is not None else Path("reports") / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    try:
        if named:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path = _fresh(path)
        if (path / "ledger.jsonl").exists():
            raise Refused(f"{path} already holds a report: give another --out")
        if not named:
            _point(path.parent / "latest", path.name)
    except OSError as error:
        raise CannotAct(f"cannot write {path}: {error.strerror}: give another --out") from error
    return path


def _fresh(path: Path) -> Path:
    """Make this directory, or one with a number after it where two runs began in one second."""
    for number in range(1, 100):
        candidate = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            candidate.mkdir(parents=True)
        except FileExistsError:
            continue
        return candidate
    raise CannotAct(f"{path} and its like exist already: give --out")


def _point(link: Path, name: str) -> None:
    """Let the link name the newest report, at once: never is there none. What is not a link is left alone."""
    if link.exists() and not link.is_symlink():
        return
    new = link.with_name(f".latest-{name}")
    new.symlink_to(name)
    new.replace(link)
