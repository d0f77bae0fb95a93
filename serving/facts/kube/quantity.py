"""Reads Kubernetes quantities exactly (`24Gi`, `500m`, `1e3`), and writes them for people. Decides nothing."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

FORM: Final = re.compile(r"([+-]?(?:\d{1,30}\.?\d{0,30}|\.\d{1,30}))(?:[eE]([+-]?\d{1,2})|([numkMGTPE]|[KMGTPE]i)?)")
DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


@lru_cache(maxsize=1024)
def quantity(text: str) -> Fraction | None:
    """The number that a quantity stands for, or None where it is no quantity.

    >>> quantity("500m"), quantity("2Gi"), quantity("two")
    (Fraction(1, 2), Fraction(2147483648, 1), None)
    """
    found = FORM.fullmatch(text.strip())
    if not found:
        return None
    number, exponent, suffix = found.groups()
    if suffix in BINARY:
        return Fraction(number) * (1 << BINARY[suffix])
    power = int(exponent) if exponent else DECIMAL.get(suffix or "", 0)
    return Fraction(number) * Fraction(10) ** power


def whole(text: str) -> int | None:
    """A quantity that is a whole number, such as `1`, `1000m` or `2k`; None for any other.

    >>> whole("1000m"), whole("0.5"), whole("")
    (1, None, None)
    """
    number = quantity(text)
    return int(number) if number is not None and number.denominator == 1 else None


def shown(amount: Fraction, resource: str) -> str:
    """An amount as a person would write it: memory and storage in Gi, all else as a number.

    >>> shown(Fraction(3 * 2**29), "limits.memory"), shown(Fraction(1, 2), "cpu"), shown(Fraction(2_000_000), "pods")
    ('1.5Gi', '0.5', '2000000')
    """
    if any(word in resource for word in ("memory", "storage", "hugepages")):
        return f"{float(amount / 2**30):g}Gi"
    return str(amount.numerator) if amount.denominator == 1 else f"{float(amount):g}"
