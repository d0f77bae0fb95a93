"""A load run as it was saved: its ledger, and what its report tells of the profile. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serving.facts.traffic import Traffic


@dataclass(frozen=True)
class SavedRun:
    """`name` is where it was found, `profile` what report.json beside the ledger holds of it (None: no report)."""

    name: str
    traffic: Traffic
    profile: dict[str, Any] | None = None
