"""How far two sides of a comparison differ, and how sure that is: a bootstrap over blocks of time. Pure, seeded.

Requests that ran at the same time fared alike, so whole blocks are drawn again and not single requests. Two sides that
ran at once are drawn together (`paired`), which takes what both suffered out of the difference.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.facts.columns import Counts, Floats
from serving.facts.measured import Measured

DRAWS: Final = 2000
MOST_STEPS: Final = 65_536  # places on the curve of a distribution; beyond, samples stand in groups of equal size


def blocks_of(scheduled_s: Floats, edges: Floats) -> Counts:
    """The block of time that each request is in, by the inner edges between blocks."""
    return np.searchsorted(edges, scheduled_s, side="right").astype(np.int64)


def edges_of(scheduled_s: Floats, blocks: int) -> Floats:
    """The inner edges that cut these requests into so many blocks of about as many each."""
    ordered = np.sort(scheduled_s)
    places = np.arange(1, blocks) * ordered.size // blocks
    return np.asarray(ordered[places], dtype=np.float64)


def draws(blocks: int, seed: int, count: int = DRAWS) -> Floats:
    """How often each block is in each draw with replacement: one row a draw."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=count).astype(np.float64)


def drawn_quantiles(found: Measured, block: Counts, blocks: int, qs: tuple[float, ...], drawn: Floats) -> Floats:
    """The quantiles of each draw, one row a draw, NaN where a draw holds no sample. `block` is each request's."""
    values, upto = _curve(found, block if found.owners is None else block[found.owners], blocks)
    result = np.full((len(drawn), len(qs)), np.nan)
    if not values.size:
        return result
    total = drawn @ upto[:, -1]
    for column, q in enumerate(qs):
        wanted = np.ceil(q * total - 1e-9)
        low, high = np.zeros(len(drawn), dtype=np.int64), np.full(len(drawn), values.size - 1)
        while (low < high).any():  # every draw halves its own stretch of the curve
            middle = (low + high) // 2
            reached = np.einsum("db,bd->d", drawn, upto[:, middle]) >= wanted
            low, high = np.where(reached, low, middle + 1), np.where(reached, middle, high)
        result[:, column] = np.where(total > 0, values[high], np.nan)
    return result


def drawn_shares(hits: NDArray[np.bool_], block: Counts, blocks: int, drawn: Floats) -> Floats:
    """The share of hits in each draw, NaN where a draw holds no request."""
    good = drawn @ np.bincount(block, hits.astype(np.float64), minlength=blocks)
    every = drawn @ np.bincount(block, minlength=blocks)
    shares: Floats = np.divide(good, every, out=np.full(len(drawn), np.nan), where=every > 0)
    return shares


def bounds(values: Floats, confidence: float) -> tuple[float, float]:
    """Bounds of the drawn values, each with this confidence. What is not a number may be anything.

    None where so much confidence leaves less than one draw outside.
    """
    low = np.sort(np.where(np.isnan(values), -np.inf, values))
    high = np.sort(np.where(np.isnan(values), np.inf, values))
    place = int((1 - confidence) * values.size + 1e-9)
    if not place:
        return -math.inf, math.inf
    return float(low[place]), float(high[values.size - 1 - place])


def _curve(found: Measured, block: Counts, blocks: int) -> tuple[Floats, Floats]:
    """The distribution as ascending values, and how many samples each block has up to each of them."""
    if not found.values.size:
        return found.values, np.zeros((blocks, 0))
    order = np.argsort(found.values, kind="stable")
    values, block = found.values[order], block[order]
    weights = None if found.weights is None else found.weights[order].astype(np.float64)
    step = np.arange(values.size) * min(values.size, MOST_STEPS) // values.size
    steps = int(step[-1]) + 1
    last = np.searchsorted(step, np.arange(steps), side="right") - 1  # a group is as slow as its slowest
    counts = np.bincount(block * steps + step, weights, minlength=blocks * steps)
    return values[last], np.cumsum(counts.reshape(blocks, steps), axis=1, dtype=np.float64)
