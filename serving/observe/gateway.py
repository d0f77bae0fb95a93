"""Reads from Envoy's admin interface which upstream hosts it knows, and what it holds against each. Judges nothing."""

from __future__ import annotations

import time
from typing import Any, Final

import httpx

from serving.facts.readiness import Host
from serving.facts.seen import Fact, Seen, Unseen
from serving.observe.http import get, member, turned_away, unseen

SERVES_ANYWAY: Final = frozenset({"failed_active_degraded_check"})
GOOD_DISCOVERY: Final = frozenset({None, "HEALTHY", "UNKNOWN", "DEGRADED"})


async def read_hosts(client: httpx.AsyncClient, admin: str, *, bound_s: float) -> Fact[tuple[Host, ...]]:
    """Every host of every cluster, in Envoy's order."""
    url = f"{admin}/clusters?format=json"
    reply = await get(client, url, bound_s=bound_s)
    if isinstance(reply, Unseen):
        return reply
    if away := turned_away(reply):
        return unseen(away, url)
    clusters = member(reply.json(), "cluster_statuses")
    if reply.status != 200 or not isinstance(clusters, list):
        return unseen(f"HTTP {reply.status} without a list of clusters: is this Envoy's admin port?", url)
    return Seen(tuple(_host(cluster, host) for cluster in clusters for host in _hosts(cluster)), url, time.time())


def _hosts(cluster: Any) -> list[Any]:
    hosts = member(cluster, "host_statuses")
    return hosts if isinstance(hosts, list) else []


def _host(cluster: Any, host: Any) -> Host:
    """Every flag that Envoy sets speaks against a host, but for `degraded`: that one serves when none is better."""
    address = member(member(host, "address"), "socket_address")
    health = member(host, "health_status")
    if not isinstance(health, dict):
        flags = ["no health status"]
    else:
        flags = [name for name, value in health.items() if value is True and name not in SERVES_ANYWAY]
        if (discovered := health.get("eds_health_status")) not in GOOD_DISCOVERY:
            flags.append(f"eds_health_status {discovered}")
    where = f"{member(address, 'address')}:{member(address, 'port_value')}"
    return Host(str(member(cluster, "name")), where, tuple(flags))
