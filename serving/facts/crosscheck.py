"""The client's TTFT against the server's own: what lies between them is the network's and the gateway's share. Pure.

vLLM counts from a request's arrival in its front end to its first token; the client from the first byte sent to the
first token received. Both means are taken between the same two looks at the server, so over the same requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from serving.facts.series import Series, increase
from serving.facts.telemetry import Telemetry
from serving.facts.traffic import RequestSeen

SECONDS: Final = "server_ttft_s"
COUNT: Final = "server_ttft_count"
STRAY_REQUESTS: Final = 2  # so many may fall on the other side of a look
STRAY_SHARE: Final = 0.05


@dataclass(frozen=True)
class CrossCheck:
    """Both means in milliseconds, and how many requests each is of. `why` says why they may not be compared."""

    client_ms: float | None = None
    server_ms: float | None = None
    client_requests: int = 0
    server_requests: int = 0
    why: str = ""

    @property
    def network_ms(self) -> float | None:
        """What the client saw and the server did not, in milliseconds; None where they may not be compared."""
        if self.why or self.client_ms is None or self.server_ms is None:
            return None
        return self.client_ms - self.server_ms


def cross_check(
    requests: Sequence[RequestSeen], telemetry: Telemetry, spans: Sequence[tuple[float, float]]
) -> CrossCheck:
    """Compare the mean ttft_wire of all a run's requests with the servers' own, over what counts of the run."""
    engines = telemetry.givers(COUNT)
    if not engines:
        return CrossCheck(why="no engine was sampled")
    if not spans:
        return CrossCheck(why="no part of the run counts")
    start_s, end_s = min(start for start, _ in spans), max(end for _, end in spans)
    looks: list[float] = []
    seconds = count = 0.0
    for engine in engines:
        parts = [
            telemetry.series.get((engine.name, metric), Series((), ())).around(start_s, end_s)
            for metric in (SECONDS, COUNT)
        ]
        rises = [increase(part) for part in parts]
        if rises[0] is None or rises[1] is None:
            return CrossCheck(why=f"{engine.name} was not seen from end to end of what counts, or restarted")
        seconds, count = seconds + rises[0], count + rises[1]
        looks += (parts[1].at_s[0], parts[1].at_s[-1])
    waits = [
        request.first_s - request.sent_s
        for request in requests
        if request.first_s is not None and request.sent_s is not None and min(looks) < request.first_s <= max(looks)
    ]
    found = CrossCheck(
        client_ms=1e3 * sum(waits) / len(waits) if waits else None,
        server_ms=1e3 * seconds / count if count else None,
        client_requests=len(waits),
        server_requests=round(count),
    )
    strays = abs(found.client_requests - found.server_requests)
    if not waits or not count or strays > max(STRAY_REQUESTS, STRAY_SHARE * len(waits)):
        why = f"the client got {found.client_requests} first tokens and the servers gave {found.server_requests}"
        return CrossCheck(
            found.client_ms, found.server_ms, len(waits), round(count), f"{why}: not all of them were sampled, or alone"
        )
    return found
