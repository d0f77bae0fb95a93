"""What a finding code is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """A finding's stable name, and the question that it answers."""

    id: str
    question: str
    pass_means: str
