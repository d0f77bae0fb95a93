"""Rules of extended resources: whole amounts, names that exist, MIG profiles that exist, no sharing in production."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from serving.codes.lint import GPU_NOT_SHARED, GPU_RESOURCE_KNOWN, GPU_WHOLE, MIG_PROFILE_KNOWN
from serving.facts.kube import mig
from serving.facts.kube.container import Container
from serving.facts.kube.declared import CLASS
from serving.facts.kube.extended import ABOUT_GPUS, computes, is_extended, is_known, is_shared, meant
from serving.facts.kube.gpus import GPU_RESOURCE, has_claim, selected_values
from serving.facts.kube.manifests import Bundle, Document
from serving.facts.kube.nodes import allocatable, live_nodes, pool, untolerated
from serving.facts.kube.once import once
from serving.facts.kube.pods import Workload
from serving.facts.kube.quantity import quantity, whole
from serving.facts.kube.shape import as_text, text_map
from serving.facts.kube.workloads import workloads
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, Unclear

PRODUCT: Final = "nvidia.com/gpu.product"
NOT_PRODUCTION: Final = frozenset({"development", "batch", "experiment"})


def devices(container: Container) -> dict[str, str]:
    """Extended resources of a container, limits before requests, as written."""
    asked = {**container.requests, **container.limits}
    return {name: amount for name, amount in asked.items() if is_extended(name)}


def asks_for_device(workload: Workload) -> bool:
    """Does it ask for any device to compute with, by whatever name, or by claim?"""
    found = [pair for each in workload.all_containers for pair in devices(each).items()]
    asked = [amount for name, amount in found if computes(name)]
    return has_claim(workload) or any(quantity(amount) != 0 for amount in asked)


def _whole(bundle: Bundle) -> Iterator[Look]:
    for workload in workloads(bundle):
        for container in workload.all_containers:
            for name in devices(container):
                wrong = _amount_fault(container.requests.get(name), container.limits.get(name))
                path = f"{container.path}.resources"
                if wrong:
                    observed, remedy = wrong
                    yield Fault(
                        workload.document,
                        path,
                        f"{name}: {observed}",
                        "a whole limit, and no request but the same",
                        remedy.replace("{name}", name),
                        workload.label,
                    )
                else:
                    yield Held(workload.document)


def _amount_fault(request: str | None, limit: str | None) -> tuple[str, str] | None:
    if limit is None:
        return f"request {request}, no limit", f'write the same under limits: {{name}}: "{request}"'
    if whole(limit) is None or (quantity(limit) or 0) < 0:
        return f"limit {limit or 'empty'}", 'write a whole number: {name}: "1"; parts of a GPU are MIG profiles'
    if request is not None and quantity(request) != quantity(limit):
        return f"request {request}, limit {limit}", f'write one number for both: {{name}}: "{limit}"'
    return None


@once
def provided(bundle: Bundle) -> frozenset[str]:
    """Extended resources that a DeviceClass stands for: the scheduler turns them into claims."""
    classes = bundle.known("DeviceClass")
    return frozenset(as_text(each.spec.get("extendedResourceName")) for each in classes) - {""}


def is_offered(bundle: Bundle, name: str) -> bool:
    """Is the resource known, or offered by a DeviceClass or a live node?"""
    if is_known(name) or name in provided(bundle):
        return True
    return any(allocatable(node, name) > 0 for node in live_nodes(bundle))


def _known(bundle: Bundle) -> Iterator[Look]:
    for workload in workloads(bundle):
        for container in workload.all_containers:
            for name in devices(container):
                yield _spelling(bundle, workload, container, name)
    for quota in bundle.of("ResourceQuota"):
        yield from _quota(quota)


def _spelling(bundle: Bundle, workload: Workload, container: Container, name: str) -> Look:
    if is_offered(bundle, name):
        return Held(workload.document)
    guess, path = meant(name), f"{container.path}.resources"
    if not guess and not live_nodes(bundle):
        return Unclear(
            workload.document,
            path,
            f"whether any node offers {name}",
            "use --cluster, so that the nodes can be asked",
            workload.label,
        )
    nobody = ", which no node offers" if live_nodes(bundle) else ""
    return Fault(
        workload.document,
        path,
        f"{name}{nobody}",
        f"{guess}" if guess else "a resource that a node offers",
        f"write {guess}" if guess else "write a resource that `kubectl get nodes -o yaml` shows under allocatable",
        workload.label,
    )


def _quota(quota: Document) -> Iterator[Look]:
    for key in text_map(quota.spec.get("hard")):
        name = key.removeprefix("requests.").removeprefix("limits.")
        if "/" not in name or not ABOUT_GPUS.search(name) or name.partition("/")[0].endswith("k8s.io"):
            continue
        right = f"requests.{name if is_known(name) else meant(name)}"
        if key == right:
            yield Held(quota)
        else:
            yield Fault(quota, "spec.hard", f"{key}, which limits nothing", right, f"write {right}")


def _profiles(bundle: Bundle) -> Iterator[Look]:
    for workload in workloads(bundle):
        products = selected_values(workload).get(PRODUCT, [])
        for container in workload.all_containers:
            for resource in devices(container):
                name = mig.profile(resource)
                if name is not None:
                    offered = any(allocatable(node, resource) > 0 for node in live_nodes(bundle))
                    wrong = None if offered else _profile_fault(name, products)
                    yield (
                        Held(workload.document)
                        if wrong is None
                        else Fault(
                            workload.document, f"{container.path}.resources", resource, *wrong, who=workload.label
                        )
                    )


def _profile_fault(name: str, products: list[str]) -> tuple[str, str] | None:
    gpus = mig.gpus_with(name)
    if not gpus:
        guess = mig.nearest(name)
        expected = f"a profile of some GPU, spelt as {mig.PREFIX}1g.10gb is"
        if guess:
            return expected, f"write {mig.PREFIX}{guess}, which {_listed(mig.gpus_with(guess))} has"
        return expected, "write a profile that `nvidia-smi mig -lgip` shows for your GPU"
    meant_gpus = [gpu for product in products for gpu in mig.gpus_called(product)]
    if meant_gpus and not set(meant_gpus) & set(gpus):
        names = ", ".join(mig.PROFILES[meant_gpus[0]])
        return f"a profile of {meant_gpus[0]}: {names}", f"write one of them, or select {_listed(gpus)}"
    return None


def _listed(names: list[str]) -> str:
    return " or ".join(names)


def _not_shared(bundle: Bundle) -> Iterator[Look]:
    for workload in workloads(bundle):
        how = _sharing(bundle, workload)
        stated = workload.says(CLASS)
        if stated == "production" and how:
            yield Fault(
                workload.document,
                workload.path,
                how,
                "a GPU or MIG slice of its own",
                "ask for nvidia.com/gpu or a MIG profile on nodes without time-slicing, or set "
                "warmgate/class: development",
                workload.label,
            )
        elif how and stated not in NOT_PRODUCTION and (stated is not None or workload.engines):
            yield Unclear(
                workload.document,
                "metadata.annotations",
                f"{how}; whether that is production" + (f": {CLASS} is {stated!r}" if stated else ""),
                f"annotate {CLASS}: development, batch or experiment, or production",
                workload.label,
            )
        elif how or any(GPU_RESOURCE.fullmatch(name) for each in workload.all_containers for name in devices(each)):
            yield Held(workload.document)


def _sharing(bundle: Bundle, workload: Workload) -> str:
    """How its GPU would be shared with other Pods, or the empty string."""
    for container in workload.all_containers:
        for name in devices(container):
            if is_shared(name):
                return f"{name} is a share of a GPU"
    chosen = selected_values(workload)
    strategy = [each for each in chosen.get("nvidia.com/gpu.sharing-strategy", []) if each != "none"]
    if strategy:
        return f"selects nodes that share GPUs by {strategy[0]}"
    if any(each.endswith("-SHARED") for each in chosen.get(PRODUCT, [])):
        return f"selects {chosen[PRODUCT][0]}, whose GPUs are shared"
    for node in pool(bundle, workload):
        how = node.labels.get("nvidia.com/gpu.sharing-strategy", "none")
        if how != "none" and not untolerated(workload, node):
            return f"node {node.name} fits and shares its GPUs by {how}"
    return ""


RULES: Final = (
    Rule(
        GPU_WHOLE,
        Severity.ERROR,
        "Extended resources cannot be overcommitted or divided: the API server rejects the Pod, and a Deployment shows "
        "it only as a FailedCreate event of its ReplicaSet.",
        _whole,
    ),
    Rule(
        GPU_RESOURCE_KNOWN,
        Severity.ERROR,
        "Any name passes the API server; one that no device plugin advertises leaves the Pod Pending with "
        "`Insufficient <name>`, and a quota on it limits nothing. Quotas know extended resources as requests.<name>.",
        _known,
    ),
    Rule(
        MIG_PROFILE_KNOWN,
        Severity.ERROR,
        "A MIG resource is named after its profile, and each GPU model has its own set: a wrong one is advertised by "
        "no node, ever. `+me` is spelt `.me`.",
        _profiles,
    ),
    Rule(
        GPU_NOT_SHARED,
        Severity.ERROR,
        "Time-slicing isolates neither memory nor faults, MPS no faults: vLLM takes its share of the whole GPU's "
        "memory, so a neighbour that starts first keeps the next Pod from starting, and one that grows kills it.",
        _not_shared,
    ),
)
