"""What people declare of their Pods by annotation: how long a load takes, what they are for, how large their pool is.

A wrong value reads as none; whether that is a fault is for judges. What silences a rule is `judge/lint/allowances.py`.
"""

from __future__ import annotations

from typing import Final

from serving.facts.kube.pods import Workload
from serving.facts.kube.shape import as_seconds

LOAD: Final = "warmgate/load-seconds"
CLASS: Final = "warmgate/class"  # production | development | batch | experiment
POOL: Final = "warmgate/pool-gpus"


def load_seconds(workload: Workload) -> float | None:
    """The declared load time, or None where none (or no positive number) is declared."""
    return as_seconds(workload.says(LOAD) or "") or None


def for_trying(workload: Workload) -> bool:
    """Is it declared to be no production, so that a gap in service is nobody's loss?"""
    return workload.says(CLASS) == "development"
