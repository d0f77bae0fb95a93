"""What bounds the number of Pods, and who shares it: the GPUs of a pool, and every ResourceQuota that counts them.

Arithmetic for the rules of rollouts and of scale. Long-running Pods among the documents are counted, finite work is
not: it ends, and then makes room. What others run in the cluster is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from serving.facts.kube.declared import POOL
from serving.facts.kube.demand import Demand, demand
from serving.facts.kube.gpus import GPU_RESOURCE
from serving.facts.kube.manifests import CLUSTER, Bundle, Document, near
from serving.facts.kube.nodes import allocatable, label_misses, live_nodes, untolerated
from serving.facts.kube.once import once
from serving.facts.kube.pods import Workload
from serving.facts.kube.quantity import quantity, shown
from serving.facts.kube.scalers import bounds
from serving.facts.kube.shape import as_maps, as_text, as_texts, as_whole, dig, text_map
from serving.facts.kube.workloads import workloads

UNSEEN: Final = f"let the reader list it, or state the pool with the annotation {POOL}"
SLICES: Final = ("nvidia.com/mig-", "nvidia.com/gpu.shared")
HOOK: Final = "helm.sh/hook"
NAMED: Final = 4  # from so many neighbours on, a message names their sum


@dataclass(frozen=True)
class Part:
    """Some Pods that take `each` of a room; `what` says which. What many take may be one part, `summed`."""

    pods: int
    each: Fraction
    what: str
    summed: bool = False

    @property
    def amount(self) -> Fraction:
        """What they take together."""
        return self.pods * self.each


@dataclass(frozen=True)
class Room:
    """Something finite: `key` is a resource of a node, or what a quota calls it; `quota` is None for a pool.

    A pool is told apart by what its Pods say of its size and by the node labels that they select.
    """

    name: str
    key: str
    size: Fraction
    quota: Document | None = None
    stated: str = ""
    selected: frozenset[tuple[str, str]] = frozenset()

    def __str__(self) -> str:
        size = shown(self.size, self.key)
        return f"{self.name} of {size}" if self.quota is None else f"{self.name}: {size}"

    def each(self, wanted: Demand) -> Fraction:
        """How much of it one Pod takes."""
        if self.quota is None:
            return wanted.requests.get(self.key, Fraction(0))
        if self.key in ("pods", "count/pods"):
            return Fraction(1)
        if self.key.startswith("limits."):
            return wanted.limits.get(self.key.removeprefix("limits."), Fraction(0))
        return wanted.requests.get(self.key.removeprefix("requests."), Fraction(0))


def rooms(bundle: Bundle, workload: Workload) -> Iterator[Room]:
    """Every bound that these Pods stand under, of which they take something."""
    wanted = demand(bundle, workload)
    for resource, amount in wanted.requests.items():
        if GPU_RESOURCE.fullmatch(resource) and amount > 0:
            yield from _pool(bundle, workload, resource, amount)
    for quota in bundle.known("ResourceQuota"):
        if covers(quota, workload):
            for key, given in text_map(quota.spec.get("hard")).items():
                size = quantity(given)
                room = Room(f"{quota.id} {key}", key, size or Fraction(0), quota)
                if size is not None and room.each(wanted) > 0:
                    yield room


def _pool(bundle: Bundle, workload: Workload, resource: str, amount: Fraction) -> Iterator[Room]:
    stated, selected = workload.says(POOL), frozenset(workload.node_selector.items())
    if not resource.startswith(SLICES):  # what is stated are whole GPUs
        size = quantity(stated) if stated else None
        if size is None and bundle.pool_gpus is not None:
            size = Fraction(bundle.pool_gpus)
        if size is not None:
            yield Room("the pool", resource, size, None, stated or "", selected)
            return
    nodes = [
        each
        for each in live_nodes(bundle)
        if allocatable(each, resource) > 0 and not label_misses(workload, each) and not untolerated(workload, each)
    ]
    if nodes:
        usable = sum((allocatable(each, resource) // amount * amount for each in nodes), Fraction(0))
        name = f"the live pool ({len(nodes)} nodes)" if len(nodes) > 1 else "the one live node"
        yield Room(name, resource, usable, None, stated or "", selected)


@dataclass(frozen=True)
class _Shared:
    """Who shares a room, how much they take together, and each document of it."""

    tenants: tuple[tuple[Workload, Part], ...]
    total: Fraction
    of_document: Mapping[int, Fraction]


@once
def _shared(bundle: Bundle, room: Room) -> _Shared:
    tenants = []
    of_document: dict[int, Fraction] = {}
    for workload in workloads(bundle):
        each = room.each(demand(bundle, workload)) if lasts(workload) and _in(room, workload) else Fraction(0)
        if each:
            part = Part(pods_of(workload, bounds(bundle, workload)[0]), each, workload.label)
            tenants.append((workload, part))
            of_document[id(workload.document)] = of_document.get(id(workload.document), Fraction(0)) + part.amount
    return _Shared(tuple(tenants), sum(of_document.values(), Fraction(0)), of_document)


def neighbours(bundle: Bundle, workload: Workload, room: Room) -> list[Part]:
    """What other documents take of the room, at the fewest replicas that their scalers keep: by name, or as a sum."""
    shared = _shared(bundle, room)
    amount = shared.total - shared.of_document.get(id(workload.document), Fraction(0))
    if not amount:
        return []
    others = shared.of_document.keys() - {id(workload.document)}
    if len(others) < NAMED:
        return [part for other, part in shared.tenants if other.document is not workload.document]
    return [Part(1, amount, f"of {len(others)} others", summed=True)]


def lasts(workload: Workload) -> bool:
    """Does it run for good, in a known number? A DaemonSet's depends on the nodes, a Helm hook's Pods go."""
    return not workload.finite and workload.kind != "DaemonSet" and HOOK not in workload.document.annotations


def pods_of(workload: Workload, replicas: int) -> int:
    """Pods of so many replicas: a replica of a LeaderWorkerSet is a group."""
    size = as_whole(dig(workload.document.body, "spec.leaderWorkerTemplate.size"))
    if workload.kind == "LeaderWorkerSet" and size and ".workerTemplate" in workload.path:
        led = isinstance(dig(workload.document.body, "spec.leaderWorkerTemplate.leaderTemplate"), Mapping)
        return replicas * (size - 1 if led else size)
    return replicas


def _in(room: Room, workload: Workload) -> bool:
    if room.quota is not None:
        return covers(room.quota, workload)
    stated, selected = workload.says(POOL), workload.node_selector
    if stated and room.stated and stated != room.stated:
        return False
    return all(selected.get(key, value) == value for key, value in room.selected)


def sum_of(room: Room, parts: list[Part]) -> str:
    """The sum in words: `2 replicas + 1 surge + 2 Deployment/llm/other = 5 nvidia.com/gpu`."""
    terms = []
    for part in parts:
        if part.amount:
            each = shown(part.each, room.key)
            count = each if part.summed else f"{part.pods}" if part.each == 1 else f"{part.pods} x {each}"
            terms.append(f"{count} {part.what}")
    total = shown(sum((part.amount for part in parts), Fraction(0)), room.key)
    return f"{' + '.join(terms)} = {total} {room.key if room.quota is None else ''}".strip()


def covers(quota: Document, workload: Workload) -> bool:
    """Does a ResourceQuota count these Pods? By namespace, and by every scope that it has."""
    if not near(quota.namespace, workload.namespace):
        return False
    plain = all(_in_scope(scope, "Exists", [], workload) for scope in as_texts(quota.spec.get("scopes")))
    chosen = as_maps(dig(quota.body, "spec.scopeSelector.matchExpressions"))
    return plain and all(
        _in_scope(as_text(each.get("scopeName")), as_text(each.get("operator")), as_texts(each.get("values")), workload)
        for each in chosen
    )


def _in_scope(scope: str, operator: str, values: list[str], workload: Workload) -> bool:
    spec: Mapping[str, Any] = workload.spec
    best_effort = not any(each.requests or each.limits for each in workload.all_containers)
    match scope:
        case "Terminating":
            return as_whole(spec.get("activeDeadlineSeconds")) is not None
        case "NotTerminating":
            return as_whole(spec.get("activeDeadlineSeconds")) is None
        case "BestEffort":
            return best_effort
        case "NotBestEffort":
            return not best_effort
        case "PriorityClass":
            name = as_text(spec.get("priorityClassName"))
            match operator:
                case "In":
                    return name in values
                case "NotIn":
                    return name not in values
                case "DoesNotExist":
                    return not name
            return bool(name)
    return False


def unadmitted(bundle: Bundle, workload: Workload) -> str:
    """What a quota counts and a container does not state: the API then creates no such Pod. Empty where all is well."""
    open_ended = demand(bundle, workload).unstated
    for quota in bundle.known("ResourceQuota"):
        for key in text_map(quota.spec.get("hard")) if covers(quota, workload) else ():
            containers = open_ended.get(f"requests.{key}" if key in ("cpu", "memory") else key)
            if containers:
                return f"{quota.id} counts {key}, and container {containers[0]} states none"
    return ""


def unseen(bundle: Bundle, workload: Workload) -> str:
    """What a cluster that was asked would not tell of the bounds; empty where nothing is missing."""
    if bundle.live is None:
        return ""
    missing = [kind for kind in ("ResourceQuota",) if kind in bundle.unseen]
    if "Node" in bundle.unseen and workload.says(POOL) is None and bundle.pool_gpus is None:
        missing.append("Node")
    return "; ".join(f"{kind} could not be read from the {CLUSTER}: {bundle.unseen[kind]}" for kind in missing)
