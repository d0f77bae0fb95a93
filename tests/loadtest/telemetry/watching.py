"""Runs a sampler in a test, and looks at what it and its process do."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtest.telemetry import SAMPLES_FILE, Sampler, open_telemetry
from loadtest.telemetry.options import Ask
from serving.facts.telemetry import Telemetry

FAST_S = 0.2


def engine(url: str, name: str = "engine-0", tentative: bool = False) -> Ask:
    return Ask(name, "vllm", url, FAST_S, tentative=tentative)


def eventually(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    give_up = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < give_up, "it did not come about in time"
        time.sleep(0.05)


def state(pid: int) -> str:
    """The kernel's letter for a process: R and S run, T is stopped, Z has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def alive(pid: int) -> bool:
    return state(pid) != "Z"


def samples(directory: Path, name: str, metric: str) -> tuple[float, ...]:
    try:
        series = open_telemetry(directory).series.get((name, metric))
    except Exception:  # noqa: BLE001 - the head is not yet there
        return ()
    return series.values if series else ()


@contextmanager
def sampling(directory: Path, *asks: Ask) -> Iterator[Sampler]:
    with Sampler(asks, directory / SAMPLES_FILE) as sampler:
        sampler.start(time.perf_counter_ns())
        yield sampler


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def sampled(directory: Path, *asks: Ask, at_least: int = 4) -> Telemetry:
    """What a short run shows in which the first source was seen so often."""
    with sampling(directory, *asks) as sampler:
        eventually(lambda: row_count(directory, asks[0].name) >= at_least)
        assert sampler.stop() is None
    return open_telemetry(directory)


def whys(seen: Telemetry, name: str) -> set[str]:
    """Why a source was missed, save for the ticks that were lost because this machine was busy."""
    busy = ("the sampler got no processor time", "the look before took")
    return {why for _, why in seen.missed.get(name, ()) if not why.startswith(busy)}


def row_count(directory: Path, name: str) -> int:
    path = directory / SAMPLES_FILE
    return path.read_text().count(f'"source":"{name}') if path.exists() else 0
