"""Names of extended resources: which are known, which look misspelt. A table with a few questions; decides nothing."""

from __future__ import annotations

import difflib
import re
from typing import Final

from serving.facts.kube.gpus import GPU_RESOURCE

NATIVE: Final = re.compile(r"cpu|memory|ephemeral-storage|storage|pods|hugepages-.+|attachable-volumes-.+")
KNOWN: Final = re.compile(
    r"""
    nvidia\.com/(gpucores|gpumem|gpumem-percentage|priority|pgpu|hostdev|GRID_.+)   # HAMi, KubeVirt, network operator
    | amd\.com/gpu(-.+)? | gpu\.intel\.com/.+ | habana\.ai/gaudi | google\.com/tpu
    | aws\.amazon\.com/neuron(core|device)?(\.shared)?
    | volcano\.sh/(vgpu|gpu)-(number|memory|memory-percentage|cores) | tencent\.com/vcuda-(core|memory)
    | aliyun\.com/gpu-(mem|count|core\.percentage) | huawei\.com/Ascend.+ | devices\.kubevirt\.io/(kvm|tun|vhost-net)
    | rebellions\.ai/ATOM | qualcomm\.com/qaic | [a-z.]*openshift\.io/.+ | intel\.com/(qat|sgx|dsa|iaa).*
    """,
    re.VERBOSE,
)
NETWORK: Final = re.compile(
    r"rdma/.+|[a-z0-9.-]+/(rdma|hca|roce)([_-].+)?|vpc\.amazonaws\.com/(efa|pod-eni|PrivateIPv4Address)"
)
SHARES: Final = re.compile(  # a part of a GPU whose memory and faults are not kept apart from the other parts
    r".+\.shared|nvidia\.com/gpu(cores|mem|mem-percentage)|aliyun\.com/gpu-.+|tencent\.com/vcuda-.+"
    r"|volcano\.sh/(vgpu|gpu)-.+"
)
SPELLINGS: Final = ("nvidia.com/gpu", "nvidia.com/gpu.shared", "amd.com/gpu", "gpu.intel.com/i915", "habana.ai/gaudi")
ABOUT_GPUS: Final = re.compile(r"gpu|gaudi|nvidia\.com/mig|nvidia\.com/[abhlv]\d", re.IGNORECASE)


def is_extended(name: str) -> bool:
    """Is it a device plugin's resource, and none of Kubernetes' own?"""
    domain, slash, _ = name.partition("/")
    return not NATIVE.fullmatch(name) and not (slash and domain.endswith("kubernetes.io"))


def is_known(name: str) -> bool:
    """Does some device plugin advertise this name?"""
    return bool(GPU_RESOURCE.fullmatch(name) or KNOWN.fullmatch(name) or NETWORK.fullmatch(name))


def computes(name: str) -> bool:
    """Is it something to compute with, and no way into a network?"""
    return not NETWORK.fullmatch(name)


def meant(name: str) -> str:
    """The resource that a name probably misspells, or the empty string where it may be a device of its own."""
    close = difflib.get_close_matches(name.lower(), SPELLINGS, 1, 0.85)
    if close:
        return close[0]
    if "/" not in name or ABOUT_GPUS.search(name):
        return next((each for each in SPELLINGS if each.partition("/")[0] == name.partition("/")[0]), SPELLINGS[0])
    return ""


def is_shared(name: str) -> bool:
    """Is it a turn on a GPU, or a part of one that nothing isolates?"""
    return bool(SHARES.fullmatch(name))
