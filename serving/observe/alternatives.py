"""Which charts and kustomizations can stand in one cluster together, and which are alternatives of each other.

Overlays of one base make the same objects, so only one of them is applied. Decides it by nothing but what each makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from serving.facts.kube.manifests import Document

SHOWN: Final = 4
Clashes = Mapping[str, Mapping[str, str]]  # maker -> other maker -> an object that both make


def clashes(made: Mapping[str, Sequence[Document]]) -> Clashes:
    """Who makes an object that another makes, too."""
    makers: dict[tuple[str, str, str, str], dict[str, None]] = {}
    found: dict[str, dict[str, str]] = {maker: {} for maker in made}
    for maker, documents in made.items():
        for each in documents:
            others = makers.setdefault((each.group, each.kind, each.namespace, each.name), {})
            for other in others:
                if other != maker:
                    found[maker].setdefault(other, each.id)
                    found[other].setdefault(maker, each.id)
            others[maker] = None
    return found


def compatible(clashing: Clashes) -> list[list[str]]:
    """Few sets of makers without a clash, each as large as can be, with every maker in at least one of them.

    >>> compatible({"dev": {"prod": "Pod/a"}, "prod": {"dev": "Pod/a"}, "pool": {}})
    [['dev', 'pool'], ['prod', 'pool']]
    """
    found: list[list[str]] = []
    waiting = list(clashing)
    while waiting:
        chosen: set[str] = set()
        for maker in (*waiting, *clashing):
            if chosen.isdisjoint(clashing[maker]):
                chosen.add(maker)
        found.append([maker for maker in clashing if maker in chosen])
        waiting = [maker for maker in waiting if maker not in chosen]
    return found


def notes(clashing: Clashes) -> Iterator[str]:
    """Each group of alternatives, in a line."""
    told: set[str] = set()
    for maker, others in clashing.items():
        if others and maker not in told:
            group = [maker]
            for each in group:  # grows as it goes
                group += [other for other in clashing[each] if other not in group]
            told.update(group)
            more = f" and {len(group) - SHOWN} more" if len(group) > SHOWN else ""
            what = next(iter(others.values()))
            yield f"alternatives, judged apart: {', '.join(group[:SHOWN])}{more} (more than one makes {what})"
