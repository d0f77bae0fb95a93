"""Which telemetry a person asked for, and which sources that makes. Decides whom to ask; asks nobody.

Addresses land in the report, so one that could hold a secret (a user, a query) is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from serving.expectations import Expectation, TelemetryGate
from serving.facts.telemetry import Kind, Source

Reader = Literal["vllm", "modelz", "dcgm", "nvml"]
KINDS: Final[dict[Reader, Kind]] = {"vllm": "engine", "modelz": "agent", "dcgm": "gpu", "nvml": "gpu"}


@dataclass(frozen=True)
class Ask:
    """A source and how to ask it. One that is `tentative` is dropped when the first look finds nothing there.

    Of a dcgm-exporter only the series with these `labels` are read: it tells of every GPU of its node.
    """

    name: str
    reader: Reader
    url: str
    every_s: float = 1.0
    labels: dict[str, str] = field(default_factory=dict)
    tentative: bool = False

    @property
    def source(self) -> Source:
        """The source as the record names it."""
        return Source(self.name, KINDS[self.reader], self.url, self.every_s)


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port out of range, or half an IPv6 address
        known = False
    if not known:
        raise ValueError(f"{url!r} is not an http:// or https:// address")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("an address here has no user, no query and no fragment: it is shown in the report")
    return url.rstrip("/")


def _without(suffix: str) -> AfterValidator:
    return AfterValidator(lambda url: _address(url).removesuffix(suffix).rstrip("/"))


def _exporter(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


def _no_boolean(value: Any) -> Any:
    return "off" if value is False else value  # what YAML makes of an unquoted `off`


class Exporter(Expectation):
    """A dcgm-exporter: its address, and the labels of the GPUs that are meant, where it tells of others too."""

    url: Annotated[str, _without("/metrics")]
    labels: dict[str, str] = Field(default_factory=dict, description="E.g. {namespace: llm, container: vllm}.")


class TelemetryOptions(Expectation):
    """What to sample while the load runs. Without `engines`, the base URL's own /metrics is tried once."""

    engines: tuple[Annotated[str, _without("/metrics")], ...] = Field(
        default=(), description="The address of each vLLM replica itself; a Service would lead to another each time."
    )
    agents: tuple[Annotated[str, _without("/modelz")], ...] = Field(
        default=(), description="The admin port of each agent."
    )
    dcgm: tuple[Annotated[Exporter, BeforeValidator(_exporter)], ...] = Field(
        default=(), description="Each dcgm-exporter. It measures every 30 s unless told otherwise."
    )
    gpu: Annotated[Literal["auto", "off"], BeforeValidator(_no_boolean)] = Field(
        default="auto", description="auto: NVML, where the base URL is on this machine and no dcgm is named."
    )
    every_s: float = Field(default=1.0, ge=0.1, le=60, allow_inf_nan=False, description="Seconds between two looks.")
    gates: tuple[TelemetryGate, ...] = Field(
        default=(), description="What it must meet; those among a profile's slos come here too."
    )

    @model_validator(mode="after")
    def _once_each(self) -> TelemetryOptions:
        for urls in (self.engines, self.agents, tuple(exporter.url for exporter in self.dcgm)):
            if len(set(urls)) < len(urls):
                raise ValueError(f"telemetry names {max(urls, key=urls.count)} twice")
        return self


def sorted_gates(profile: Any) -> Any:
    """A profile as it was typed, with the telemetry gates among its `slos` put under `telemetry`, where they are kept.

    Who writes a profile has one list of limits. What is not of the expected shape is left for validation to refuse.
    """
    if not isinstance(profile, dict) or not isinstance(slos := profile.get("slos"), list | tuple):
        return profile
    gates = [slo for slo in slos if isinstance(slo, dict) and "telemetry" in slo]
    options = profile.get("telemetry", {})
    given = options.get("gates", ()) if isinstance(options, dict) else None
    if not gates or not isinstance(given, list | tuple):
        return profile
    kept = [slo for slo in slos if slo not in gates]
    return profile | {"slos": kept, "telemetry": options | {"gates": [*given, *gates]}}


def asks_of(options: TelemetryOptions, base_url: str) -> tuple[Ask, ...]:
    """Whom to ask in a run against this base URL (without a trailing slash or /v1)."""
    every_s = options.every_s
    asks = [Ask(f"engine-{n}", "vllm", url, every_s) for n, url in enumerate(options.engines)]
    if not asks:
        asks.append(Ask("engine-0", "vllm", base_url, every_s, tentative=True))
    asks += [Ask(f"agent-{n}", "modelz", url, every_s) for n, url in enumerate(options.agents)]
    asks += [Ask(f"dcgm-{n}", "dcgm", one.url, every_s, one.labels) for n, one in enumerate(options.dcgm)]
    if options.gpu == "auto" and not options.dcgm and _on_this_machine(base_url):
        asks.append(Ask("gpu", "nvml", "NVML", every_s, tentative=True))
    return tuple(asks)


def _on_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
