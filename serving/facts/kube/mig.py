"""Names of MIG profiles: which GPU has which, and how the device plugin spells them as resources.

A table, and nothing but a table. Sources: NVIDIA's MIG user guide and the GPU Operator's default configuration. The
plugin advertises whole GPU instances only, writes `+` as a dot (`1g.10gb+me` is `mig-1g.10gb.me`), and appends
`.shared` to what it time-slices under another name. Drivers differ in a few names; those of all of them are here.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final

PREFIX: Final = "nvidia.com/mig-"
PROFILES: Final[Mapping[str, tuple[str, ...]]] = {
    "A30": ("1g.6gb", "1g.6gb.me", "2g.12gb", "2g.12gb.me", "4g.24gb"),
    "A100 40GB": ("1g.5gb", "1g.5gb.me", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"),
    "A100 80GB": ("1g.10gb", "1g.10gb.me", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"),
    "H100 80GB": ("1g.10gb", "1g.10gb.me", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"),
    "H100 94GB": ("1g.12gb", "1g.12gb.me", "1g.24gb", "2g.24gb", "3g.47gb", "4g.47gb", "7g.94gb"),
    "H100 96GB": ("1g.12gb", "1g.12gb.me", "1g.24gb", "2g.24gb", "3g.48gb", "4g.48gb", "7g.96gb"),
    "H20": ("1g.12gb", "1g.12gb.me", "1g.24gb", "2g.24gb", "3g.48gb", "4g.48gb", "7g.96gb"),
    "H200": ("1g.18gb", "1g.18gb.me", "1g.35gb", "2g.35gb", "3g.71gb", "4g.71gb", "7g.141gb"),
    "GH200 96GB": ("1g.12gb", "1g.12gb.me", "1g.24gb", "2g.24gb", "3g.48gb", "4g.48gb", "7g.96gb"),
    "GH200 144GB": ("1g.18gb", "1g.18gb.me", "1g.36gb", "2g.36gb", "3g.72gb", "4g.72gb", "7g.144gb"),
    "B200": ("1g.23gb", "1g.23gb.me", "1g.45gb", "2g.45gb", "3g.90gb", "4g.90gb", "7g.180gb"),
    "GB200": (
        *("1g.23gb", "1g.23gb.me", "1g.47gb", "2g.47gb", "3g.93gb", "4g.93gb", "7g.186gb"),
        *("1g.24gb", "1g.24gb.me", "3g.95gb", "4g.95gb", "7g.189gb"),
    ),
    "B300": ("1g.34gb", "1g.34gb.me", "1g.67gb", "2g.67gb", "3g.135gb", "4g.135gb", "7g.269gb"),
    "GB300": (
        *("1g.35gb", "1g.35gb.me", "1g.70gb", "2g.70gb", "3g.139gb", "4g.139gb", "7g.278gb"),
        *("1g.31gb", "1g.31gb.me", "3g.126gb"),
    ),
    "RTX PRO 5000": ("1g.12gb", "1g.12gb.me", "1g.12gb.gfx", "1g.12gb-me", "2g.24gb-me", "4g.48gb", "4g.48gb.gfx"),
    "RTX PRO 6000": (
        *("1g.24gb", "1g.24gb.me", "1g.24gb.gfx", "1g.24gb.me.all", "1g.24gb-me"),
        *("2g.48gb", "2g.48gb.gfx", "2g.48gb.me.all", "2g.48gb-me", "4g.96gb", "4g.96gb.gfx"),
    ),
}


def profile(resource: str) -> str | None:
    """The profile that a resource names: `1g.10gb` of `nvidia.com/mig-1g.10gb`; None for any other resource."""
    return resource.removeprefix(PREFIX).removesuffix(".shared") if resource.startswith(PREFIX) else None


def gpus_with(name: str) -> list[str]:
    """The GPUs that have a profile."""
    return [gpu for gpu, names in PROFILES.items() if name in names]


def gpus_called(product: str) -> list[str]:
    """The GPUs of the table that a node label such as `NVIDIA-H100-80GB-HBM3` may mean; none for an unknown one."""
    words = set(product.upper().replace("-", " ").split())
    named = [gpu for gpu in PROFILES if set(gpu.upper().split()) <= words]
    return named or [gpu for gpu in PROFILES if gpu.upper().split()[0] in words - {"RTX"}]


def nearest(name: str) -> str:
    """The profile that was probably meant, or the empty string."""
    known = sorted({each for names in PROFILES.values() for each in names})
    plain = name.lower().replace("+", ".")
    return next(iter(difflib.get_close_matches(plain, known, 1, 0.7)), "")
