"""Rule of weights: each model comes from where all its Pods share it, not over the network into each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from serving.codes.lint import WEIGHTS_SHARED
from serving.facts.kube.container import Container
from serving.facts.kube.declared import for_trying
from serving.facts.kube.environment import environment
from serving.facts.kube.manifests import Bundle
from serving.facts.kube.model_cache import cache_of
from serving.facts.kube.pods import Workload
from serving.facts.kube.predictor import model_of, model_path, storage_uri
from serving.facts.kube.shape import as_maps, as_text, dig
from serving.facts.kube.workloads import workloads
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity
from serving.judge.lint.subjects import is_classical, predictor_of

DOWNLOADED: Final = re.compile(r"(hf|s3|gs|https?|hdfs|webhdfs|modelscope|oci\+fetch)://", re.IGNORECASE)
HUB_ID: Final = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(:[\w.-]+)?")  # `Qwen/Qwen3-0.6B`
CACHE_PATH: Final = re.compile(r"cache|hugging|(^|/)hf|hub|download", re.IGNORECASE)
AGENT_CACHE: Final = "/cache/huggingface"  # HF_HOME of this project's image
CACHE_VARIABLES: Final = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "TRANSFORMERS_CACHE", "XDG_CACHE_HOME")


def _shared(bundle: Bundle) -> Iterator[Look]:
    for workload in workloads(bundle):
        if workload.finite or workload.role == "worker" or is_classical(workload.document):
            continue
        sources = [*_uris(workload), *_own(bundle, workload)]
        faults = (
            [] if _one_for_development(workload) else [each for each in sources if _fetched(bundle, workload, *each)]
        )
        for path, source, into in faults:
            yield Fault(
                workload.document,
                path,
                f"every Pod fetches {source}{f' into {into}' if into else ''}",
                "weights on a shared volume, in an image or in a node's cache",
                "fetch it once into a PersistentVolumeClaim and serve pvc://CLAIM/PATH"
                if workload.by_kserve
                else "fetch it once into a PersistentVolumeClaim and mount that, read-only, at the model's path",
                workload.label,
            )
        if sources and not faults:
            yield Held(workload.document)


def _one_for_development(workload: Workload) -> bool:
    return for_trying(workload) and (workload.replicas or 0) <= 1


def _uris(workload: Workload) -> Iterator[tuple[str, str, str]]:
    """Path, URI and nothing else of every model that KServe fetches or mounts."""
    if workload.kind == "LLMInferenceService" and workload.role == "main":
        yield "spec.model.uri", as_text(dig(workload.document.spec, "model.uri")), ""
    predictor = predictor_of(workload)
    uri = storage_uri(predictor)
    if uri:
        member = f"{model_path(predictor)}.storageUri" if model_of(predictor) is not None else "containers"
        yield f"{workload.path}.{member}", uri, ""
    for each in as_maps(predictor.get("storageUris")):
        yield f"{workload.path}.storageUris", as_text(each.get("uri")), ""


def _own(bundle: Bundle, workload: Workload) -> Iterator[tuple[str, str, str]]:
    """Path, model and volume of every engine whose command names the model, if KServe does not place it."""
    for container in workload.engines:
        model = _model(container)
        if model.startswith("/"):
            volume, kind = _volume(workload, container, model)
            yield f"{container.path}.args", model, f"the emptyDir {volume}" if kind == "emptyDir" else ""
        elif model and not container.option("config"):
            yield (
                f"{container.path}.args",
                model,
                "" if DOWNLOADED.match(model) else _cache(bundle, workload, container),
            )


def _model(container: Container) -> str:
    """What `--model`, or the word after `serve`, names; empty where a variable of unknown value has it."""
    given = container.option("model") or container.option("model-tag") or ""
    words = container.words
    if not given and "serve" in words:
        after = words[words.index("serve") + 1 :]
        given = after[0] if after and not after[0].startswith("-") else ""
    known = given.startswith("/") or DOWNLOADED.match(given) or HUB_ID.fullmatch(given)
    return given if known else ""


def _fetched(bundle: Bundle, workload: Workload, path: str, source: str, into: str) -> bool:
    if source.startswith("/"):
        return bool(into)
    if not path.endswith(".args"):
        return bool(DOWNLOADED.match(source)) and cache_of(bundle, workload.document, source) is None
    return into != "shared"


def _cache(bundle: Bundle, workload: Workload, container: Container) -> str:
    """Where a model of the hub is kept: `shared`, the emptyDir it goes to, or the container's own layer."""
    seen = environment(bundle, workload.namespace, container)
    stated = container.option("download-dir") or next(
        (place for name in CACHE_VARIABLES if (place := seen.get(name))),
        AGENT_CACHE if container.under_agent else "",
    )
    if stated:
        volume, kind = _volume(workload, container, stated)
        return "its own layer" if not kind else f"the emptyDir {volume}" if kind == "emptyDir" else "shared"
    for mount in as_maps(container.body.get("volumeMounts")):
        where = as_text(mount.get("mountPath"))
        if CACHE_PATH.search(where) and _volume(workload, container, where)[1] not in ("", "emptyDir"):
            return "shared"
    return "its own layer"


def _volume(workload: Workload, container: Container, path: str) -> tuple[str, str]:
    """Name and kind of the volume that a path lies on; nothing for the container's own layer."""
    inside = [
        each
        for each in as_maps(container.body.get("volumeMounts"))
        if f"{path.rstrip('/')}/".startswith(f"{as_text(each.get('mountPath')).rstrip('/')}/") and each.get("mountPath")
    ]
    if not inside:
        return "", ""
    name = as_text(max(inside, key=lambda each: len(as_text(each.get("mountPath")))).get("name"))
    volume = next((each for each in as_maps(workload.spec.get("volumes")) if each.get("name") == name), None)
    if volume is None:  # a StatefulSet's claim template
        return name, "persistentVolumeClaim"
    kind = next((key for key in volume if key != "name"), "emptyDir")
    return name, "emptyDir" if kind == "ephemeral" else kind  # both are new with every Pod


RULES: Final = (
    Rule(
        WEIGHTS_SHARED,
        Severity.WARNING,
        "Each new Pod, in a rollout, a scale-out or after a node is lost, waits for the whole download: gigabytes over "
        "the network in the load time, from a place that may throttle or be down just then.",
        _shared,
    ),
)
