"""`make bench-agent`: what the agent costs and how quickly it answers, measured beside bare vLLM in one run.

Two engines of the same model run side by side, one under the agent, one bare; requests alternate between them in ABBA
blocks, so that the noise of the machine meets both. Prints figures with their aims; asserts nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from serving.embedded.model import prepare
from serving.embedded.progress import on_stream
from serving.facts.completion import EventReader, read_chunk
from serving.facts.quantiles import quantile
from tests.engine.process import LOAD_S, NAME, Served, agent, bare_vllm, wait_for

SATURATED_S = 25.0
IDLE_S = 30.0
BLOCKS = 8  # of ABBA: 16 blocks per engine
REQUESTS = 4  # per block
TOKENS = 48
WORDS = "apple bridge candle desert engine forest garden harbor island jungle kettle lantern meadow needle".split()  # noqa: SIM905


def prompt(rng: random.Random, words: int = 48) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def body(text: str, tokens: int) -> dict[str, object]:
    return {"model": NAME, "prompt": text, "max_tokens": tokens, "min_tokens": tokens, "temperature": 0, "stream": True}


def once(client: httpx.Client, url: str, text: str, tokens: int) -> tuple[float, float]:
    """One stream: TTFT in milliseconds, and output tokens per second after the first."""
    events, stamps = EventReader(), []
    sent = time.perf_counter()
    with client.stream("POST", f"{url}/v1/completions", json=body(text, tokens)) as answer:
        answer.raise_for_status()
        for piece in answer.iter_raw():
            now = time.perf_counter()
            stamps += [now for data in events.feed(piece) if read_chunk(data).carries_tokens]
    return (stamps[0] - sent) * 1000, (len(stamps) - 1) / (stamps[-1] - stamps[0])


def saturate(url: str, seconds: float, seed: int) -> None:
    """One closed-loop client, in a process of its own."""
    rng = random.Random(seed)
    until = time.monotonic() + seconds
    with httpx.Client(timeout=120, trust_env=False) as client:
        while time.monotonic() < until:
            client.post(f"{url}/v1/completions", json={**body(prompt(rng), 64), "stream": False})


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def line(what: str, figure: str, aim: str = "") -> None:
    print(f"{what:<58} {figure:>22}   {aim}", flush=True)


def readiness_delay(served: Served) -> float:
    """Seconds from the engine's first healthy answer to /readyz 200, without the warm-up itself; seen from outside."""

    def ok(url: str) -> Callable[[], bool]:
        return lambda: served.client.get(url).status_code == 200

    wait_for(ok(f"{served.url}/health"), LOAD_S, every_s=0.01)
    healthy = time.monotonic()
    wait_for(ok(f"{served.admin}/readyz"), LOAD_S, every_s=0.01)
    return float(time.monotonic() - healthy - served.modelz()["warmup"]["seconds"])


def probes_under_load(served: Served) -> tuple[list[float], list[float]]:
    """Milliseconds of /readyz and of vLLM's own /health in turn, each on a new connection as a kubelet's are."""
    clients = [multiprocessing.Process(target=saturate, args=(served.url, SATURATED_S + 3, seed)) for seed in range(12)]
    for client in clients:
        client.start()
    time.sleep(3)
    figures: dict[str, list[float]] = {f"{served.admin}/readyz": [], f"{served.url}/health": []}
    until = time.monotonic() + SATURATED_S
    while time.monotonic() < until:
        for url, taken in figures.items():
            began = time.perf_counter()
            with httpx.Client(timeout=30, trust_env=False) as client:
                began = time.perf_counter()
                client.get(url)
            taken.append((time.perf_counter() - began) * 1000)
            time.sleep(0.02)
    for client in clients:
        client.join(60)
    readyz, health = figures.values()
    return readyz, health


def compare(with_agent: Served, bare: Served) -> tuple[list[float], list[float], float, float]:
    """Ratios agent / bare of median TTFT and of median tokens per second: per ABBA block, and over all."""
    rng = random.Random(7)
    ttft_ratios, rate_ratios = [], []
    everything: dict[str, list[tuple[float, float]]] = {with_agent.url: [], bare.url: []}
    with httpx.Client(timeout=60, trust_env=False) as client:
        for number in range(BLOCKS):
            block: dict[str, list[tuple[float, float]]] = {with_agent.url: [], bare.url: []}
            order = [with_agent.url, bare.url, bare.url, with_agent.url]
            for url in order if number % 2 == 0 else order[1:] + order[:1]:
                block[url] += [once(client, url, prompt(rng), TOKENS) for _ in range(REQUESTS)]
            ours, theirs = (
                [statistics.median(column) for column in zip(*block[url], strict=True)]
                for url in (with_agent.url, bare.url)
            )
            ttft_ratios.append(ours[0] / theirs[0])
            rate_ratios.append(ours[1] / theirs[1])
            for url, figures in block.items():
                everything[url] += figures
            print(f"  block {number + 1} of {BLOCKS}: TTFT x {ttft_ratios[-1]:.3f}, tokens/s x {rate_ratios[-1]:.3f}")
    medians = {
        url: [statistics.median(column) for column in zip(*rows, strict=True)] for url, rows in everything.items()
    }
    ours, theirs = medians[with_agent.url], medians[bare.url]
    return ttft_ratios, rate_ratios, ours[0] / theirs[0], ours[1] / theirs[1]


def main() -> None:
    model = prepare(on_stream())
    work = Path(tempfile.mkdtemp(prefix="warmgate-bench-"))
    print(f"{os.cpu_count()} cores; logs in {work}", flush=True)
    with agent(model, work / "agent.log") as served:
        delay = readiness_delay(served)
        with bare_vllm(model, work / "vllm.log") as bare:
            wait_for(lambda: bare.client.get(f"{bare.url}/health").status_code == 200, LOAD_S)
            once(bare.client, bare.url, prompt(random.Random(1)), TOKENS)
            ttft_ratios, rate_ratios, ttft, rate = compare(served, bare)
        readyz, health = probes_under_load(served)
        time.sleep(3)
        pid, before, began = served.process.pid, cpu_seconds(served.process.pid), time.monotonic()
        time.sleep(IDLE_S)
        idle = (cpu_seconds(pid) - before) / (time.monotonic() - began)
        print()
        line("engine healthy -> /readyz 200, beyond the warm-up", f"{delay * 1000:.0f} ms", "aim <= 250 ms")
        for name, taken, aim in (("agent /readyz", readyz, "aim <= 20 ms"), ("vLLM's own /health", health, "")):
            p50, p99 = quantile(taken, 0.5), quantile(taken, 0.99)
            line(f"{name} under load, p50 / p99 of {len(taken)}", f"{p50:.1f} / {p99:.1f} ms", aim)
        line("agent's resident memory", f"{resident_mb(pid):.0f} MB", "aim <= 80 MB")
        line("agent's CPU while idle", f"{idle * 100:.2f} % of a core", "aim <= 1 %")
        for name, ratio, ratios in (("TTFT", ttft, ttft_ratios), ("tokens/s", rate, rate_ratios)):
            middle = sorted(ratios)[1:-1]
            figure = f"{ratio:.3f} ({middle[0]:.3f}..{middle[-1]:.3f})"
            line(f"{name}, agent over bare vLLM (blocks without extremes)", figure, "aim 1.00 +- 0.02")


if __name__ == "__main__":
    sys.exit(main())
