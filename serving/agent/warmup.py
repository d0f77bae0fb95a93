"""The warm-up: generations of a stated size until TTFT settles or a bound is reached. Measures; lifecycle decides.

Every prompt differs from its first word on, so no generation is answered from the prefix cache of the one before.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

from serving.agent.engine_api import EngineApi
from serving.agent.settings import Settings
from serving.errors import CannotObserve
from serving.facts.model import Warmup

WORDS: Final = (
    "apple bridge candle desert engine forest garden harbor island jungle kettle lantern meadow needle orchard "
    "pepper quarry river saddle tunnel umbrella valley window yellow zebra anchor button copper dragon eagle feather"
)


def spread_of(ttft_ms: Sequence[float], window: int) -> float | None:
    """(max - min) / median of the last `window` values; None while there are fewer.

    >>> spread_of([90.0, 10.0, 11.0, 10.0], 3)
    0.1
    """
    last = ttft_ms[-window:]
    if len(last) < window:
        return None
    return round((max(last) - min(last)) / median(last), 4)


def prompt_of(seed: int, tokens: int) -> str:
    """About `tokens` tokens of common words, different from the first word on for every seed."""
    chosen, words = random.Random(seed), WORDS.split()
    return " ".join([f"{seed}", *(chosen.choice(words) for _ in range(max(tokens - 2, 1)))])


async def warm_up(api: EngineApi, settings: Settings, progress: Callable[[Warmup], None]) -> Warmup:
    """Generate until TTFT settles, or until the bound on requests or seconds is reached.

    Raises CannotObserve when a generation does not end well: an engine that cannot generate is not warm.
    """
    started = time.monotonic()
    ttft: list[float] = []
    while True:
        left = settings.warmup_timeout - (time.monotonic() - started)
        if left <= 0 and not ttft:
            raise CannotObserve(f"no generation within {settings.warmup_timeout:g} s; see --warmup-timeout")
        if left <= 0:
            return _figures(ttft, settings, started)
        prompt = prompt_of(random.getrandbits(32), settings.warmup_prompt_tokens)
        try:
            done = await api.generate(prompt, settings.warmup_output_tokens, timeout_s=left)
        except CannotObserve:
            if ttft and time.monotonic() - started >= settings.warmup_timeout:  # cut off by our bound, not by a fault
                return _figures(ttft, settings, started)
            raise
        ttft.append(done.ttft_ms)
        figures = _figures(ttft, settings, started)
        progress(figures)
        if figures.settled or len(ttft) >= settings.warmup_requests:
            return figures


def _figures(ttft_ms: Sequence[float], settings: Settings, started: float) -> Warmup:
    spread = spread_of(ttft_ms, settings.warmup_window)
    return Warmup(
        requests=len(ttft_ms),
        ttft_ms=tuple(ttft_ms),
        spread=spread,
        settled=spread is not None and spread <= settings.warmup_spread,
        seconds=round(time.monotonic() - started, 3),
    )
