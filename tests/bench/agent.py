"""`make bench-agent`: what the agent costs and how quickly it answers, measured beside bare vLLM in one run.

Two engines of the same model stand side by side, one under the agent, one bare. Requests come in pairs, one to either,
in random order; what is not measured is frozen meanwhile (SIGSTOP), so neither burdens the other. A second comparison
is of the first engine with its agent running and with its agent frozen: the same process, which takes the luck of a
process (memory layout, cores) out of the ratio. Prints figures; asserts nothing.
"""

from __future__ import annotations

import http.client
import multiprocessing
import os
import random
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from serving.embedded.model import prepare
from serving.embedded.progress import on_stream
from serving.facts.completion import EventReader, read_chunk
from serving.facts.quantiles import quantile
from tests.engine.process import LOAD_S, NAME, Served, agent, bare_vllm, wait_for

SATURATED_S = 30.0
CLIENTS = 12
IDLE_S = 30.0
TTFT_PAIRS, TTFT_TOKENS = 200, 4
RATE_PAIRS, TOKENS = 30, 48
RESAMPLES = 2000
WORDS = "apple bridge candle desert engine forest garden harbor island jungle kettle lantern meadow needle"


def prompt(rng: random.Random, words: int = 48) -> str:
    return " ".join(rng.choice(WORDS.split()) for _ in range(words))


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


def saturate(url: str, seconds: float) -> None:
    """Closed-loop clients, threads of one process: they wait for whole answers and cost next to no CPU."""

    def client(seed: int) -> None:
        rng = random.Random(seed)
        with httpx.Client(timeout=120, trust_env=False) as http:
            while time.monotonic() < until:
                http.post(f"{url}/v1/completions", json={**body(prompt(rng), 64), "stream": False})

    until = time.monotonic() + seconds
    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


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


def probes_under_load(served: Served) -> tuple[list[float], list[float], str]:
    """Milliseconds of /readyz and of vLLM's own /health in turn, each on a new connection as a kubelet's are.

    The prober asks for a real-time priority, so that its own waiting for a core is not counted as the server's.
    """
    load = multiprocessing.Process(target=saturate, args=(served.url, SATURATED_S + 5))
    load.start()
    time.sleep(4)
    priority = "prober at real-time priority"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        priority = "prober at normal priority: its own waiting for a core is included"
    figures: dict[int, list[float]] = {served.admin_port: [], served.port: []}
    until = time.monotonic() + SATURATED_S
    while time.monotonic() < until:
        for port, path in ((served.admin_port, "/readyz"), (served.port, "/health")):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            began = time.perf_counter()
            connection.request("GET", path)
            connection.getresponse().read()
            figures[port].append((time.perf_counter() - began) * 1000)
            connection.close()
            time.sleep(0.02)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    load.join(60)
    return figures[served.admin_port], figures[served.port], priority


@contextmanager
def frozen(pids: Sequence[int]) -> Iterator[None]:
    """Stop these processes meanwhile."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


Side = tuple[str, Sequence[int]]  # URL, and what is frozen while it is asked


def compare(what: str, ours: Side, theirs: Side) -> None:
    """Print the ratios ours / theirs of TTFT and of tokens per second, from pairs of requests in random order."""
    rng = random.Random(7)
    for name, column, pairs, tokens in (("TTFT", 0, TTFT_PAIRS, TTFT_TOKENS), ("tokens/s", 1, RATE_PAIRS, TOKENS)):
        taken: list[tuple[float, float]] = []
        with httpx.Client(timeout=60, trust_env=False) as client:
            for _ in range(pairs):
                found = {}
                for side in rng.sample([ours, theirs], 2):
                    with frozen(side[1]):
                        found[id(side)] = once(client, side[0], prompt(rng), tokens)[column]
                taken.append((found[id(ours)], found[id(theirs)]))
        line(f"{name}, agent over {what} ({pairs} pairs)", ratio(taken, rng), "aim 1.00 +- 0.02")


def ratio(pairs: Sequence[tuple[float, float]], rng: random.Random) -> str:
    """The ratio of the medians, and its bootstrap interval of 95 % over the pairs."""

    def of(rows: Sequence[tuple[float, float]]) -> float:
        return statistics.median(ours for ours, _ in rows) / statistics.median(theirs for _, theirs in rows)

    again = sorted(of(rng.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES))
    return f"{of(pairs):.3f} ({quantile(again, 0.025):.3f}..{quantile(again, 0.975):.3f})"


def main() -> None:
    model = prepare(on_stream())
    work = Path(tempfile.mkdtemp(prefix="warmgate-bench-"))
    print(f"{os.cpu_count()} cores; logs in {work}", flush=True)
    with agent(model, work / "agent.log") as served:
        delay = readiness_delay(served)
        readyz, health, priority = probes_under_load(served)
        pid = served.process.pid
        time.sleep(3)
        before, began = cpu_seconds(pid), time.monotonic()
        time.sleep(IDLE_S)
        idle = (cpu_seconds(pid) - before) / (time.monotonic() - began)
        line("engine healthy -> /readyz 200, beyond the warm-up", f"{delay * 1000:.0f} ms", "aim <= 250 ms")
        for name, taken, aim in (
            ("agent /readyz", readyz, "aim p99 <= 20 ms"),
            ("vLLM's own /health", health, priority),
        ):
            p50, p99 = quantile(taken, 0.5), quantile(taken, 0.99)
            line(f"{name} under load, p50 / p99 of {len(taken)}", f"{p50:.1f} / {p99:.1f} ms", aim)
        line("agent's resident memory", f"{resident_mb(pid):.0f} MB", "aim <= 80 MB")
        line("agent's CPU while idle", f"{idle * 100:.2f} % of a core", "aim <= 1 %")
        with bare_vllm(model, work / "vllm.log") as bare:
            wait_for(lambda: bare.client.get(f"{bare.url}/health").status_code == 200, LOAD_S)
            for seed in range(12):  # both have generated the same before anything is compared
                once(bare.client, bare.url, prompt(random.Random(seed)), TOKENS)
                once(bare.client, served.url, prompt(random.Random(seed)), TOKENS)
            compare("bare vLLM", (served.url, bare.tree()), (bare.url, served.tree()))
            rest = bare.tree()
            compare("its engine with the agent frozen", (served.url, rest), (served.url, [pid, *rest]))


if __name__ == "__main__":
    main()
