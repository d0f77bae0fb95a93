"""A vLLM server in a container, with or without the agent in front: where it listens, and its times.

The agent's defaults stand here a second time, for judges that may not know the agent; a test holds both together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from serving.facts.kube.container import ENGINE_WORD, Container
from serving.facts.kube.declared import load_seconds
from serving.facts.kube.environment import environment, unseen_config_maps
from serving.facts.kube.manifests import Bundle
from serving.facts.kube.once import once
from serving.facts.kube.pods import Workload
from serving.facts.kube.shape import as_count, as_map, as_maps, as_seconds, as_texts, as_whole, dig
from serving.facts.kube.workloads import workloads

AGENT_DEFAULTS: Final[Mapping[str, float]] = {
    "admin_port": 8081,
    "startup_timeout": 1800,
    "lame_duck": 5,
    "drain_timeout": 60,
}
TEARDOWN_S: Final = 10.0  # engine and agent leaving after the last stream
READY_TIMEOUT: Final = "VLLM_ENGINE_READY_TIMEOUT_S"
READY_TIMEOUT_DEFAULT_S: Final = 600
ENGINE_PORT: Final = 8000
SLEEP: Final = re.compile(r"\bsleep\s+(\d{1,9}(?:\.\d{1,6})?)([smh]?)\b")
WORKERS: Final = re.compile(r"workerTemplate|workerGroupSpecs|\.worker$")


@dataclass(frozen=True)
class Unknown:
    """A setting whose value was not written down: where it comes from."""

    why: str


@dataclass(frozen=True, eq=False)
class Engine:
    """One vLLM server that answers requests, and the Pods it is in."""

    workload: Workload
    container: Container
    environment: Mapping[str, str | None]  # as far as the documents tell it
    takes_unseen_env: bool  # are there whole objects of variables (envFrom) that the documents do not show?

    @property
    def who(self) -> str:
        """How a finding names it: the Pods, and the container where several serve."""
        several = len(self.workload.engines) > 1
        return self.container.who(self.workload.label) if several else self.workload.label

    @property
    def under_agent(self) -> bool:
        """Does the agent start it?"""
        return self.container.under_agent

    def agent(self, name: str) -> float | Unknown:
        """One of the agent's numbers: by option, else by variable, else the default."""
        variable = f"WARMGATE_{name.upper()}"
        text = self.container.option(name.replace("_", "-"))
        if text is None:
            return self.variable(variable, AGENT_DEFAULTS[name])
        number = as_seconds(text)
        return Unknown(f"--{name.replace('_', '-')} is {text!r}") if number is None else number

    def variable(self, name: str, default: float) -> float | Unknown:
        """A number in the environment, or its default; Unknown where it comes from elsewhere or is no number."""
        text = self.environment.get(name)
        if text is None:
            return Unknown(f"{name} comes from another object") if name in self.environment else default
        number = as_seconds(text) if text else default
        return Unknown(f"{name} is {text!r}") if number is None else number

    @property
    def port(self) -> int | None:
        """Where vLLM listens; None where that cannot be told."""
        given = self.container.option("port")
        if given is not None:
            return as_count(given)
        if "config" in self.container.options or "uds" in self.container.options:
            return None
        plain = self.container.image_name.startswith("vllm-openai") or any(
            map(ENGINE_WORD.search, self.container.words)
        )
        return ENGINE_PORT if plain or self.under_agent else None

    @property
    def admin_port(self) -> int | None:
        """Where the agent listens; None without an agent, or where that cannot be told."""
        number = self.agent("admin_port") if self.under_agent else None
        return int(number) if isinstance(number, int | float) else None

    @property
    def load_s(self) -> float | None:
        """The declared load time, or None where none (or no number) is declared."""
        return load_seconds(self.workload)

    @property
    def pre_stop(self) -> Mapping[str, object]:
        """Its preStop hook; empty where there is none."""
        return as_map(dig(self.container.body, "lifecycle.preStop"))

    @property
    def pre_stop_s(self) -> float:
        """Seconds that its preStop hook sleeps, as far as one can read that."""
        pause = as_whole(dig(self.pre_stop, "sleep.seconds"))
        if pause is not None:
            return float(pause)
        command = " ".join(as_texts(dig(self.pre_stop, "exec.command")))
        units = {"": 1, "s": 1, "m": 60, "h": 3600}
        return sum(float(number) * units[unit] for number, unit in SLEEP.findall(command))


@once
def engines(bundle: Bundle) -> tuple[Engine, ...]:
    """The vLLM servers that answer HTTP for as long as they live: no workers of another node, no finite work.

    Pods whose runtime nobody told are left out: what they contain is not known.
    """
    return tuple(engine for workload in workloads(bundle) for engine in engines_of(bundle, workload))


@once
def engines_of(bundle: Bundle, workload: Workload) -> tuple[Engine, ...]:
    """Those of one workload."""
    if workload.finite or workload.role == "worker" or workload.missing_runtime or WORKERS.search(workload.path):
        return ()
    return tuple(_engine(bundle, workload, each) for each in workload.engines if "headless" not in each.options)


def _engine(bundle: Bundle, workload: Workload, container: Container) -> Engine:
    seen = environment(bundle, workload.namespace, container)
    secrets = any("secretRef" in each for each in as_maps(container.body.get("envFrom")))
    unseen = secrets or bool(unseen_config_maps(bundle, workload.namespace, container))
    return Engine(workload, container, seen, unseen)
