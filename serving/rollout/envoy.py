"""The gateway's configuration: which replicas stand behind which version, and what share of requests each version gets.

Pure generation of Envoy's JSON, and one writer that puts it on disk. Clusters, endpoints and weights are separate files
that Envoy watches, so `write` also changes a running gateway: at once, without a restart, without touching a running
stream. It starts no process (see envoy_process) and decides no weight (that is a rollout's business).
"""

from __future__ import annotations

import ipaddress
import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from serving.errors import Refused

# The response headers that name what served a request; a ledger attributes each request by them.
VERSION_HEADER: Final = "x-warmgate-version"
REPLICA_HEADER: Final = "x-warmgate-replica"

BOOTSTRAP: Final = "envoy.json"
_CLUSTERS: Final = "clusters.json"
_ROUTES: Final = "routes.json"
_ROUTE_NAME: Final = "gateway"

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_TYPES: Final = "type.googleapis.com/envoy."

_PROBE_EVERY: Final = "0.5s"
_PROBE_TIMEOUT: Final = "1s"
_UPSTREAM_IDLE: Final = "4s"  # vLLM closes an idle connection after 5 s: no request may meet that close
_STREAM_IDLE: Final = "3600s"  # a stream is cut only after an hour without a byte; a long prompt may queue for minutes
_NO_LIMIT: Final = 1_000_000  # how much to admit is vLLM's decision (its queue limits), not the gateway's


@dataclass(frozen=True)
class Replica:
    """One vLLM and its agent at an IP address: requests go to the data port, health checks ask the admin port."""

    name: str
    host: str
    data_port: int
    admin_port: int


@dataclass(frozen=True)
class Version:
    """One version of the model server. It gets `weight` out of the sum of all versions' weights."""

    name: str
    replicas: tuple[Replica, ...]
    weight: int


@dataclass(frozen=True)
class Gateway:
    """Where a gateway keeps its files and where it listens. Its own admin interface is on loopback only."""

    directory: Path
    listen_port: int
    admin_port: int
    listen_host: str = "127.0.0.1"

    @property
    def access_log(self) -> Path:
        """One JSON object per request, without query strings, headers or client addresses."""
        return self.directory / "access.log"


def write(gateway: Gateway, versions: Sequence[Version]) -> None:
    """Write everything Envoy reads; a running gateway takes up the changes within milliseconds.

    Lossless order for a new version: first with weight 0, then with its weight. For an old one: first weight 0, then
    leave it out. (Envoy reads the files independently, and a weight that names an unknown version is answered 503.)
    """
    _check(versions)
    gateway.directory.mkdir(parents=True, exist_ok=True)
    for version in versions:
        _replace(gateway.directory / _endpoints_file(version), _resources([endpoints(version)]))
    _replace(gateway.directory / _CLUSTERS, _resources(cluster(version, gateway.directory) for version in versions))
    _replace(gateway.directory / _ROUTES, _resources([routes(versions)]))
    _replace(gateway.directory / BOOTSTRAP, bootstrap(gateway))


def flattened(directory: Path) -> dict[str, Any]:
    """What `write` wrote as one static configuration, for Envoy's own check: that does not look into watched files."""
    whole: dict[str, Any] = _read(directory / BOOTSTRAP)
    del whole["dynamic_resources"]
    clusters = _read(directory / _CLUSTERS)["resources"]
    for one in clusters:
        (one["load_assignment"],) = _read(directory / f"endpoints-{one['name']}.json")["resources"]
        one["type"] = "STATIC"
        del one["@type"], one["eds_cluster_config"], one["load_assignment"]["@type"]
    whole["static_resources"]["clusters"] = clusters
    (filters,) = (chain["filters"] for chain in whole["static_resources"]["listeners"][0]["filter_chains"])
    (table,) = _read(directory / _ROUTES)["resources"]
    del filters[0]["typed_config"]["rds"], table["@type"]
    filters[0]["typed_config"]["route_config"] = table
    return whole


