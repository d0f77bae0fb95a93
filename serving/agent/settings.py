"""The agent's own settings, as a person typed them: closed, frozen, seconds everywhere. No I/O.

The grace period of the Pod is derived here, from the same numbers that the lifecycle keeps.
"""

from __future__ import annotations

import math
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from serving.agent.engine_args import EngineArgs
from serving.agent.lifecycle import Rules
from serving.errors import Refused
from serving.facts.model import Budget

TEARDOWN_S: Final = 10.0  # engine and agent leaving after the last stream; measured at 2-4 s on CPU


class Settings(BaseModel):
    """Options of `warmgate serve`. Every field is an option `--like-this` and a variable `WARMGATE_LIKE_THIS`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    admin_host: str = Field("0.0.0.0", description="Address of the admin port.")
    admin_port: int = Field(8081, ge=1, le=65535, description="Port of probes, /modelz and /metrics.")
    expect_model: str = Field("", description="Name the engine must serve; default: its first served name.")
    startup_timeout: float = Field(1800, gt=0, description="Give up when not ready after this many seconds.")
    lame_duck: float = Field(5, ge=0, description="Seconds to serve on after SIGTERM, until endpoints have let go.")
    drain_timeout: float = Field(60, ge=1, description="Seconds that running streams get to end after the lame duck.")
    linger: float = Field(10, ge=0, description="Seconds to keep answering probes after a failure, then exit 1.")
    stall_after: float = Field(30, gt=0, description="Seconds without an engine iteration that count as a stall.")
    probe_every: float = Field(10, gt=0, description="Seconds of quiet after which one token is generated as a proof.")
    restart_after: float = Field(300, ge=0, description="Seconds of stall after which /livez fails.")
    poll_every: float = Field(1, gt=0, description="Seconds between two looks at the engine's metrics.")
    warmup_requests: int = Field(12, ge=1, description="Most warm-up generations.")
    warmup_prompt_tokens: int = Field(64, ge=1, description="About this many prompt tokens per warm-up generation.")
    warmup_output_tokens: int = Field(16, ge=1, description="Output tokens per warm-up generation.")
    warmup_window: int = Field(3, ge=2, description="How many last TTFTs must agree for the warm-up to be settled.")
    warmup_spread: float = Field(0.3, gt=0, description="Agreement: (max - min) / median of those TTFTs.")
    warmup_timeout: float = Field(120, gt=0, description="Most seconds for the warm-up generations.")
    gpu_min_free_mib: int = Field(0, ge=0, description="Least free memory on every visible GPU while ready.")

    @property
    def budget(self) -> Budget:
        """The parts of an orderly end, and their sum: the Pod's terminationGracePeriodSeconds."""
        grace = math.ceil(self.lame_duck + self.drain_timeout + TEARDOWN_S)
        return Budget(self.lame_duck, self.drain_timeout, TEARDOWN_S, grace)

    def rules(self, engine: EngineArgs) -> Rules:
        """The bounds for the lifecycle."""
        return Rules(
            expected_name=self.expect_model or engine.served_names[0],
            startup_timeout_s=self.startup_timeout,
            stall_after_s=self.stall_after,
            probe_every_s=self.probe_every,
            restart_after_s=self.restart_after,
            lame_duck_s=self.lame_duck,
            drain_s=self.drain_timeout,
            linger_s=self.linger,
            gpu_min_free_bytes=self.gpu_min_free_mib * 1024 * 1024,
        )


def check_combination(settings: Settings, engine: EngineArgs) -> None:
    """Refuse, before anything starts, what can never work together."""
    if engine.port == settings.admin_port:
        raise Refused(
            f"port {engine.port} is both the engine's --port and the --admin-port; the data port belongs to vLLM alone"
        )
    if engine.shutdown_timeout is not None and float(engine.shutdown_timeout) != settings.drain_timeout:
        raise Refused(
            f"vLLM's --shutdown-timeout {engine.shutdown_timeout} contradicts --drain-timeout "
            f"{settings.drain_timeout:g}; give only --drain-timeout, the agent passes it on"
        )
    if settings.warmup_window > settings.warmup_requests:
        raise Refused(
            f"--warmup-window {settings.warmup_window} can never be filled by --warmup-requests "
            f"{settings.warmup_requests}; raise the latter"
        )
    if settings.poll_every >= settings.stall_after:
        raise Refused(
            f"--poll-every {settings.poll_every:g} must be well below --stall-after {settings.stall_after:g}: "
            "a stall is seen by looking several times"
        )
    if settings.drain_timeout != int(settings.drain_timeout):
        raise Refused(
            f"--drain-timeout must be whole seconds (vLLM's --shutdown-timeout is), not {settings.drain_timeout}"
        )
