"""One look at one source: a vLLM server, an agent, a dcgm-exporter, NVML. Runs in the sampler's process only.

A look returns readings, or raises CannotObserve with one line that says why there are none. It judges nothing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

import httpx

from loadtest.telemetry.exposition import VLLM, dcgm_values, vllm_values
from loadtest.telemetry.options import Ask
from serving.errors import CannotObserve
from serving.facts.model import GpuMemory
from serving.facts.seen import Unseen
from serving.observe.endpoint import Target, observe_agent
from serving.observe.gpu import Nvml
from serving.observe.http import Reply, get, turned_away

MIB: Final = 1024 * 1024
KEPT_ALIVE_S: Final = 2.0  # servers close a connection that was idle for a few seconds, perhaps just as we use it
T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """Figures of a source, or of one device of it; `state` is what the source says of itself, in words."""

    values: dict[str, float]
    device: str = ""
    state: str | None = None


class Look(Protocol):
    """Asks one source, within `bound_s` seconds or little more. Raises CannotObserve."""

    async def __call__(self, bound_s: float, /) -> list[Reading]:
        """Look now."""


def look_at(ask: Ask, client: httpx.AsyncClient, ca_cert: Path | None) -> Look:
    """How to look at this source."""
    headers = {"Connection": "close"} if ask.every_s >= KEPT_ALIVE_S else {}
    if ask.reader == "vllm":
        return _Vllm(client, ask.url, headers)
    if ask.reader == "dcgm":
        return _Dcgm(client, ask, headers)
    if ask.reader == "modelz":
        return _Agent(Target(admin=ask.url, base_url=ask.url, ca_cert=ca_cert))
    return _Gpus()


class _Vllm:
    """Asks for the series that are needed and no others: building all of them costs a busy server tens of ms."""

    def __init__(self, client: httpx.AsyncClient, url: str, headers: dict[str, str]) -> None:
        self._client, self._headers = client, headers
        some = f"{url}/metrics/?" + "&".join(f"name[]={name}" for name in VLLM)
        self._urls = [some, f"{url}/metrics"]  # a server in front of vLLM may know only the second

    async def __call__(self, bound_s: float, /) -> list[Reading]:
        problem = CannotObserve("no series of vLLM there: is this the engine's own port?")
        for url in self._urls:
            reply = await get(self._client, url, bound_s=bound_s, headers=self._headers)
            if isinstance(reply, Unseen):
                raise CannotObserve(reply.why)  # nobody answers there: another path would not help
            try:
                values = vllm_values(_text(reply))
            except CannotObserve as error:
                problem = error
                continue
            if values:
                self._urls = [url]
                return [Reading(values)]
        raise problem


class _Dcgm:
    def __init__(self, client: httpx.AsyncClient, ask: Ask, headers: dict[str, str]) -> None:
        self._client, self._ask, self._headers = client, ask, headers

    async def __call__(self, bound_s: float, /) -> list[Reading]:
        reply = await get(self._client, f"{self._ask.url}/metrics", bound_s=bound_s, headers=self._headers)
        devices = dcgm_values(_text(reply), self._ask.labels)
        if not devices:
            wanted = ", ".join(f"{key}={value}" for key, value in self._ask.labels.items())
            raise CannotObserve(f"no GPU there{f' with {wanted}' if wanted else ''}: is this a dcgm-exporter?")
        return [Reading(values, device) for device, values in sorted(devices.items())]


class _Agent:
    def __init__(self, target: Target) -> None:
        self._target = target

    async def __call__(self, bound_s: float, /) -> list[Reading]:
        try:
            async with asyncio.timeout(bound_s):
                modelz = (await observe_agent(self._target, bound_s=bound_s)).modelz
        except TimeoutError:
            raise CannotObserve(f"no answer within {bound_s:.3g} s") from None
        if isinstance(modelz, Unseen):
            raise CannotObserve(modelz.why)
        model = modelz.value
        values = {"agent_ready": float(model.ready), "agent_uptime_s": model.uptime_s}
        if model.engine.resident_bytes is not None:
            values["agent_resident_mib"] = model.engine.resident_bytes / MIB
        if model.heartbeat is not None and model.heartbeat.idle_s is not None:
            values["agent_idle_s"] = model.heartbeat.idle_s
        if model.kv_cache is not None:
            values["agent_kv_tokens"] = float(model.kv_cache.tokens)
        state = " ".join(f"{model.state.value}: {model.reason}".split())[:200]
        return [Reading(values, state=state), *map(_gpu, model.gpus or ())]


class _Gpus:
    """NVML may block for as long as the driver does, so it is asked in a thread that nobody waits for."""

    def __init__(self) -> None:
        self._nvml = Nvml()
        self._asked: asyncio.Future[list[Reading]] | None = None

    async def __call__(self, bound_s: float, /) -> list[Reading]:
        if self._asked is None or self._asked.done():
            self._asked = _in_thread(self._read)
        try:
            return await asyncio.wait_for(asyncio.shield(self._asked), bound_s)
        except TimeoutError:
            raise CannotObserve(f"the NVIDIA driver did not answer within {bound_s:.3g} s") from None

    def _read(self) -> list[Reading]:
        fact = self._nvml.read()
        if isinstance(fact, Unseen):
            raise CannotObserve(fact.why)
        if not fact.value:
            raise CannotObserve("the NVIDIA driver shows no GPU")
        return [_gpu(gpu) for gpu in fact.value]


def _gpu(gpu: GpuMemory) -> Reading:
    return Reading({"gpu_used_mib": gpu.used_bytes / MIB, "gpu_free_mib": gpu.free_bytes / MIB}, gpu.uuid)


def _text(reply: Reply | Unseen) -> str:
    if isinstance(reply, Unseen):
        raise CannotObserve(reply.why)
    if reply.status != 200:
        raise CannotObserve(turned_away(reply) or f"HTTP {reply.status}")
    return reply.body.decode("utf-8", "replace")


def _in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """The result of work that may never end, in a thread that ends with the process."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as caught:  # noqa: BLE001 - raised again where it is awaited
            error = caught
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, daemon=True, name="nvml").start()
    return future
