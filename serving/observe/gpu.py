"""Reads GPU memory through NVML (the real `nvidia-ml-py`, imported on first use). The only reader of NVML.

A MIG-enabled GPU is read slice by slice and never as a whole: the parent's figures are not the Pod's. A figure that
NVML would not give makes the whole reading Unseen, for half of the GPUs is not "the GPUs". Judges nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from serving.facts.gpu import NO_DRIVER
from serving.facts.model import GpuMemory
from serving.facts.seen import Fact, Seen, Unseen

SOURCE: Final = "NVML"
MIG_ON: Final = 1


def read_gpus() -> Fact[tuple[GpuMemory, ...]]:
    """Every visible GPU or MIG slice, once. Who reads repeatedly keeps an `Nvml`."""
    with Nvml() as nvml:
        return nvml.read()


class Nvml:
    """A session with NVML: initialised at the first read, read as often as wanted, closed once.

    After an error the session is dropped and the next read starts a new one, so that a driver that comes back is seen.
    Not for two threads at once. A read may block as long as the driver does.
    """

    def __init__(self, devices: Path = Path("/dev")) -> None:
        self._devices = devices
        self._nvml: Any = None

    def read(self) -> Fact[tuple[GpuMemory, ...]]:
        """The memory of every visible GPU or MIG slice, now."""
        try:
            import pynvml
        except ImportError:
            return self._no_way("the package nvidia-ml-py is missing: install warmgate[gpu]")
        try:
            if self._nvml is None:
                pynvml.nvmlInit()
                self._nvml = pynvml
            return Seen(tuple(_devices(pynvml)), SOURCE, time.time())
        except (_CannotRead, pynvml.NVMLError) as error:
            self.close()
            if isinstance(error, _CannotRead):
                return _unseen(str(error))
            if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
                return self._no_way("libnvidia-ml.so.1 is missing: give this container the driver capability `utility`")
            return _unseen(_explain(pynvml, error))

    def close(self) -> None:
        """End the session; a later read starts another."""
        nvml, self._nvml = self._nvml, None
        if nvml is not None:
            try:
                nvml.nvmlShutdown()
            except nvml.NVMLError:  # it ended by itself
                return

    def __enter__(self) -> Nvml:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _no_way(self, why: str) -> Unseen:
        """Without a device node there is no GPU to read, and no way to it is missed."""
        if any(self._devices.glob("nvidia[0-9]*")) or (self._devices / "nvidiactl").exists():
            return _unseen(f"/dev has NVIDIA devices, but {why}")
        return _unseen(f"{NO_DRIVER} (no /dev/nvidia*)")


class _CannotRead(Exception):
    """Why one device could not be read, and which."""


def _devices(nvml: Any) -> Iterator[GpuMemory]:
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            if _mig_on(nvml, handle):
                yield from _slices(nvml, handle, index)
            else:
                yield _memory(nvml, handle, index)
        except nvml.NVMLError as error:
            raise _CannotRead(f"GPU {index}: {_explain(nvml, error)}") from error


def _mig_on(nvml: Any, handle: Any) -> bool:
    try:
        return bool(nvml.nvmlDeviceGetMigMode(handle)[0] == MIG_ON)
    except nvml.NVMLError as error:
        if error.value in (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_FUNCTION_NOT_FOUND):
            return False
        raise


def _slices(nvml: Any, parent: Any, index: int) -> Iterator[GpuMemory]:
    """The slices that are visible here. Indices have gaps, and slices of other containers are not ours to read."""
    found = False
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(parent)):
        try:
            handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(parent, number)
        except nvml.NVMLError as error:
            if error.value in (nvml.NVML_ERROR_NOT_FOUND, nvml.NVML_ERROR_NO_PERMISSION):
                continue
            raise
        found = True
        yield _memory(nvml, handle, index)
    if not found:
        raise _CannotRead(f"GPU {index}: MIG is enabled, but no slice is visible: request one (nvidia.com/mig-*)")


def _memory(nvml: Any, handle: Any, index: int) -> GpuMemory:
    """Version 2 tells `reserved` apart; drivers before 510 know only version 1, whose `used` includes it."""
    try:
        figures = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
        reserved = int(figures.reserved)
    except nvml.NVMLError as error:
        if error.value not in (
            nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
            nvml.NVML_ERROR_NOT_SUPPORTED,
            nvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        ):
            raise
        figures, reserved = nvml.nvmlDeviceGetMemoryInfo(handle), None
    return GpuMemory(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        name=_text(nvml.nvmlDeviceGetName(handle)),
        total_bytes=int(figures.total),
        used_bytes=int(figures.used),
        free_bytes=int(figures.free),
        reserved_bytes=reserved,
    )


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _explain(nvml: Any, error: Any) -> str:
    """One line for each way in which NVML refuses."""
    known = {
        nvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded: load it, or restart the driver container",
        nvml.NVML_ERROR_NO_PERMISSION: "no permission to read it: run with access to /dev/nvidia*",
        nvml.NVML_ERROR_GPU_IS_LOST: "the GPU is lost (fell off the bus): drain the node and reset the GPU",
        nvml.NVML_ERROR_RESET_REQUIRED: "the GPU needs a reset: drain the node and reset it",
        nvml.NVML_ERROR_NOT_SUPPORTED: "it has no memory figures (unified memory?)",
        nvml.NVML_ERROR_TIMEOUT: "the driver did not answer in time",
        nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "driver and library differ: restart the container or the node",
    }
    return known.get(error.value, f"NVML: {error}")


def _unseen(why: str) -> Unseen:
    return Unseen(why, SOURCE, time.time())
