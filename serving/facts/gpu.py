"""What can be said about GPUs beyond their figures: the one reason for not seeing any that means there are none.

`observe.gpu` writes it, the agent passes it on as `gpus_unseen`, and judges read it as "not applicable". Every other
reason means that nobody could look.
"""

from __future__ import annotations

from typing import Final

NO_DRIVER: Final = "no NVIDIA driver on this host"


def none_here(unseen: str | None) -> bool:
    """Whether this reason says that the host has no GPU, rather than that its GPUs could not be read.

    >>> none_here("no NVIDIA driver on this host (no /dev/nvidia*)"), none_here("GPU 0 is lost"), none_here(None)
    (True, False, False)
    """
    return unseen is not None and unseen.startswith(NO_DRIVER)
