from __future__ import annotations

from typing import Any

import pytest

from serving.verdict import Verdict
from tests.judge.lint.asked import asked, deployment, said

DROPPED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
NGINX = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "llm"},
    "spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:1.29"}]}}},
}


@pytest.mark.parametrize("code", ["WG380", "WG384", "WG385", "WG386", "WG387", "WG388"])
def test_a_pod_without_vllm_is_nobodys_business(code: str):
    assert not asked(code, NGINX)


@pytest.mark.parametrize(
    ("pod", "own", "observed"),
    [
        pytest.param({"runAsNonRoot": True}, {}, "", id="the Pod's word counts for its containers"),
        pytest.param({"runAsUser": 10001}, {}, "", id="another user than root"),
        pytest.param({}, {"runAsUser": 1000}, "", id="another user by the container"),
        pytest.param({"runAsUser": 0}, {"runAsUser": 1000}, "", id="the container's word counts before the Pod's"),
        pytest.param({"runAsNonRoot": True}, {"runAsNonRoot": False}, "nothing forbids root", id="taken back"),
        pytest.param({"runAsUser": 1000}, {"runAsUser": 0}, "runAsUser is 0", id="root after all"),
        pytest.param({"runAsNonRoot": True}, {"capabilities": {"drop": ["all"]}}, "", id="all in small letters"),
        pytest.param(
            {"runAsNonRoot": True}, {"capabilities": {"drop": ["ALL"], "add": ["IPC_LOCK"]}}, "", id="memory for RDMA"
        ),
        pytest.param(
            {"runAsNonRoot": True}, {"capabilities": {"drop": ["NET_RAW"]}}, "capabilities are kept", id="one dropped"
        ),
        pytest.param(
            {"runAsNonRoot": True},
            {"capabilities": {"drop": ["ALL"], "add": ["CAP_SYS_ADMIN"]}},
            "adds SYS_ADMIN",
            id="one added",
        ),
    ],
)
def test_what_forbids_root_may_stand_on_pod_or_container(pod: dict[str, Any], own: dict[str, Any], observed: str):
    document = deployment({"securityContext": {**DROPPED, **own}}, securityContext=pod)
    assert [each.observed for each in said("WG387", document)] == ([observed] if observed else [])


def test_all_that_is_wrong_with_one_container_is_one_finding():
    (finding,) = said("WG387", deployment({"securityContext": {"privileged": True}}, securityContext={"runAsUser": 0}))
    assert finding.observed == (
        "runAsUser is 0; privileged; allowPrivilegeEscalation is not false; capabilities are kept"
    )


@pytest.mark.parametrize(
    ("pod", "account", "verdict"),
    [
        pytest.param(False, None, None, id="the Pod says no, whatever the account says"),
        pytest.param(None, False, None, id="the account says no, and the Pod nothing"),
        pytest.param(True, False, Verdict.FAIL, id="the Pod says yes against its account"),
        pytest.param(None, True, Verdict.FAIL, id="the account says yes"),
        pytest.param(None, "absent", Verdict.UNKNOWN, id="the account is not among the documents"),
    ],
)
def test_the_pods_word_on_its_token_counts_before_the_accounts(pod: Any, account: Any, verdict: Verdict | None):
    documents = [deployment(automountServiceAccountToken=pod)]
    if account != "absent":
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "qwen", "namespace": "llm"}}
        documents.append(body | ({} if account is None else {"automountServiceAccountToken": account}))
    assert [each.verdict for each in said("WG386", *documents)] == ([verdict] if verdict else [])


def test_a_service_that_would_break_the_engine_is_named():
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "vllm", "namespace": "llm"}, "spec": {}}
    (alone,) = said("WG380", deployment(enableServiceLinks=None))
    (beside,) = said("WG380", deployment(enableServiceLinks=None), service)
    assert "VLLM_PORT" not in alone.observed
    assert "Service vllm becomes VLLM_PORT=tcp://" in beside.observed
