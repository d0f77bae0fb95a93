"""Looks at one endpoint for `verify`: the agent's admin port, the gateway, and the model through the base URL.

Reads and asks, nothing else; never raises for bad news: what could not be looked at is Unseen with its reason. The
admin port, the listing and the gateway are asked at once; then one prediction, then the latency samples one by one, so
that nothing of ours disturbs what is being timed.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import httpx
from pydantic import TypeAdapter, ValidationError

from serving.facts.model import SCHEMA, Modelz
from serving.facts.readiness import AgentFacts, Host, Listing, Probe, ReadinessFacts, Trial
from serving.facts.seen import Fact, Seen, Unseen
from serving.observe.gateway import read_hosts
from serving.observe.http import get, member, open_client, turned_away, unseen
from serving.observe.prediction import Asker

QUESTION: Final = "What is the capital of France?"
QUESTION_TOKENS: Final = 32
SAMPLE_TOKENS: Final = 8
READ_S: Final = 10.0
GIVE_UP_AFTER: Final = 3
_MODELZ: Final = TypeAdapter(Modelz)


class Tell(Protocol):
    """Hears what is being done, in a few words, and how far it is."""

    def __call__(self, status: str, detail: str = "", /) -> None:
        """Take the next piece of news."""


def _silence(status: str, detail: str = "", /) -> None:
    """Who asks for no progress hears none."""


@dataclass(frozen=True)
class Target:
    """Where to look: URLs without a trailing slash or `/v1`. The key goes to the base URL only, and is never shown."""

    admin: str
    base_url: str
    gateway_admin: str | None = None
    api_key: str | None = field(default=None, repr=False)
    ca_cert: Path | None = None


async def observe_readiness(
    target: Target, *, model: str | None, samples: int, timeout_s: float, tell: Tell = _silence
) -> ReadinessFacts:
    """Everything that a verification needs, within about `timeout_s` seconds. `tell` hears what is being done.

    The model asked is `model`, else the one that the agent expects, else the first one that the gateway lists.
    """
    deadline = time.monotonic() + timeout_s
    async with open_client(target.ca_cert) as client:
        tell("asking the agent and the gateway")
        bound_s = min(READ_S, timeout_s / 6)  # the agent is asked up to four times
        agent, listing, gateway = await asyncio.gather(
            _agent(client, target.admin, bound_s), _listing(client, target, bound_s), _hosts(client, target, bound_s)
        )
        name = model or _name_of(agent.modelz, listing)
        if name is None:
            why = f": {listing.why}" if isinstance(listing, Unseen) else ", and the base URL lists none: give --model"
            blind = unseen(f"the agent named no model to ask for{why}", target.base_url)
            return ReadinessFacts(target.base_url, agent, listing, gateway, (blind,), blind)
        asker = Asker(client, target.base_url, name, target.api_key)
        tell("asking for a prediction")
        half_s = max(0.1, (deadline - time.monotonic()) / 2)
        prediction = await asker.ask(QUESTION, max_tokens=QUESTION_TOKENS, bound_s=half_s)
        latency = await _latency(asker, samples, deadline, timeout_s / 4, tell)
        return ReadinessFacts(target.base_url, agent, listing, gateway, latency, prediction)


async def observe_agent(target: Target, *, bound_s: float = READ_S) -> AgentFacts:
    """The agent alone: what a wait polls."""
    async with open_client(target.ca_cert) as client:
        return await _agent(client, target.admin, bound_s)


async def _agent(client: httpx.AsyncClient, admin: str, bound_s: float) -> AgentFacts:
    """`/modelz`, then `/readyz`; once more where they disagree, for a state may change between two requests."""
    facts = AgentFacts(await _modelz(client, admin, bound_s), await _readyz(client, admin, bound_s))
    match facts:
        case AgentFacts(Seen(modelz), Seen(readyz)) if modelz.ready != (readyz.status == 200):
            return AgentFacts(await _modelz(client, admin, bound_s), await _readyz(client, admin, bound_s))
    return facts


async def _modelz(client: httpx.AsyncClient, admin: str, bound_s: float) -> Fact[Modelz]:
    url = f"{admin}/modelz"
    reply = await get(client, url, bound_s=bound_s)
    if isinstance(reply, Unseen):
        return reply
    if away := turned_away(reply):
        return unseen(away, url)
    if reply.status != 200:
        return unseen(f"HTTP {reply.status} instead of the agent's state: is this the agent's admin port?", url)
    try:
        return Seen(_MODELZ.validate_json(reply.body), url, time.time())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field_name = ".".join(str(part) for part in first["loc"])
        return unseen(f"not a {SCHEMA} document ({field_name or 'body'}: {first['msg']}): is this the agent?", url)


async def _readyz(client: httpx.AsyncClient, admin: str, bound_s: float) -> Fact[Probe]:
    url = f"{admin}/readyz"
    reply = await get(client, url, bound_s=bound_s)
    if isinstance(reply, Unseen):
        return reply
    if away := turned_away(reply):
        return unseen(away, url)
    state = member(reply.json(), "state")
    return Seen(Probe(reply.status, state if isinstance(state, str) else None), url, time.time())


async def _listing(client: httpx.AsyncClient, target: Target, bound_s: float) -> Fact[Listing]:
    url = f"{target.base_url}/v1/models"
    headers = {"Authorization": f"Bearer {target.api_key}"} if target.api_key else None
    reply = await get(client, url, bound_s=bound_s, headers=headers)
    if isinstance(reply, Unseen):
        return reply
    if away := turned_away(reply):
        return unseen(away, url)
    if reply.status != 200:
        return Seen(Listing(reply.status, detail=reply.excerpt), url, time.time())
    models = member(reply.json(), "data")
    if not isinstance(models, list):
        return unseen("HTTP 200, but no JSON list of models: is this an OpenAI-compatible base URL?", url)
    names = tuple(name for model in models if isinstance(name := member(model, "id"), str))
    return Seen(Listing(200, names), url, time.time())


async def _hosts(client: httpx.AsyncClient, target: Target, bound_s: float) -> Fact[tuple[Host, ...]] | None:
    return None if target.gateway_admin is None else await read_hosts(client, target.gateway_admin, bound_s=bound_s)


async def _latency(
    asker: Asker, samples: int, deadline: float, patience_s: float, tell: Tell
) -> tuple[Fact[Trial], ...]:
    """Up to `samples` short generations one after the other, each with its own first words: no prompt is a cached one.

    Stops at the deadline, and after three requests that never got in.
    """
    taken: list[Fact[Trial]] = []
    while len(taken) < samples and (left_s := deadline - time.monotonic()) > 0:
        tell("measuring latency", f", {len(taken) + 1} of {samples}")
        prompt = f"Sample {len(taken) + 1} of {samples}. Count to five."
        bound_s = min(left_s, patience_s)
        taken.append(await asker.ask(prompt, max_tokens=SAMPLE_TOKENS, bound_s=bound_s, cut_off=left_s < patience_s))
        if len(taken) == GIVE_UP_AFTER and all(isinstance(trial, Unseen) for trial in taken):
            break
    return tuple(taken)


def _name_of(modelz: Fact[Modelz], listing: Fact[Listing]) -> str | None:
    if isinstance(modelz, Seen):
        return modelz.value.identity.expected_name
    if isinstance(listing, Seen) and listing.value.names:
        return listing.value.names[0]
    return None
