"""Decides when requests are due: absolute seconds from the start of the run, all computed before it. Pure.

`laws` draws arrivals, `timetable` is what a dispatcher walks, `build` makes one out of a load's shape. Nothing here
sleeps, looks at a clock or opens a file, and a gap is never rescaled: a Poisson schedule has exponential gaps and a
count that varies, as the law says.
"""

from __future__ import annotations

from loadtest.schedule.build import Level, Part, Window, closed_loop, open_loop, open_requests, replay
from loadtest.schedule.laws import Law, Stretch
from loadtest.schedule.timetable import Length, Schedule

__all__ = [
    "Law",
    "Length",
    "Level",
    "Part",
    "Schedule",
    "Stretch",
    "Window",
    "closed_loop",
    "open_loop",
    "open_requests",
    "replay",
]