def endpoints(version: Version) -> dict[str, Any]:
    """The replicas of a version, each checked on its agent's port."""
    return {
        "@type": f"{_TYPES}config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": version.name,
        "endpoints": [
            {
                "lb_endpoints": [
                    {
                        "endpoint": {
                            "address": _address(replica.host, replica.data_port),
                            "health_check_config": {"port_value": replica.admin_port},
                        },
                        "metadata": {"filter_metadata": {"warmgate": {"replica": replica.name}}},
                    }
                    for replica in version.replicas
                ]
            }
        ],
    }


def cluster(version: Version, directory: Path) -> dict[str, Any]:
    """How a version's replicas are chosen, checked and connected to."""
    return {
        "@type": f"{_TYPES}config.cluster.v3.Cluster",
        "name": version.name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": _file(directory / _endpoints_file(version))},
        "connect_timeout": "2s",
        "lb_policy": "LEAST_REQUEST",
        # With Envoy's default of 50 %, requests would go to replicas that are known to be unready.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "ignore_health_on_host_removal": True,  # else a removed replica would stay for as long as it is healthy
        "health_checks": [
            {
                "interval": _PROBE_EVERY,
                "no_traffic_interval": _PROBE_EVERY,  # Envoy's default is a minute
                "timeout": _PROBE_TIMEOUT,
                "healthy_threshold": 1,
                "unhealthy_threshold": 1,
                "http_health_check": {"path": "/readyz", "host": version.name},
            }
        ],
        "circuit_breakers": {
            "thresholds": [
                {
                    **dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), _NO_LIMIT),
                    # Retries are at most a fifth of the running requests: refusals under overload must not multiply.
                    "retry_budget": {"budget_percent": {"value": 20}, "min_retry_concurrency": 3},
                }
            ]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPES}extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http_protocol_options": {}},
                "common_http_protocol_options": {"idle_timeout": _UPSTREAM_IDLE},
            }
        },
    }


def routes(versions: Sequence[Version]) -> dict[str, Any]:
    """What may be asked for, and each version's share of it. Only /v1/ passes; vLLM answers much more than that."""
    if any(version.weight for version in versions):
        action: dict[str, Any] = {
            "route": {
                "weighted_clusters": {"clusters": [_share(version) for version in versions]},
                "timeout": "0s",  # the default of 15 s would cut a stream
                "retry_policy": _RETRY,
            }
        }
    else:
        action = {"direct_response": _says(503, "no version has a share of the traffic")}
    return {
        "@type": f"{_TYPES}config.route.v3.RouteConfiguration",
        "name": _ROUTE_NAME,
        "virtual_hosts": [
            {
                "name": "all",
                "domains": ["*"],
                "routes": [
                    {"match": {"prefix": "/v1/"}, **action},
                    {"match": {"prefix": "/"}, "direct_response": _says(404, "only /v1/ is served here")},
                ],
            }
        ],
    }


def bootstrap(gateway: Gateway) -> dict[str, Any]:
    """What Envoy reads once, when it starts: where to listen, and which files to watch."""
    return {
        "node": {"id": "gateway", "cluster": "warmgate"},
        "admin": {"address": _address("127.0.0.1", gateway.admin_port)},
        "dynamic_resources": {"cds_config": _file(gateway.directory / _CLUSTERS)},
        "static_resources": {
            "listeners": [
                {
                    "name": "gateway",
                    "address": _address(gateway.listen_host, gateway.listen_port),
                    "filter_chains": [
                        {
                            "filters": [
                                {
                                    "name": "envoy.filters.network.http_connection_manager",
                                    "typed_config": _connection_manager(gateway),
                                }
                            ]
                        }
                    ],
                }
            ]
        },
    }


