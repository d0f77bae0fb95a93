"""The figures of the comparison and their table. Pure.

TTFT counts from the sending, for every tool: that is what the others report. Ours is also shown from the schedule, as
its reports and gates count it; the difference is how late it sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

AIMS: Final = {32: (0.3, 1.0), 128: (0.5, 3.0), 256: (1.0, 5.0)}  # ours: TTFT error p50, p99 in ms
LATE_MS: Final = 1.0
COLUMNS: Final = (
    ("streams", 7),
    ("tool", 14),
    ("runs", 4),
    ("truth p50/p99", 15),
    ("reported p50/p99", 16),
    ("error p50", 9),
    ("error p99", 9),
    ("TPOT error", 10),
    ("tokens", 11),
    ("CPU s", 6),
)


@dataclass(frozen=True)
class Row:
    """One run of one tool beside the server's own figures of that very run. Milliseconds."""

    tool: str
    streams: int
    repeat: int
    reported_p50: float
    reported_p99: float
    truth_p50: float
    truth_p99: float
    tpot_error: float | None
    tokens: int | None
    true_tokens: int
    server_late_p99: float
    cpu_s: float
    scheduled: tuple[float, float] | None = None

    @property
    def errors(self) -> tuple[float, float]:
        """Reported minus true TTFT, p50 and p99."""
        return self.reported_p50 - self.truth_p50, self.reported_p99 - self.truth_p99


def row_of(tool: str, streams: int, repeat: int, reported: Any, truth: dict[str, Any], cpu_s: float) -> Row:
    """Put a report beside the truth."""
    ttft, tpot = truth["ttft_ms"], truth["tpot_ms"]
    error = None if reported.tpot_mean is None else reported.tpot_mean / tpot["mean"] - 1
    return Row(
        tool=tool,
        streams=streams,
        repeat=repeat,
        reported_p50=reported.ttft_p50,
        reported_p99=reported.ttft_p99,
        truth_p50=ttft["p50"],
        truth_p99=ttft["p99"],
        tpot_error=error,
        tokens=reported.tokens,
        true_tokens=truth["tokens"],
        server_late_p99=truth["lateness_ms"]["p99"],
        cpu_s=cpu_s,
        scheduled=reported.scheduled,
    )


def table(rows: Sequence[Row], skipped: dict[str, str]) -> str:
    """The comparison: medians over repeats, our aims, and what was skipped and why."""
    lines = ["  ".join(name.ljust(width) for name, width in COLUMNS).rstrip()]
    for streams in sorted({row.streams for row in rows}):
        for tool in dict.fromkeys(row.tool for row in rows):
            same = [row for row in rows if (row.tool, row.streams) == (tool, streams)]
            if same:
                cells = _cells(same)
                lines.append("  ".join(c.ljust(w) for c, (_, w) in zip(cells, COLUMNS, strict=True)).rstrip())
                lines += _scheduled(same)
        if streams in AIMS:
            p50, p99 = AIMS[streams]
            lines.append(f"{'':7}  {'aim for ours':14}  {'':4}  {'':15}  {'':16}  {p50:+9.1f}  {p99:+9.1f}")
    lines += [f"skipped {tool}: {why}" for tool, why in skipped.items()]
    if any(row.server_late_p99 > LATE_MS for row in rows):
        worst = max(row.server_late_p99 for row in rows)
        lines.append(
            f"* the server itself sent later than {LATE_MS:g} ms at p99 in these runs (up to {worst:.1f} ms), in "
            "bursts or on a busy machine: the truth is what it did all the same"
        )
    return "\n".join(lines)


def _scheduled(same: Sequence[Row]) -> list[str]:
    """The line of a tool that also tells TTFT from its schedule, its own lateness in sending included."""
    told = [row.scheduled for row in same if row.scheduled is not None]
    if not told:
        return []
    p50, p99 = (median(pair[which] for pair in told) for which in (0, 1))
    off50 = median(pair[0] - row.truth_p50 for pair, row in zip(told, same, strict=True))
    off99 = median(pair[1] - row.truth_p99 for pair, row in zip(told, same, strict=True))
    return [f"{'':7}  {'  from schedule':37}  {f'{p50:.1f} / {p99:.1f}':16}  {off50:+9.2f}  {off99:+9.2f}"]


def _cells(same: Sequence[Row]) -> list[str]:
    """One line of the table, from the runs of one tool at one number of streams."""
    late = "*" if any(row.server_late_p99 > LATE_MS for row in same) else ""
    errors = [median(row.errors[which] for row in same) for which in (0, 1)]
    tpots = [row.tpot_error for row in same if row.tpot_error is not None]
    wrong = [row.tokens - row.true_tokens for row in same if row.tokens is not None]
    return [
        str(same[0].streams),
        same[0].tool,
        f"{len(same)}{late}",
        f"{median(row.truth_p50 for row in same):.1f} / {median(row.truth_p99 for row in same):.1f}",
        f"{median(row.reported_p50 for row in same):.1f} / {median(row.reported_p99 for row in same):.1f}",
        f"{errors[0]:+9.2f}",
        f"{errors[1]:+9.2f}",
        f"{median(tpots):+9.2%}" if tpots else "not told",
        ("exact" if not any(wrong) else f"{max(wrong, key=abs):+d}") if wrong else "not told",
        f"{median(row.cpu_s for row in same):6.2f}",
    ]
