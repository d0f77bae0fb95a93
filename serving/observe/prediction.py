"""One streamed generation through the base URL, timed where its bytes arrive. Neither a judge nor a load generator.

TTFT runs from sending the request to the first chunk that carries tokens. A model without a chat template is asked
through `/v1/completions` instead, and stays with it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from serving.facts.completion import Completion, EventReader, read_chunk
from serving.facts.readiness import Trial
from serving.facts.seen import Fact, Seen
from serving.observe.http import Reply, reason, turned_away, unseen

CHAT: Final = "/v1/chat/completions"
TEXT: Final = "/v1/completions"
ERROR_BODY_LIMIT: Final = 64 * 1024
CONNECT_S: Final = 5.0


@dataclass
class Asker:
    """Asks one model through one base URL, one question at a time."""

    client: httpx.AsyncClient
    base_url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    route: str = CHAT

    async def ask(self, prompt: str, *, max_tokens: int, bound_s: float, cut_off: bool = False) -> Fact[Trial]:
        """Stream one answer at temperature 0 within `bound_s` seconds in all.

        Unseen when the request never got in: no connection, no HTTP answer, a redirect, a refused key. A request that
        was taken and then left hanging is Seen, and has a problem. `cut_off` says that the bound is the caller's own
        lack of time, so that running into it is not held against the model.
        """
        answer = await self._stream(prompt, max_tokens, bound_s, cut_off)
        if self.route == CHAT and isinstance(answer, Seen) and _lacks_chat_template(answer.value):
            self.route = TEXT
            answer = await self._stream(prompt, max_tokens, bound_s, cut_off)
        return answer

    async def _stream(self, prompt: str, max_tokens: int, bound_s: float, cut_off: bool) -> Fact[Trial]:
        url = self.base_url + self.route
        request = self.client.stream(
            "POST",
            url,
            json=self._body(prompt, max_tokens),
            headers=self._headers(),
            timeout=httpx.Timeout(None, connect=min(CONNECT_S, bound_s * 0.9)),
        )
        answer = _Answer(self.route)
        try:
            async with asyncio.timeout(bound_s), request as response:
                answer.status = response.status_code
                if response.status_code != 200:
                    reply = Reply(response.status_code, await _start_of(response), response.headers.get("location", ""))
                    if away := turned_away(reply):
                        return unseen(away, url)
                    answer.broke = f"HTTP {reply.status}: {reply.excerpt}".rstrip(": ")
                else:
                    async for piece in response.aiter_bytes():
                        answer.take(piece)
        except TimeoutError:
            answer.broke, answer.cut_off = f"not answered in full within {bound_s:.3g} s", cut_off
        except httpx.HTTPError as error:
            if answer.status is None:
                return unseen(reason(error, url), url)
            answer.broke = "the stream broke off"
        return Seen(answer.trial(), url, time.time())

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def _body(self, prompt: str, max_tokens: int) -> dict[str, Any]:
        question = {"messages": [{"role": "user", "content": prompt}]} if self.route == CHAT else {"prompt": prompt}
        return {
            "model": self.model,
            **question,
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }


class _Answer:
    """An answer while it arrives."""

    def __init__(self, route: str) -> None:
        self.route = route
        self.status: int | None = None
        self.broke: str | None = None
        self.cut_off = False
        self._start = time.perf_counter()
        self._ttft_ms: float | None = None
        self._reader = EventReader()
        self._completion = Completion()
        self._thoughts: list[str] = []

    def take(self, piece: bytes) -> None:
        """Take bytes as they come; the stamp is taken before anything is parsed."""
        now_ms = (time.perf_counter() - self._start) * 1000
        for data in self._reader.feed(piece):
            chunk = read_chunk(data)
            if chunk.carries_tokens and self._ttft_ms is None:
                self._ttft_ms = now_ms
            if chunk.reasoning:
                self._thoughts.append(chunk.text)
            self._completion.add(chunk)

    def trial(self) -> Trial:
        """What came of it. A short budget of tokens may end within the reasoning; then that is the text."""
        completion = self._completion
        return Trial(
            route=self.route,
            status=self.status,
            elapsed_ms=(time.perf_counter() - self._start) * 1000,
            ttft_ms=self._ttft_ms,
            text=completion.text or "".join(self._thoughts),
            finish_reason=completion.finish_reason,
            tokens=completion.completion_tokens,
            problem=self.broke or completion.problem(),
            cut_off=self.cut_off,
        )


async def _start_of(response: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > ERROR_BODY_LIMIT:
            break
    return bytes(body)


def _lacks_chat_template(trial: Trial) -> bool:
    return trial.status == 400 and "chat template" in (trial.problem or "").lower()
