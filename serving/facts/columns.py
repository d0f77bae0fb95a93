"""The records of a run as columns, so that a million requests and all their gaps are judged by array arithmetic.

It reads records into arrays and decides nothing. NaN is "not seen".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.facts.traffic import RequestSeen

Floats = NDArray[np.float64]
Counts = NDArray[np.signedinteger[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Columns:
    """One row per request, in the order given; read each column once, when it is first asked for."""

    requests: Sequence[RequestSeen]

    def __len__(self) -> int:
        return len(self.requests)

    def where(self, mask: Mask) -> Columns:
        """The rows for which `mask` holds."""
        return Columns([request for request, kept in zip(self.requests, mask.tolist(), strict=True) if kept])

    @cached_property
    def ok(self) -> Mask:
        """Whether it ended well, with every time that an answer has."""
        ended = np.fromiter((request.ok for request in self.requests), np.bool_, len(self))
        whole: Mask = ended & ~np.isnan(self.sent_s) & ~np.isnan(self.first_s) & ~np.isnan(self.end_s)
        return whole

    @cached_property
    def scheduled_s(self) -> Floats:
        """When it was due."""
        return self._numbers("scheduled_s")

    @cached_property
    def sent_s(self) -> Floats:
        """Just before its first byte was written."""
        return self._numbers("sent_s")

    @cached_property
    def left_s(self) -> Floats:
        """When the harness let it go: `sent_s` without the time that its connection took, which is the server's."""
        return self.sent_s - self._numbers("connect_s")

    @cached_property
    def headers_s(self) -> Floats:
        """Arrival of the response's headers."""
        return self._numbers("headers_s")

    @cached_property
    def first_s(self) -> Floats:
        """Arrival of the first chunk that carried tokens."""
        return self._numbers("first_s")

    @cached_property
    def content_s(self) -> Floats:
        """Arrival of the first content that is not reasoning."""
        return self._numbers("content_s")

    @cached_property
    def end_s(self) -> Floats:
        """Arrival of the end."""
        return self._numbers("end_s")

    @cached_property
    def prompt_tokens(self) -> Floats:
        """Tokens of the prompt, as the server counted them."""
        return self._numbers("prompt_tokens")

    @cached_property
    def cached_tokens(self) -> Floats:
        """Tokens of the prompt that the server found in its prefix cache."""
        return self._numbers("cached_tokens")

    @cached_property
    def completion_tokens(self) -> Floats:
        """Tokens of the answer, as the server counted them."""
        return self._numbers("completion_tokens")

    @cached_property
    def gap_counts(self) -> Counts:
        """How many gaps between chunks it has."""
        return np.fromiter((len(request.gaps_ms) for request in self.requests), np.int64, len(self))

    @cached_property
    def gaps_ms(self) -> NDArray[np.float32]:
        """The gaps of every request, one request after the other."""
        return np.frombuffer(b"".join(map(attrgetter("gaps_ms"), self.requests)), dtype=np.float32)

    @cached_property
    def gap_starts(self) -> Counts:
        """Where the gaps of each begin among all."""
        return np.cumsum(self.gap_counts) - self.gap_counts

    @cached_property
    def span_ms(self) -> Floats:
        """From the first chunk to the last."""
        total = np.add.reduceat(np.append(self.gaps_ms, 0.0), self.gap_starts, dtype=np.float64)
        return np.where(self.gap_counts > 0, total, 0.0)

    @cached_property
    def longest_gap_ms(self) -> Floats:
        """The longest gap of each; NaN where there is none."""
        longest = np.maximum.reduceat(np.append(self.gaps_ms, np.float32(0)), self.gap_starts)
        return np.where(self.gap_counts > 0, longest, np.nan).astype(np.float64)

    @cached_property
    def counted(self) -> Mask:
        """Whether the tokens of each chunk are known exactly."""
        return np.fromiter((request.chunk_tokens is not None for request in self.requests), np.bool_, len(self))

    @cached_property
    def gap_tokens(self) -> Counts:
        """The tokens that each gap ended with; zero where that is not known."""
        even = [each if isinstance(each := request.chunk_tokens, int) else 0 for request in self.requests]
        tokens = np.repeat(np.array(even, dtype=np.int32), self.gap_counts)
        for row, request in enumerate(self.requests):
            if isinstance(request.chunk_tokens, tuple):
                start = self.gap_starts[row]
                tokens[start : start + self.gap_counts[row]] = request.chunk_tokens[1:]
        return tokens

    @cached_property
    def arms(self) -> NDArray[np.str_]:
        """The side of an A/B run."""
        return np.array([request.arm for request in self.requests], dtype=np.str_)

    def _numbers(self, name: str) -> Floats:
        read: Any = attrgetter(name)
        return np.array([np.nan if (value := read(request)) is None else value for request in self.requests], float)


def columns(requests: Sequence[RequestSeen] | Columns) -> Columns:
    """These records as columns; columns stay what they are."""
    return requests if isinstance(requests, Columns) else Columns(requests)
