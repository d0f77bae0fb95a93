"""One probe of a container as the kubelet will carry it out: defaults filled in, times in seconds.

Says what is asked how often, not whether that is wise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from serving.facts.kube.container import Container
from serving.facts.kube.shape import as_count, as_map, as_text, as_texts, as_whole, dig

Way = Literal["http", "tcp", "grpc", "exec", "none"]


@dataclass(frozen=True)
class Probe:
    """`path` is where it stands in its document; `words` is the command of an exec probe."""

    body: Mapping[str, Any]
    path: str

    def _number(self, name: str, default: int) -> int:
        return as_whole(self.body.get(name)) or default  # Kubernetes takes 0 for "not given" too

    @property
    def delay_s(self) -> int:
        """Seconds after the container's start before the first look."""
        return self._number("initialDelaySeconds", 0)

    @property
    def period_s(self) -> int:
        """Seconds between looks."""
        return self._number("periodSeconds", 10)

    @property
    def timeout_s(self) -> int:
        """Seconds for one answer."""
        return self._number("timeoutSeconds", 1)

    @property
    def failures(self) -> int:
        """How many looks in a row must fail."""
        return self._number("failureThreshold", 3)

    @property
    def window_s(self) -> int:
        """Seconds from the container's start until it can have failed."""
        return self.delay_s + self.patience_s

    @property
    def patience_s(self) -> int:
        """Seconds of silence that it takes to fail, once it looks."""
        return self.period_s * self.failures

    @property
    def way(self) -> Way:
        """How it asks."""
        if "httpGet" in self.body:
            return "http"
        if "tcpSocket" in self.body:
            return "tcp"
        return "grpc" if "grpc" in self.body else "exec" if "exec" in self.body else "none"

    @property
    def http_path(self) -> str:
        """The path it gets, without a query; `/` where it names none."""
        return as_text(dig(self.body, "httpGet.path")).partition("?")[0] or "/"

    @property
    def port(self) -> int | str | None:
        """The port it asks, a number or a name; None for an exec probe."""
        handler = as_map(self.body.get({"http": "httpGet", "tcp": "tcpSocket", "grpc": "grpc"}.get(self.way, "")))
        given = handler.get("port")
        number = as_whole(given)
        if number is not None:
            return number
        text = as_text(given)
        return as_count(text) if text.isdecimal() else text or None

    @property
    def words(self) -> str:
        """The command of an exec probe, in one line."""
        return " ".join(as_texts(dig(self.body, "exec.command")))


def probe(container: Container, kind: Literal["startup", "readiness", "liveness"]) -> Probe | None:
    """A container's probe of this kind, or None."""
    body = container.probe(kind)
    return Probe(body, f"{container.path}.{kind}Probe") if body else None


def named_ports(container: Container) -> dict[str, int]:
    """The container's ports by name."""
    found = {as_text(each.get("name")): as_whole(each.get("containerPort")) for each in container.ports}
    return {name: number for name, number in found.items() if name and number is not None}


def port_number(container: Container, asked: Probe) -> int | None:
    """The number of the port that a probe asks; None where there is no port of this name, or none is asked."""
    return named_ports(container).get(asked.port) if isinstance(asked.port, str) else asked.port
