"""What selects Pods meets them, and what KServe would take for its own does not stand on our objects."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helm.pods import Pod, pods
from tests.helm.scenarios import SCENARIOS, Object, only, over, render, scenario

LOADTEST = {"loadtest": {"enabled": True}}


def meets(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """A label selector as the API server reads it, for the operators that the chart uses."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(
        each["operator"] == "In" and labels.get(each["key"]) in each["values"]
        for each in selector.get("matchExpressions", [])
    )


def rules_for(policy: Object, labels: dict[str, str], namespace: str = "llm") -> set[int]:
    """Ports that a Pod of those labels reaches on the endpoint."""
    reached: set[int] = set()
    for rule in policy["spec"]["ingress"]:
        for peer in rule["from"]:
            where = peer.get("namespaceSelector")
            here = meets(where, {"kubernetes.io/metadata.name": namespace}) if where is not None else namespace == "llm"
            if here and meets(peer.get("podSelector", {}), labels):
                reached |= {each["port"] for each in rule.get("ports", [{"port": 0}])}
    return reached


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_selector_meets_every_pod_of_the_endpoint(name: str) -> None:
    objects = render(scenario(name))
    for pod in pods(objects):
        assert meets(only(objects, "PodDisruptionBudget")["spec"]["selector"], pod.labels), pod.owner
        assert meets(only(objects, "NetworkPolicy")["spec"]["podSelector"], pod.labels), pod.owner
        for constraint in pod.spec["topologySpreadConstraints"]:
            assert meets(constraint["labelSelector"], pod.labels), pod.owner


def test_service_and_deployment_meet_the_pods_without_kserve() -> None:
    objects = render(scenario("no-kserve"))
    (pod,) = pods(objects)
    service, deployment = only(objects, "Service"), only(objects, "Deployment")
    assert service["spec"]["selector"].items() <= pod.labels.items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= pod.labels.items()
    named = {each["name"]: each["containerPort"] for each in pod.container["ports"]}
    assert {each["port"]: named[each["targetPort"]] for each in service["spec"]["ports"]} == {80: 8080, 8081: 8081}


@pytest.mark.parametrize("name", ["single-gpu", "no-kserve"])
def test_selectors_do_not_catch_the_pods_of_tests_or_of_another_release(name: str) -> None:
    objects = render(over(scenario(name), LOADTEST))
    selector = only(objects, "PodDisruptionBudget")["spec"]["selector"]
    for other in pods(render(scenario(name), name="llama")):
        assert not meets(selector, other.labels)
    for labels in helpers(objects).values():
        assert not meets(selector, labels)


def helpers(objects: list[Object]) -> dict[str, dict[str, str]]:
    """Labels of the Pods that test the endpoint."""
    found = {each["metadata"]["name"]: each["metadata"]["labels"] for each in objects if each["kind"] == "Pod"}
    found |= {
        each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"]
        for each in objects
        if each["kind"] == "Job"
    }
    return found


@pytest.mark.parametrize("name", ["single-gpu", "no-kserve"])
def test_the_network_policy_lets_in_who_must_come_in_and_nobody_else(name: str) -> None:
    objects = render(over(scenario(name), LOADTEST))
    policy = only(objects, "NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    testers = helpers(objects)
    assert len(testers) == 3  # the verification, the master and the workers
    for labels in testers.values():
        assert rules_for(policy, labels) == {8080, 8081}
    assert rules_for(policy, {}, "envoy-gateway-system") == {8080}
    assert rules_for(policy, {}, "monitoring") == {8080, 8081}
    assert rules_for(policy, {"app": "anything"}, "apps") == set()
    assert rules_for(policy, {"app": "anything"}) == set()
    (other,) = (labels for key, labels in helpers(render(scenario(name), name="llama")).items() if "verify" in key)
    assert rules_for(policy, other) == set()


def test_nothing_leaves_but_dns_and_what_is_named() -> None:
    def peers(values: dict[str, Any]) -> list[dict[str, Any]]:
        return [to for rule in only(render(values), "NetworkPolicy")["spec"]["egress"] for to in rule["to"]]

    dns = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    assert peers({}) == peers(scenario("air-gapped")) == [dns]
    store = {"networkPolicy": {"modelStore": [{"cidr": "10.1.0.0/16", "ports": [443]}]}}
    assert peers(store) == [dns, {"ipBlock": {"cidr": "10.1.0.0/16"}}]


def test_dns_may_be_elsewhere_and_on_the_nodes() -> None:
    dns = {"namespace": "openshift-dns", "podLabels": {"app": "dns"}, "port": 5353, "cidrs": ["169.254.20.10/32"]}
    (rule,) = only(render({"networkPolicy": {"dns": dns}}), "NetworkPolicy")["spec"]["egress"]
    assert {"ipBlock": {"cidr": "169.254.20.10/32"}} in rule["to"]
    assert rule["ports"] == [{"port": 5353, "protocol": "UDP"}, {"port": 5353, "protocol": "TCP"}]


def test_head_and_workers_reach_each_other_and_others_do_not() -> None:
    objects = render(scenario("multi-node"))
    policy = only(objects, "NetworkPolicy")
    head, worker = pods(objects)
    for pod in (head, worker):
        assert 0 in rules_for(policy, pod.labels)  # no list of ports: all of them
        assert any(
            meets(to["podSelector"], pod.labels)
            for rule in policy["spec"]["egress"]
            if "ports" not in rule
            for to in rule["to"]
        )
    single = render(scenario("single-gpu"))
    (pod,) = pods(single)
    assert rules_for(only(single, "NetworkPolicy"), pod.labels) == set()


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_object_of_ours_carries_the_labels_by_which_kserve_cleans_up(name: str) -> None:
    """KServe deletes Deployments and Services that carry both, whoever owns them."""
    for each in render(over(scenario(name), LOADTEST)):
        assert "serving.kserve.io/inferenceservice" not in each["metadata"].get("labels", {})


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_ends_up_in_a_pod_names_no_version_of_the_chart(name: str) -> None:
    def versioned(pod: Pod) -> set[str]:
        return {"helm.sh/chart", "app.kubernetes.io/version"} & set(pod.labels | pod.annotations)

    for pod in pods(render(scenario(name))):
        assert not versioned(pod)


def test_ports_have_no_name_that_kserve_takes_for_grpc() -> None:
    for pod in pods(render({})):
        assert not [each for each in pod.container["ports"] if "grpc" in each["name"] or "h2c" in each["name"]]
