from __future__ import annotations

from typing import Any

import pytest

from serving.verdict import Verdict
from tests.judge.lint.asked import deployment, said

GATEWAY = {"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateway"}}}]}
DNS = {"to": [{"namespaceSelector": {}}], "ports": [{"port": 53, "protocol": "UDP"}]}
BY_EXPRESSION = {"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "Exists"}]}
WORLD = {"ipBlock": {"cidr": "0.0.0.0/0"}}


def policy(name: str = "qwen", namespace: str = "llm", **spec: Any) -> dict[str, Any]:
    spec.setdefault("podSelector", {})
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    "policies",
    [
        pytest.param([policy(policyTypes=["Ingress", "Egress"])], id="default deny of the namespace"),
        pytest.param([policy(ingress=[GATEWAY], egress=[DNS])], id="types as the API fills them in"),
        pytest.param([policy("in", policyTypes=["Ingress"]), policy("out", policyTypes=["Egress"])], id="one for each"),
        pytest.param(
            [policy(podSelector=None, policyTypes=["Ingress", "Egress"])], id="a selector left out selects all"
        ),
        pytest.param(
            [policy(podSelector=BY_EXPRESSION), policy("out", policyTypes=["Egress"])],
            id="by expression",
        ),
        pytest.param(
            [policy(policyTypes=["Ingress", "Egress"], egress=[{"ports": [{"port": 53}]}])], id="DNS anywhere"
        ),
        pytest.param(
            [policy(policyTypes=["Ingress", "Egress"], ingress=[{"ports": [{"port": 8080}]}])],
            id="one port for everybody is a decision",
        ),
        pytest.param(
            [
                policy(
                    policyTypes=["Ingress", "Egress"],
                    egress=[{"to": [{"ipBlock": {"cidr": "10.20.0.0/24"}}], "ports": [{"port": 443}]}],
                )
            ],
            id="the model store by its address",
        ),
    ],
)
def test_policies_for_both_directions_close(policies: list[dict[str, Any]]):
    assert said("WG385", deployment(), *policies) == []


@pytest.mark.parametrize(
    ("policies", "observed"),
    [
        pytest.param([], "no NetworkPolicy selects it", id="none"),
        pytest.param([policy(namespace="other")], "no NetworkPolicy selects it", id="in another namespace"),
        pytest.param(
            [policy(podSelector={"matchLabels": {"app": "web"}})], "no NetworkPolicy selects it", id="of other Pods"
        ),
        pytest.param([policy(ingress=[GATEWAY])], "no NetworkPolicy limits its egress", id="ingress alone"),
        pytest.param([policy(policyTypes=["Egress"])], "no NetworkPolicy limits its ingress", id="egress alone"),
        pytest.param(
            [policy(policyTypes=["Ingress", "Egress"], egress=[{}])],
            "egress to any address on every port",
            id="all out",
        ),
        pytest.param(
            [policy(policyTypes=["Ingress", "Egress"], egress=[{"to": [WORLD], "ports": [{"port": 443}]}])],
            "egress to any address on 443",
            id="the whole world by HTTPS",
        ),
        pytest.param(
            [policy(policyTypes=["Ingress", "Egress"], ingress=[{"from": [WORLD]}])],
            "ingress from any address on every port",
            id="the whole world on every port",
        ),
        pytest.param(
            [policy(policyTypes=["Ingress", "Egress"]), policy("open", policyTypes=["Ingress"], ingress=[{}])],
            "ingress from any address on every port",
            id="one policy opens what another closes",
        ),
    ],
)
def test_what_stays_open_is_said(policies: list[dict[str, Any]], observed: str):
    (finding,) = said("WG385", deployment(), *policies)
    assert finding.verdict is Verdict.FAIL
    assert finding.observed == observed


def test_an_open_policy_is_told_once_for_all_pods_behind_it():
    other = deployment()
    other["metadata"]["name"] = "second"
    (finding,) = said("WG385", deployment(), other, policy(policyTypes=["Ingress", "Egress"], egress=[{}]))
    assert finding.subject == "NetworkPolicy/llm/qwen"


def test_a_policy_of_a_plug_in_leaves_the_answer_open():
    cilium = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": "c"}, "spec": {}}
    (finding,) = said("WG385", deployment(), cilium)
    assert finding.verdict is Verdict.UNKNOWN
    assert said("WG385", deployment(), cilium, policy(policyTypes=["Ingress", "Egress"])) == []
