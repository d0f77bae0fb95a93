"""Rules of what a serving Pod could do if somebody got in: service links, API token, root, a root that can be written.

They speak of Pods that run vLLM alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from serving.codes.lint import NOT_ROOT, ROOT_READ_ONLY, SERVICE_LINKS_OFF, TOKEN_UNMOUNTED
from serving.facts.kube.container import Container
from serving.facts.kube.manifests import Bundle
from serving.facts.kube.pods import Workload
from serving.facts.kube.shape import as_map, as_text, as_texts, as_whole
from serving.facts.kube.workloads import workloads
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, Unclear

HARMLESS: Final = frozenset({"NET_BIND_SERVICE", "IPC_LOCK"})  # IPC_LOCK pins memory for RDMA between nodes
COLLIDING: Final = {"vllm": "VLLM_PORT", "warmgate-admin": "WARMGATE_ADMIN_PORT"}  # Service -> variable of ours


def _links_off(bundle: Bundle) -> Iterator[Look]:
    for workload in workloads(bundle):
        if not workload.runs_vllm:
            continue
        links = workload.spec.get("enableServiceLinks")
        if links is False:
            yield Held(workload.document)
            continue
        state = "true" if links is True else "unset, which means true"
        yield Fault(
            workload.document,
            f"{workload.path}.enableServiceLinks",
            f"enableServiceLinks is {state}{_collision(bundle, workload)}",
            "enableServiceLinks: false",
            "add enableServiceLinks: false beside the containers",
            workload.label,
        )


def _collision(bundle: Bundle, workload: Workload) -> str:
    for name, variable in COLLIDING.items():
        service = bundle.find("Service", name, workload.namespace)
        if service is not None:
            return f", and Service {name} becomes {variable}=tcp://..."
    return ""


def _token_unmounted(bundle: Bundle) -> Iterator[Look]:
    for workload in workloads(bundle):
        if not workload.runs_vllm:
            continue
        path = f"{workload.path}.automountServiceAccountToken"
        mounted = workload.spec.get("automountServiceAccountToken")
        account = as_text(workload.spec.get("serviceAccountName")) or as_text(workload.spec.get("serviceAccount"))
        remedy = "set automountServiceAccountToken: false on the Pod; an engine never asks the Kubernetes API"
        known = bundle.find("ServiceAccount", account, workload.namespace) if account else None
        if mounted is False or (mounted is None and known and known.body.get(path.rpartition(".")[2]) is False):
            yield Held(workload.document)
        elif mounted is None and account and known is None:
            missing = f"unset, and ServiceAccount {account} is not among the documents"
            yield Unclear(workload.document, path, missing, remedy, workload.label)
        else:
            state = "automountServiceAccountToken: true" if mounted else "unset, which mounts the token"
            if mounted is None and known:
                state = f"unset here and not false in ServiceAccount {account}, which mounts the token"
            expected = "automountServiceAccountToken: false"
            yield Fault(workload.document, path, state, expected, remedy, workload.label)


def _not_root(bundle: Bundle) -> Iterator[Look]:
    for workload, container in _engines(bundle):
        problems = [*_root(workload, container), *_gains(container), *_shares(workload)]
        if problems:
            yield Fault(
                workload.document,
                f"{container.path}.securityContext",
                "; ".join(problems),
                "non-root, no way to gain privileges, no capabilities",
                "set runAsNonRoot: true on the Pod, and on the container allowPrivilegeEscalation: false and "
                "capabilities: {drop: [ALL]}",
                container.who(workload.label),
            )
        else:
            yield Held(workload.document)


def _root(workload: Workload, container: Container) -> Iterator[str]:
    pod, own = as_map(workload.spec.get("securityContext")), _context(container)
    user = own.get("runAsUser", pod.get("runAsUser"))
    non_root = own.get("runAsNonRoot", pod.get("runAsNonRoot"))
    if as_whole(user) == 0:
        yield "runAsUser is 0"
    elif non_root is not True and as_whole(user) is None:
        yield "nothing forbids root"


def _gains(container: Container) -> Iterator[str]:
    own = _context(container)
    if own.get("privileged") is True:
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    capabilities = as_map(own.get("capabilities"))
    if "ALL" not in {name.upper() for name in as_texts(capabilities.get("drop"))}:
        yield "capabilities are kept"
    added = {name.upper().removeprefix("CAP_") for name in as_texts(capabilities.get("add"))} - HARMLESS
    if added:
        yield f"adds {', '.join(sorted(added))}"


def _shares(workload: Workload) -> Iterator[str]:
    for member in ("hostPID", "hostIPC"):
        if workload.spec.get(member) is True:
            yield f"{member} is true"


def _read_only(bundle: Bundle) -> Iterator[Look]:
    for workload, container in _engines(bundle):
        value = _context(container).get("readOnlyRootFilesystem")
        if value is True:
            yield Held(workload.document)
            continue
        yield Fault(
            workload.document,
            f"{container.path}.securityContext.readOnlyRootFilesystem",
            "readOnlyRootFilesystem is false" if value is False else "readOnlyRootFilesystem is unset",
            "readOnlyRootFilesystem: true",
            "set readOnlyRootFilesystem: true, and mount an emptyDir at /tmp and wherever the engine keeps its caches",
            container.who(workload.label),
        )


def _engines(bundle: Bundle) -> Iterator[tuple[Workload, Container]]:
    for workload in workloads(bundle):
        for container in workload.all_containers if not workload.missing_runtime else ():
            if container.runs_vllm:
                yield workload, container


def _context(container: Container) -> Mapping[str, Any]:
    return as_map(container.body.get("securityContext"))


RULES: Final = (
    Rule(
        SERVICE_LINKS_OFF,
        Severity.ERROR,
        "Kubernetes turns every Service of the namespace into variables. A Service named vllm makes VLLM_PORT="
        "tcp://..., which vLLM takes for its own setting: the engine dies at its next start, and all that is said is "
        "that its core failed to initialize.",
        _links_off,
    ),
    Rule(
        TOKEN_UNMOUNTED,
        Severity.WARNING,
        "A mounted token lets whoever reads a file in the Pod speak to the Kubernetes API in its name; the engine has "
        "no use for it.",
        _token_unmounted,
    ),
    Rule(
        NOT_ROOT,
        Severity.WARNING,
        "The engine parses what strangers send and may run code that comes with a model. vLLM's own image runs as root "
        "unless the Pod says otherwise, and root in a container with a GPU is close to root on the node.",
        _not_root,
    ),
    Rule(
        ROOT_READ_ONLY,
        Severity.WARNING,
        "What cannot be written cannot be replaced, and nothing that was asked can stay behind in a place nobody looks "
        "at: only the stated volumes are left to check.",
        _read_only,
    ),
)
