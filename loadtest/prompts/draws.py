"""Random numbers that are a pure function of seed, number and use: no state, no order of calls."""

from __future__ import annotations

from typing import Final

MASK: Final = (1 << 64) - 1


def drawn(seed: int, number: int, use: int) -> int:
    """Sixty-four random bits (the finalizer of SplitMix64). `use` keeps draws for different things apart."""
    bits = (seed * 0x9E3779B97F4A7C15 + number * 0xD1B54A32D192ED03 + use * 0x8CB92BA72F3D8DD7 + 1) & MASK
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & MASK
    return bits ^ (bits >> 31)


def share(seed: int, number: int, use: int) -> float:
    """A random number, uniform in (0, 1)."""
    return ((drawn(seed, number, use) >> 12) + 0.5) / (1 << 52)
