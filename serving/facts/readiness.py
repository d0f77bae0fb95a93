"""The facts of one verification: what the agent, the gateway and the model answered. No I/O, no opinions.

`verify` gathers them through observe.endpoint, judge.readiness concludes from them. Unseen always means that the
question never reached its addressee or was turned away at the door; a bad answer is Seen.
"""

from __future__ import annotations

from dataclasses import dataclass

from serving.facts.model import Modelz
from serving.facts.seen import Fact


@dataclass(frozen=True)
class Probe:
    """What `/readyz` answered: its HTTP status, and the state it named where it named one."""

    status: int
    state: str | None = None


@dataclass(frozen=True)
class AgentFacts:
    """One replica as its own agent describes it. `/readyz` is asked beside `/modelz`, because probes only see that."""

    modelz: Fact[Modelz]
    readyz: Fact[Probe]


@dataclass(frozen=True)
class Listing:
    """What `GET /v1/models` answered through the base URL; `detail` is the body's first words when it is not 200."""

    status: int
    names: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True)
class Host:
    """One upstream host as Envoy sees it; `flags` are the reasons why it gets no traffic, in Envoy's words."""

    cluster: str
    address: str
    flags: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Envoy sends it traffic."""
        return not self.flags


@dataclass(frozen=True)
class Trial:
    """One streamed generation. `problem` says why it is not a good answer, in a few words; None when it is one.

    `ttft_ms` runs from sending the request to the first chunk that carries tokens; None when none came. `elapsed_ms`
    runs to the end. `cut_off` marks a request that ended only because the verification's own time was up.
    """

    route: str
    status: int | None
    elapsed_ms: float
    ttft_ms: float | None = None
    text: str = ""
    finish_reason: str | None = None
    tokens: int | None = None
    problem: str | None = None
    cut_off: bool = False


@dataclass(frozen=True)
class ReadinessFacts:
    """Everything that one verification saw. `gateway` is None when no gateway's admin interface was named.

    `latency` holds one entry for each request that was sent, in order, whatever became of it.
    """

    base_url: str
    agent: AgentFacts
    listing: Fact[Listing]
    gateway: Fact[tuple[Host, ...]] | None
    latency: tuple[Fact[Trial], ...]
    prediction: Fact[Trial]
