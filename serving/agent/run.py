"""The agent's shell: feeds the lifecycle with what happens and carries out what it asks for. It decides nothing itself.

One event loop owns the admin port, the engine's processes, the sampling and the warm-up; `/readyz` is answered from
memory within the same loop, so nothing here may block it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import Any, Final

import uvicorn

from serving.agent import guard
from serving.agent.app import admin_app
from serving.agent.document import Measured, modelz
from serving.agent.engine_api import EngineApi
from serving.agent.engine_args import EngineArgs
from serving.agent.engine_log import LogReader
from serving.agent.events import (
    CoreLost,
    Effect,
    EngineExited,
    EngineReachable,
    Event,
    Exit,
    GpuSampled,
    KillEngine,
    PhaseSeen,
    ProbeAnswered,
    ProbeFailed,
    Sampled,
    SampleFailed,
    SendProbe,
    StartWarmup,
    TermEngine,
    TermRequested,
    Tick,
    WarmupFailed,
    WarmupFinished,
)
from serving.agent.lifecycle import LOADING_ORDER, SERVING, begin, step
from serving.agent.settings import Settings
from serving.agent.supervisor import Supervisor
from serving.agent.warmup import warm_up
from serving.errors import CannotAct, CannotObserve
from serving.facts.model import Modelz, Warmup
from serving.facts.seen import Seen
from serving.observe.gpu import Nvml

TICK_S: Final = 0.2
LISTENING_S: Final = 0.05  # between two looks at an engine that is about to listen
SLOW_EVERY: Final = 5  # looks at memory and /health, in samples; a local death is seen by pidfd, not by looking
PROBE_TIMEOUT_S: Final = 3600.0  # a probe is unanswered until the engine answers; the lifecycle counts the time


class AdminServer(uvicorn.Server):
    """uvicorn without its signal handling: SIGTERM is the lifecycle's business, the admin port outlives it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's handlers alone."""
        yield


class Agent:
    """One engine under one admin port, from the start to the exit code."""

    def __init__(
        self, settings: Settings, engine: EngineArgs, command: Sequence[str], environ: Mapping[str, str]
    ) -> None:
        self._settings, self._engine, self._environ = settings, engine, environ
        self._command = [*command, *engine.given, *guard.added_arguments(engine, settings)]
        self._rules = settings.rules(engine)
        self._clock = time.monotonic
        self._wall_offset = time.time() - time.monotonic()
        self._life = begin(self._clock())
        self._log = LogReader()
        self._measured = Measured()
        self._api = EngineApi(engine, self._rules.expected_name)
        self._supervisor = Supervisor(self._on_line, self._on_exit, self._on_core_lost)
        self._nvml = Nvml()
        self._tasks: set[asyncio.Task[None]] = set()
        self._warmup: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def document(self) -> Modelz:
        """`/modelz` of this moment."""
        measured = self._measured
        measured.version, measured.device, measured.kv_cache = self._log.version, self._log.device, self._log.kv_cache
        measured.last_lines = self._log.last_lines
        measured.pid, measured.exit_code = self._supervisor.pid, self._supervisor.exit_code
        return modelz(
            self._life, self._rules, self._engine, self._settings.budget, measured, self._clock(), self._wall_offset
        )

    async def run(self, listener: socket.socket) -> int:
        """Serve the admin port, run the engine, and return the exit code once nothing of it is left."""
        config = uvicorn.Config(admin_app(self.document), log_config=None, access_log=False, lifespan="off", ws="none")
        server = AdminServer(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: self._feed(TermRequested(self._clock())))
        try:
            self._begin()
            self._spawn(self._ticking())
            self._spawn(self._sampling())
            return await self._exit
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._supervisor.close()
            self._nvml.close()
            await self._api.close()
            server.should_exit = True
            await serving

    def _begin(self) -> None:
        problem = guard.port_problem(self._engine) or guard.model_problem(self._engine)
        if problem is None:
            try:
                self._supervisor.start(self._command, self._environ)
            except CannotAct as error:
                problem = str(error)
        if problem is not None:
            self._feed(EngineExited(self._clock(), 1, problem))

    # -- events in ---------------------------------------------------------------------------------------------------

    def _feed(self, event: Event) -> None:
        before = self._life
        self._life, effects = step(before, event, self._rules)
        if self._life.state is not before.state:
            after = self._clock() - self._life.born
            say(f"{before.state} -> {self._life.state} after {after:.1f} s: {self._life.reason}")
        for effect in effects:
            self._carry_out(effect)

    def _on_line(self, line: str) -> None:
        sign = self._log.read(line)
        if sign is None:
            return
        if sign.phase is not None:
            self._feed(PhaseSeen(self._clock(), sign.phase, sign.detail))
        if sign.listening:
            self._listening.set()

    def _on_exit(self, code: int) -> None:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        cause = f": {self._log.root_cause}" if self._log.root_cause else ""
        self._feed(EngineExited(self._clock(), code, f"the engine {how}{cause}"))

    def _on_core_lost(self, why: str) -> None:
        cause = f": {self._log.root_cause}" if self._log.root_cause else ""
        self._feed(CoreLost(self._clock(), f"{why}{cause}"))

    async def _ticking(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._feed(Tick(self._clock()))

    async def _sampling(self) -> None:
        number = 0
        while True:
            loading = self._life.state in LOADING_ORDER
            if loading or number % SLOW_EVERY == 0:  # engine processes appear only while it loads
                self._measured.resident_bytes = self._supervisor.look() or None
            await self._sample_gpus()
            if loading:
                await self._look_for_engine()
            elif self._life.state in SERVING:
                await self._sample_engine(ask_health=number % SLOW_EVERY == 0)
            number += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._listening.wait(), self._settings.poll_every)
                if self._life.state in LOADING_ORDER:  # it says so just before the port listens
                    await asyncio.sleep(LISTENING_S)
                else:
                    self._listening.clear()

    async def _look_for_engine(self) -> None:
        with contextlib.suppress(CannotObserve):  # connection refused: still loading, which the state says already
            if await self._api.healthy():
                self._feed(EngineReachable(self._clock(), await self._api.served_names()))

    async def _sample_engine(self, *, ask_health: bool) -> None:
        try:
            if ask_health and not await self._api.healthy():
                self._on_core_lost("the engine's /health says that its core is dead")
                return
            sample = await self._api.sample()
        except CannotObserve as error:
            self._feed(SampleFailed(self._clock(), str(error)))
            return
        self._measured.running, self._measured.waiting = sample.running, sample.waiting
        holding = sample.running + sample.waiting
        self._feed(Sampled(self._clock(), holding, sample.progress, sample.asleep))

    async def _sample_gpus(self) -> None:
        gpus = await asyncio.to_thread(self._nvml.read)  # a GPU that fell off the bus may block
        if isinstance(gpus, Seen):
            self._measured.gpus, self._measured.gpus_unseen = gpus.value, None
            if gpus.value:
                self._feed(GpuSampled(self._clock(), min(gpu.free_bytes for gpu in gpus.value)))
        else:
            self._measured.gpus, self._measured.gpus_unseen = None, gpus.why

    # -- effects out -------------------------------------------------------------------------------------------------

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case StartWarmup():
                if self._warmup is not None:
                    self._warmup.cancel()
                self._warmup = self._spawn(self._warming())
            case SendProbe():
                self._spawn(self._probing())
            case TermEngine():
                self._supervisor.terminate()
            case KillEngine():
                self._supervisor.kill_all()
            case Exit(code=code):
                if not self._exit.done():
                    self._exit.set_result(code)

    async def _warming(self) -> None:
        def progress(figures: Warmup) -> None:
            self._measured.warmup = figures

        try:
            done = await warm_up(self._api, self._settings, progress)
        except CannotObserve as error:
            self._feed(WarmupFailed(self._clock(), str(error)))
            return
        self._measured.warmup = done
        how = "settled" if done.settled else "not settled within its bound"
        summary = f"warmed up by {done.requests} generations, TTFT {how} at {done.ttft_ms[-1]:.0f} ms"
        self._feed(WarmupFinished(self._clock(), summary))

    async def _probing(self) -> None:
        try:
            await self._api.generate("warm", 1, timeout_s=PROBE_TIMEOUT_S)
        except CannotObserve as error:
            self._feed(ProbeFailed(self._clock(), str(error)))
        else:
            self._feed(ProbeAnswered(self._clock()))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        """A task that died of a bug must not leave a pod that is ready for ever: end with its traceback."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._exit.done():
            self._exit.set_exception(error)


def say(line: str) -> None:
    """One line of the agent's own on stderr, told apart from the engine's output."""
    print(f"(warmgate) {line}", file=sys.stderr, flush=True)  # noqa: T201


async def serve(
    settings: Settings, engine: EngineArgs, command: Sequence[str], environ: Mapping[str, str], listener: socket.socket
) -> int:
    """Run the agent; return its exit code: 0 ended as asked, 1 the engine failed."""
    return await Agent(settings, engine, command, environ).run(listener)
