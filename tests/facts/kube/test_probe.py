from __future__ import annotations

from typing import Any

import pytest

from serving.facts.kube.container import Container
from serving.facts.kube.probe import Probe, port_number


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (0, 10, 1, 3, 30)),
        ({"initialDelaySeconds": 15, "periodSeconds": 30, "failureThreshold": 60}, (15, 30, 1, 60, 1815)),
        ({"periodSeconds": 0, "timeoutSeconds": 0, "failureThreshold": 0}, (0, 10, 1, 3, 30)),
        ({"periodSeconds": "5", "timeoutSeconds": None, "failureThreshold": []}, (0, 10, 1, 3, 30)),
    ],
)
def test_times_have_the_kubelets_defaults(body: dict[str, Any], expected: tuple[int, ...]):
    probe = Probe(body, "")
    assert (probe.delay_s, probe.period_s, probe.timeout_s, probe.failures, probe.window_s) == expected


@pytest.mark.parametrize(
    ("body", "way", "port"),
    [
        ({"httpGet": {"path": "/readyz", "port": "admin"}}, "http", 8081),
        ({"httpGet": {"path": "/readyz", "port": 9000}}, "http", 9000),
        ({"httpGet": {"port": "8080"}}, "http", 8080),
        ({"httpGet": {"port": "nowhere"}}, "http", None),
        ({"tcpSocket": {"port": "admin"}}, "tcp", 8081),
        ({"grpc": {"port": 5000}}, "grpc", 5000),
        ({"exec": {"command": ["true"]}}, "exec", None),
        ({"httpGet": "junk"}, "http", None),
        ({}, "none", None),
    ],
)
def test_a_port_is_found_by_number_or_by_name(body: dict[str, Any], way: str, port: int | None):
    container = Container({"ports": [{"name": "admin", "containerPort": 8081}, {"name": "junk"}, 5]}, "")
    probe = Probe(body, "")
    assert probe.way == way
    assert port_number(container, probe) == port


def test_a_path_is_read_without_its_query():
    assert Probe({"httpGet": {"path": "/health?full=1"}}, "").http_path == "/health"
    assert Probe({"httpGet": {}}, "").http_path == "/"
