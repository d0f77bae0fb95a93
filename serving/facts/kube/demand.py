"""What one Pod takes from a node and from a quota: requests and limits of all its containers, defaults filled in.

Follows Kubernetes: what is not requested is requested as limited, then as a LimitRange says, and an init container
counts where it takes more than all that follows. KServe fills in CPU and memory of its serving container.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from serving.facts.kube.container import Container
from serving.facts.kube.manifests import Bundle, near
from serving.facts.kube.once import once
from serving.facts.kube.pods import Workload
from serving.facts.kube.predictor import SERVING
from serving.facts.kube.quantity import quantity
from serving.facts.kube.shape import as_maps, text_map

KSERVE_DEFAULTS: Final = {"cpu": "1", "memory": "2Gi"}
Amounts = Mapping[str, Fraction]


@dataclass(frozen=True)
class Demand:
    """Amounts of one Pod by resource.

    `unstated` names the containers that leave something open: `requests.cpu` -> those without a CPU request.
    """

    requests: Amounts
    limits: Amounts
    unstated: Mapping[str, tuple[str, ...]]


@once
def demand(bundle: Bundle, workload: Workload) -> Demand:
    """The Pod's effective requests and limits."""
    requests: dict[str, Fraction] = {}
    limits: dict[str, Fraction] = {}
    unstated: dict[str, tuple[str, ...]] = {}
    together = [_stated(bundle, workload, each) for each in workload.containers]
    alone = [_stated(bundle, workload, each) for each in workload.all_containers if each.init]
    for total, part in ((requests, 0), (limits, 1)):
        for stated in together:
            for name, amount in _numbers(stated[part]).items():
                total[name] = total.get(name, Fraction(0)) + amount
        for stated in alone:
            for name, amount in _numbers(stated[part]).items():
                total[name] = max(total.get(name, Fraction(0)), amount)
    overhead = _numbers(text_map(workload.spec.get("overhead")))
    for name, amount in overhead.items():
        requests[name] = requests.get(name, Fraction(0)) + amount
    for container in workload.all_containers:
        asked, capped = _stated(bundle, workload, container)
        for name in ("cpu", "memory"):
            for key, amounts in ((f"requests.{name}", asked), (f"limits.{name}", capped)):
                if name not in amounts:
                    unstated[key] = (*unstated.get(key, ()), container.name)
    return Demand(requests, limits, unstated)


def _stated(bundle: Bundle, workload: Workload, container: Container) -> tuple[dict[str, str], dict[str, str]]:
    requests, limits = container.requests, container.limits
    if workload.by_kserve and container.name == SERVING:
        requests, limits = KSERVE_DEFAULTS | requests, KSERVE_DEFAULTS | limits
    requests = limits | requests
    for document in bundle.known("LimitRange"):
        if near(document.namespace, workload.namespace):
            for item in as_maps(document.spec.get("limits")):
                if item.get("type") == "Container":
                    capped = text_map(item.get("default"))
                    requests = capped | text_map(item.get("defaultRequest")) | requests
                    limits = capped | limits
    return requests, limits


def _numbers(amounts: Mapping[str, str]) -> dict[str, Fraction]:
    read = {name: quantity(amount) for name, amount in amounts.items()}
    return {name: amount for name, amount in read.items() if amount is not None}