# A generation that has begun is never run again: a retry follows only where no replica took the request up. That is a
# connection that could not be made, one that broke before the request was sent, and a replica's own 503 in place of a
# response (vLLM's full queue). A POST that was sent and got no answer is not repeated: it may be running.
_RETRY: Final[dict[str, Any]] = {
    "retry_on": "reset-before-request,retriable-status-codes",
    "retriable_status_codes": [503],
    "num_retries": 2,
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {"@type": f"{_TYPES}extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
        }
    ],
    "host_selection_retry_max_attempts": 5,
}


def _share(version: Version) -> dict[str, Any]:
    replica = "%UPSTREAM_METADATA(warmgate:replica)%"
    headers = {VERSION_HEADER: version.name, REPLICA_HEADER: replica}
    return {
        "name": version.name,
        "weight": version.weight,
        "response_headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in headers.items()
        ],
    }


def _connection_manager(gateway: Gateway) -> dict[str, Any]:
    return {
        "@type": f"{_TYPES}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "rds": {"route_config_name": _ROUTE_NAME, "config_source": _file(gateway.directory / _ROUTES)},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": f"{_TYPES}extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            }
        ],
        # One spelling of each path, decided before the allow-list is asked.
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "stream_idle_timeout": _STREAM_IDLE,
        "request_headers_timeout": "10s",
        "local_reply_config": _LOCAL_REPLY,
        "access_log": [
            {
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": f"{_TYPES}extensions.access_loggers.file.v3.FileAccessLog",
                    "path": str(gateway.access_log),
                    "log_format": {"json_format": _ACCESS},
                },
            }
        ],
    }


# What the gateway itself answers (no healthy replica, path not served) has the shape of an OpenAI error.
_LOCAL_REPLY: Final[dict[str, Any]] = {
    "mappers": [
        {
            "filter": {
                "status_code_filter": {
                    "comparison": {"op": "EQ", "value": {"default_value": 503, "runtime_key": "gateway.retry_after"}}
                }
            },
            "headers_to_add": [{"header": {"key": "retry-after", "value": "1"}}],
        }
    ],
    "body_format": {
        "json_format": {
            "error": {
                "message": "%LOCAL_REPLY_BODY%",
                "type": "gateway_error",
                "code": "%RESPONSE_CODE%",
                "details": "%RESPONSE_CODE_DETAILS%",
            }
        }
    },
}

_ACCESS: Final[dict[str, str]] = {
    "at": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ)%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "version": "%UPSTREAM_CLUSTER%",
    "replica": "%UPSTREAM_METADATA(warmgate:replica)%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "request_bytes": "%BYTES_RECEIVED%",
    "response_bytes": "%BYTES_SENT%",
    "first_byte_ms": "%RESPONSE_DURATION%",
    "duration_ms": "%DURATION%",
}


def _check(versions: Sequence[Version]) -> None:
    names = [version.name for version in versions]
    for name in [*names, *(replica.name for version in versions for replica in version.replicas)]:
        if not _NAME.fullmatch(name):
            raise Refused(f"{name!r} names no version or replica: use lower-case letters, digits and dashes")
    if len(set(names)) != len(names):
        raise Refused(f"two versions have the same name ({', '.join(sorted(names))}): name each once")
    for replica in (replica for version in versions for replica in version.replicas):
        try:
            ipaddress.ip_address(replica.host)
        except ValueError:
            raise Refused(f"replica {replica.name} is at {replica.host!r}: give its IP address") from None
    if any(version.weight < 0 for version in versions):
        raise Refused("a version's weight is negative: weights are shares of the traffic, 0 or more")


def _endpoints_file(version: Version) -> str:
    return f"endpoints-{version.name}.json"


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _file(path: Path) -> dict[str, Any]:
    return {"resource_api_version": "V3", "path_config_source": {"path": str(path)}}


def _says(status: int, text: str) -> dict[str, Any]:
    return {"status": status, "body": {"inline_string": text}}


def _resources(resources: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {"resources": list(resources)}


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _replace(path: Path, content: dict[str, Any]) -> None:
    """Write beside the target and rename over it: Envoy acts on the rename, and never reads half a file."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        json.dump(content, file, indent=1)
    Path(file.name).replace(path)
