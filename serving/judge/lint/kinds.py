"""Rules of kind: work that ends is a Job, what serves is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from serving.codes.lint import ENDLESS_SERVES, FINITE_ENDS
from serving.facts.kube.container import Container
from serving.facts.kube.manifests import Bundle
from serving.facts.kube.pods import Workload
from serving.facts.kube.shape import as_maps
from serving.facts.kube.workloads import workloads
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity

BATCH: Final = frozenset({"run-batch", "bench", "vllm.entrypoints.openai.run_batch"})
RESTARTED: Final = frozenset({"Deployment", "StatefulSet", "ReplicaSet", "DaemonSet", "InferenceService"})
SCRIPT: Final = re.compile(
    r"(.*[-_])?(train|training|finetune|fine[-_]tune|pretrain|sft|dpo|grpo|lora|quantize|convert|evaluate|eval|benchmark"
    r"|batch|run[-_]batch|batch[-_]inference|download)([-_].*)?\.(py|sh)",
    re.IGNORECASE,
)
SERVING_SCRIPT: Final = re.compile(r"serv|server|api|listen|loop|watch|daemon", re.IGNORECASE)
FINITE_PAIRS: Final = (
    ("huggingface-cli", "download"),
    ("hf", "download"),
    ("accelerate", "launch"),
    ("s3", "sync"),
    ("s3", "cp"),
    ("axolotl", "train"),
    ("llamafactory-cli", "train"),
)
FINITE_WORDS: Final = frozenset({"lm_eval", "lm-eval", "lighteval", "guidellm"})
SERVERS: Final = frozenset(
    {"uvicorn", "gunicorn", "hypercorn", "nginx", "envoy", "tritonserver", "text-generation-launcher", "ollama"}
)
MODULES: Final = ("sglang.launch_server", "http.server", "kserve.", "huggingfaceserver")


def _finite(bundle: Bundle) -> Iterator[Look]:
    for workload in workloads(bundle):
        if workload.kind not in RESTARTED:
            continue
        what = next((found for each in _main(workload) if (found := _ends(each))), "")
        if what:
            yield Fault(
                workload.document,
                workload.path,
                f"{workload.kind} runs {what}, which ends",
                "a Job",
                "write kind: Job (batch/v1) with backoffLimit and restartPolicy: Never",
                workload.label,
            )
        else:
            yield Held(workload.document)


def _main(workload: Workload) -> list[Container]:
    """The containers whose end is the Pod's end: no init containers, no sidecars."""
    number = len(as_maps(workload.spec.get("containers")))
    return list(workload.all_containers[-number:]) if number else []


def _ends(container: Container) -> str:
    """The finite work that a container does, or the empty string where it does none, or waits after it."""
    words = container.words
    if {"infinity", "inf", "tail", "while", "until"} & set(words) or container.serves:
        return ""
    programs = [word.rpartition("/")[2] for word in words]
    batch = next((word for word in words if word in BATCH), "")
    if container.runs_vllm and batch:
        return f"vllm {batch}"
    for head, tail in FINITE_PAIRS:
        if head in programs and tail in programs[programs.index(head) :]:
            return f"{head} {tail}"
    for program in programs:
        if program in FINITE_WORDS or (SCRIPT.fullmatch(program) and not SERVING_SCRIPT.search(program)):
            return program
    return ""


def _endless(bundle: Bundle) -> Iterator[Look]:
    for workload in workloads(bundle):
        if workload.kind not in ("Job", "CronJob") or _ends_by_policy(workload):
            continue
        what = next((found for each in _main(workload) if (found := _serves(each))), "")
        if what:
            yield Fault(
                workload.document,
                workload.path,
                f"{workload.kind} runs {what}, which never ends",
                "a Deployment, or a sidecar beside the work that ends",
                "write kind: Deployment, or make the server an init container with restartPolicy: Always",
                workload.label,
            )
        else:
            yield Held(workload.document)


def _ends_by_policy(workload: Workload) -> bool:
    """A Volcano job of several tasks may end with one of them, and a policy can end it for the others."""
    spec = workload.document.spec
    return bool(as_maps(spec.get("tasks"))) and (len(as_maps(spec.get("tasks"))) > 1 or bool(spec.get("policies")))


def _serves(container: Container) -> str:
    """The server that a container runs in the foreground, or the empty string."""
    words = container.words
    if "&" in words or "timeout" in words[:1]:
        return ""  # a script starts it in the background and goes on
    if container.serves:
        return "a vLLM server"
    programs = [word.rpartition("/")[2] for word in words]
    started = next((each for each in programs[:4] if each in SERVERS), "")
    if started:
        return started
    module = next((word for word in words if word.startswith(MODULES) and "-m" in words), "")
    if module:
        return module
    if "sleep" in programs and {"infinity", "inf"} & set(words):
        return "sleep infinity"
    return ""


RULES: Final = (
    Rule(
        FINITE_ENDS,
        Severity.ERROR,
        "A Deployment starts again what has ended: the work runs over and over, shows as CrashLoopBackOff, and holds "
        "its GPU for ever.",
        _finite,
    ),
    Rule(
        ENDLESS_SERVES,
        Severity.ERROR,
        "A Job waits for its Pods to end: a server in it never completes, is not replaced in a rollout, and is no "
        "longer started after backoffLimit failures.",
        _endless,
    ),
)
