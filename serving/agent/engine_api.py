"""What the agent asks of the engine over HTTP: health, names, counters, one generation. Translates, never decides."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

import httpx

from serving.agent.engine_args import EngineArgs
from serving.errors import CannotObserve
from serving.facts.completion import Completion, EventReader, read_chunk

HOLDING: Final = ("vllm:num_requests_running", "vllm:num_requests_waiting")
SLEEP: Final = "vllm:engine_sleep_state"
# Any change of one of these is an engine iteration. The KV cache's use moves even in steps that yield no token yet.
MOVING: Final = (
    "vllm:iteration_tokens_total_count",
    "vllm:generation_tokens_total",
    "vllm:prompt_tokens_total",
    "vllm:kv_cache_usage_perc",
)


@dataclass(frozen=True)
class Sample:
    """One look at the engine's counters, summed over its engine cores."""

    running: int
    waiting: int
    progress: tuple[float, ...]
    asleep: bool


@dataclass(frozen=True)
class Generation:
    """One finished generation: TTFT from sending to the first token-bearing chunk, in milliseconds."""

    ttft_ms: float
    tokens: int


class EngineApi:
    """The engine's HTTP side, seen from its own machine."""

    def __init__(self, engine: EngineArgs, model: str) -> None:
        self._model = model
        headers = {"Authorization": f"Bearer {engine.api_key}"} if engine.api_key else {}
        # A certificate names the outside name; on this machine's own address only the connection matters.
        self._client = httpx.AsyncClient(
            base_url=engine.url, headers=headers, timeout=5.0, verify=not engine.tls, trust_env=False
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def healthy(self) -> bool:
        """Whether /health answers 200. False for 503: the engine is dead. Raises CannotObserve when nothing answers."""
        return (await self._get("/health")).status_code == 200

    async def served_names(self) -> tuple[str, ...]:
        """The names under /v1/models."""
        answer = await self._get("/v1/models")
        try:
            return tuple(str(model["id"]) for model in answer.json()["data"])
        except (ValueError, KeyError, TypeError) as error:
            raise CannotObserve(f"/v1/models answered HTTP {answer.status_code} without a list of models") from error

    async def sample(self) -> Sample:
        """The counters that tell load, movement and sleep. Asks for those series only: 0.4 KB instead of 48 KB."""
        names = [*HOLDING, *MOVING, SLEEP]
        answer = await self._get("/metrics/", params={"name[]": names})
        if answer.status_code != 200:
            raise CannotObserve(f"/metrics answered HTTP {answer.status_code}")
        return read_metrics(answer.text)

    async def generate(self, prompt: str, max_tokens: int, timeout_s: float) -> Generation:
        """Stream one greedy completion. Raises CannotObserve when it does not end well."""
        body: dict[str, Any] = {
            "model": self._model,
            "prompt": prompt,
            "max_tokens": max_tokens,
            "min_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
        }
        events, completion, first = EventReader(), Completion(), None
        sent = time.perf_counter()
        try:
            async with self._client.stream("POST", "/v1/completions", json=body, timeout=timeout_s) as answer:
                if answer.status_code != 200:
                    text = " ".join((await answer.aread()).decode(errors="replace").split())
                    raise CannotObserve(f"/v1/completions answered HTTP {answer.status_code}: {text[:200]}")
                async for piece in answer.aiter_raw():
                    arrived = time.perf_counter()
                    for data in events.feed(piece):
                        chunk = read_chunk(data)
                        completion.add(chunk)
                        if first is None and chunk.carries_tokens:
                            first = arrived
        except httpx.HTTPError as error:
            raise CannotObserve(f"/v1/completions failed: {_plain(error)}") from error
        problem = completion.problem()
        if problem is not None or first is None:
            raise CannotObserve(f"/v1/completions {problem}")
        return Generation(round((first - sent) * 1000, 3), completion.token_chunks)

    async def _get(self, path: str, params: dict[str, list[str]] | None = None) -> httpx.Response:
        try:
            return await self._client.get(path, params=params)
        except httpx.HTTPError as error:
            raise CannotObserve(f"{path} failed: {_plain(error)}") from error


def read_metrics(text: str) -> Sample:
    """Read a Prometheus exposition for the series above; whatever else it holds is skipped."""
    sums = dict.fromkeys((*HOLDING, *MOVING), 0.0)
    asleep = False
    for line in text.splitlines():
        if not line.startswith("vllm:"):
            continue
        name, _, rest = line.partition("{")
        value = rest.rpartition(" ")[2]
        if name in sums:
            sums[name] += float(value)
        elif name == SLEEP and 'sleep_state="awake"' not in rest and float(value) > 0:
            asleep = True
    running, waiting = (int(sums[name]) for name in HOLDING)
    return Sample(running, waiting, tuple(sums[name] for name in MOVING), asleep)


def _plain(error: httpx.HTTPError) -> str:
    return " ".join(str(error).split()) or type(error).__name__
