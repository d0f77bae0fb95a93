"""After a run: did prompts have the lengths that were asked for? Pure; the true counts are each answer's usage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from serving.facts.quantiles import quantile


@dataclass(frozen=True)
class Agreement:
    """Prompt tokens asked and counted, over the requests whose length was asked and whose server said what it counted.

    `difference` is the absolute one, in tokens. `uncounted` are the requests whose server did not say.
    """

    requests: int
    uncounted: int
    asked_mean: float
    counted_mean: float
    difference_mean: float
    difference_p99: float


def agreement(pairs: Iterable[tuple[int | None, int | None]]) -> Agreement | None:
    """Compare (asked, counted) pairs; None where nothing was asked or nothing was counted.

    >>> agreement([(100, 101), (100, 99), (50, None), (None, 7)])
    Agreement(requests=2, uncounted=1, asked_mean=100.0, counted_mean=100.0, difference_mean=1.0, difference_p99=1.0)
    """
    asked = [(wanted, found) for wanted, found in pairs if wanted is not None]
    seen = [(wanted, found) for wanted, found in asked if found is not None]
    if not seen:
        return None
    differences = [float(abs(found - wanted)) for wanted, found in seen]
    return Agreement(
        requests=len(seen),
        uncounted=len(asked) - len(seen),
        asked_mean=fmean(wanted for wanted, _ in seen),
        counted_mean=fmean(found for _, found in seen),
        difference_mean=fmean(differences),
        difference_p99=quantile(differences, 0.99),
    )
