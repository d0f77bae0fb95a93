"""Rule of KServe's silent image rewrite: a runtime that KServe knows changes the image by what the limits say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from serving.codes.lint import IMAGE_NOT_REWRITTEN
from serving.facts.kube.container import Container
from serving.facts.kube.gpus import gpu_limits, has_claim
from serving.facts.kube.image import read_image
from serving.facts.kube.manifests import Bundle
from serving.facts.kube.pods import Workload
from serving.facts.kube.predictor import SERVING, model_of
from serving.facts.kube.shape import as_map, as_text, dig, text_map
from serving.facts.kube.workloads import workloads
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity
from serving.judge.lint.subjects import predictor_of

SERVER_TYPE: Final = "serving.kserve.io/server-type"
BY_NAME: Final = {"kserve-vllmserver": "vllmserver", "kserve-huggingfaceserver": "huggingfaceserver"}


def _kept(bundle: Bundle) -> Iterator[Look]:
    for workload in workloads(bundle):
        if model_of(predictor_of(workload)) is None:
            continue
        rewritten = _rewritten(workload)
        if rewritten is None:
            yield Held(workload.document)
            continue
        image, becomes = rewritten
        yield Fault(
            workload.document,
            f"{workload.path}.model",
            f"{image} becomes {becomes}: {_why(workload)}",
            "the image that was written",
            'set limits {nvidia.com/gpu: "1"}, or use a runtime of your own without a server-type annotation'
            if "-cpu" in becomes
            else "pin the image by digest, or write its -gpu tag",
            workload.label,
        )


def _rewritten(workload: Workload) -> tuple[str, str] | None:
    """The image and what KServe makes of it, or None where it keeps it."""
    server = _server_type(workload)
    container = next((each for each in workload.containers if each.name == SERVING), None)
    model = as_map(model_of(predictor_of(workload)))
    if not server or container is None or model.get("runtimeVersion"):
        return None
    preset = "vllm/vllm-openai:latest" if workload.missing_runtime and server == "vllmserver" else ""
    written = container.image or preset
    image = read_image(written)
    if not image.tag or image.digest:
        return None
    if server == "vllmserver" and not _gpu_enabled(container) and not image.name.endswith("-cpu"):
        return written, f"{image.repository}-cpu:{image.tag}"
    if server == image.name == "huggingfaceserver":
        return None  # KServe's own, whose GPU build is what a GPU wants
    if server == "huggingfaceserver" and _gpu_enabled(container) and not image.tag.endswith("-gpu"):
        return written, f"{written}-gpu"
    return None


def _server_type(workload: Workload) -> str:
    if workload.runtime is None:
        return BY_NAME.get(as_text(as_map(model_of(predictor_of(workload))).get("runtime")), "")
    annotations = text_map(dig(workload.runtime.body, "spec.annotations")) | workload.runtime.annotations
    return annotations.get(SERVER_TYPE, BY_NAME.get(workload.runtime.name, ""))


def _gpu_enabled(container: Container) -> bool:
    """What KServe takes for a GPU: these two in the limits. Shared GPUs and claims are none to it."""
    return any(name == "nvidia.com/gpu" or name.startswith("nvidia.com/mig") for name in container.limits)


def _why(workload: Workload) -> str:
    if has_claim(workload):
        return "a device claim is no GPU to KServe"
    others = [name for name in gpu_limits(workload) if name.endswith(".shared")]
    if others:
        return f"{others[0]} is no GPU to KServe"
    return "its server-type reads the limits"


RULES: Final = (
    Rule(
        IMAGE_NOT_REWRITTEN,
        Severity.ERROR,
        "For a runtime of server-type vllmserver without nvidia.com/gpu or nvidia.com/mig-* in the limits, KServe "
        "swaps in the -cpu build: the Pod becomes Ready on CPU, and nothing reports an error.",
        _kept,
    ),
)
