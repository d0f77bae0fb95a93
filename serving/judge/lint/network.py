"""Rule of the network: every serving Pod is behind policies that limit who calls it and whom it can call.

Policies add up, so one that allows everything undoes the others. Egress to the whole world counts as open whatever the
port, DNS aside: it is the way that telemetry, prompts and weights would take. A default-deny of the namespace closes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from serving.codes.lint import NETWORK_CLOSED
from serving.facts.kube.manifests import Bundle, Document, near
from serving.facts.kube.pods import Workload
from serving.facts.kube.selectors import policy_selector
from serving.facts.kube.shape import as_map, as_maps, as_text, as_texts, dig
from serving.facts.kube.workloads import pods, workloads
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, Unclear

GROUP: Final = "networking.k8s.io"
OTHER_KINDS: Final = frozenset(  # policies of network plug-ins, which this rule does not read
    {
        "CiliumNetworkPolicy",
        "CiliumClusterwideNetworkPolicy",
        "GlobalNetworkPolicy",
        "AdminNetworkPolicy",
        "BaselineAdminNetworkPolicy",
        "ClusterNetworkPolicy",
    }
)
EVERYWHERE: Final = frozenset({"0.0.0.0/0", "::/0"})
DNS: Final = frozenset({"53", "5353", "dns", "dns-tcp"})
DIRECTIONS: Final = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}


def _closed(bundle: Bundle) -> Iterator[Look]:
    policies: dict[int, list[Document]] = {}
    for policy in bundle.known("NetworkPolicy"):
        for each in (
            pods(bundle).selected(policy_selector(policy.spec), (policy.namespace,)) if policy.group == GROUP else ()
        ):
            policies.setdefault(id(each), []).append(policy)
    told: set[tuple[int, str]] = set()
    for workload in workloads(bundle):
        if workload.finite or not (workload.engines or (workload.role == "worker" and workload.runs_vllm)):
            continue
        selecting = policies.get(id(workload), [])
        open_policy = next(filter(None, (_opening(policy) for policy in selecting)), None)
        missing = [direction for direction in DIRECTIONS if not any(direction in _types(each) for each in selecting)]
        if open_policy:
            if (id(open_policy.document), open_policy.path) not in told:  # once for all Pods that it selects
                yield open_policy
            told.add((id(open_policy.document), open_policy.path))
        elif not missing:
            yield Held(workload.document)
        else:
            yield _uncovered(bundle, workload, bool(selecting), missing)


def _uncovered(bundle: Bundle, workload: Workload, selected: bool, missing: list[str]) -> Look:
    foreign = _foreign(bundle, workload)
    if foreign:
        unread = f"whether {foreign.id} selects it: policies of network plug-ins are not read here"
        remedy = f"add a NetworkPolicy of {GROUP}, or allow this rule on the object and say what closes it"
        return Unclear(workload.document, workload.path, unread, remedy, workload.label)
    if "NetworkPolicy" in bundle.unseen:
        unread = f"the cluster's NetworkPolicies: {bundle.unseen['NetworkPolicy']}"
        return Unclear(workload.document, workload.path, unread, "let the reader list NetworkPolicies", workload.label)
    directions = " and ".join(each.lower() for each in missing)
    observed = f"no NetworkPolicy limits its {directions}" if selected else "no NetworkPolicy selects it"
    labels = ", ".join(
        f"{key}: {value}" for key, value in sorted(workload.labels.items()) if "/" in key or key == "app"
    )
    remedy = (
        "add policyTypes: [Ingress, Egress] with rules for gateway, Prometheus and DNS"
        if selected
        else f"add a NetworkPolicy for both directions whose podSelector matches {labels or 'its labels'}"
    )
    return Fault(workload.document, workload.path, observed, "a policy for both directions", remedy, workload.label)


def _foreign(bundle: Bundle, workload: Workload) -> Document | None:
    for each in bundle.known(*sorted(OTHER_KINDS), "NetworkPolicy"):
        if each.group != GROUP and near(each.namespace, workload.namespace):
            return each
    return None


def _types(policy: Document) -> set[str]:
    """Directions that a policy limits: as stated, else ingress, and egress where it has such rules."""
    stated = set(as_texts(policy.spec.get("policyTypes")))
    return stated or ({"Ingress", "Egress"} if policy.spec.get("egress") else {"Ingress"})


def _opening(policy: Document) -> Fault | None:
    for direction, (member, peers) in DIRECTIONS.items():
        if direction not in _types(policy):
            continue
        for number, rule in enumerate(as_maps(policy.spec.get(member))):
            opened = _opened(rule, peers)
            if opened:
                return Fault(
                    policy,
                    f"spec.{member}[{number}]",
                    f"{member} {'from' if member == 'ingress' else 'to'} {opened}",
                    "peers that are named",
                    _REMEDY[member],
                )
    return None


_REMEDY: Final = {
    "ingress": "name who may call: the gateway's namespace, Prometheus, and the ports they need",
    "egress": "name what the Pods need: DNS and the model store by its own address; weights from pvc:// or oci:// need "
    "no egress at all",
}


def _opened(rule: Mapping[str, Any], peers: str) -> str:
    """What of a rule is open to everybody, or the empty string."""
    ports = as_maps(rule.get("ports"))
    if peers == "to" and ports and all(as_text(port.get("port")) in DNS for port in ports):
        return ""
    spelt = f"on {', '.join(as_text(port.get('port')) or 'every port' for port in ports)}" if ports else "on every port"
    anywhere = not rule.get(peers) or any(
        as_text(dig(peer, "ipBlock.cidr")) in EVERYWHERE for peer in as_maps(rule.get(peers))
    )
    if anywhere and (peers == "to" or not ports):
        return f"any address {spelt}"
    if not ports and any(_every_pod(peer) for peer in as_maps(rule.get(peers))):
        return f"every Pod of the cluster {spelt}"
    return ""


def _every_pod(peer: Mapping[str, Any]) -> bool:
    namespaces, pods = peer.get("namespaceSelector"), peer.get("podSelector")
    return isinstance(namespaces, Mapping) and not namespaces and not as_map(pods)


RULES: Final = (
    Rule(
        NETWORK_CLOSED,
        Severity.WARNING,
        "Without a policy every Pod of the cluster reaches the engine past the gateway, and --api-key does not guard "
        "/invocations, /tokenize or /metrics; and what runs in the Pod can send prompts to any address.",
        _closed,
    ),
)
