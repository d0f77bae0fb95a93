"""Rules of privacy: what writes prompts or answers where they do not belong, and what the engine tells its makers.

The switches are those of vLLM 0.32 and KServe 0.20. Traces and metrics hold counts and times, and are left alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from serving.codes.lint import PROMPTS_PRIVATE, TELEMETRY_OFF
from serving.facts.kube.container import Container
from serving.facts.kube.environment import environment, unseen_config_maps
from serving.facts.kube.manifests import Bundle, Document
from serving.facts.kube.predictor import RUNTIMES, components
from serving.facts.kube.shape import as_count, as_map, as_maps, as_text
from serving.facts.kube.workloads import workloads
from serving.facts.kube.written import written_containers
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, Unclear
from serving.judge.lint.subjects import is_classical

SWITCHES: Final = {  # option -> what it writes
    "enable-log-requests": "sampling parameters of every request in the log, its prompt at DEBUG",
    "enable-log-outputs": "every answer in the log",
    "log-error-stack": "stack traces of failed requests in the log",
}
DISK_CONNECTORS: Final = frozenset(
    {
        "ExampleConnector",
        "SharedStorageConnector",
        "ExampleHiddenStatesConnector",
        "HF3FSKVConnector",
        "MooncakeStoreConnector",
    }
)
LMCACHE_SINKS: Final = ("LMCACHE_LOCAL_DISK", "LMCACHE_REMOTE_URL")
MEMORY_TIERS: Final = frozenset({"p2p", "example"})
NOT_TRACKED: Final = ("VLLM_NO_USAGE_STATS", "VLLM_DO_NOT_TRACK", "DO_NOT_TRACK")


@dataclass(frozen=True)
class _Subject:
    """A container, whose it is, and the environment that its process will see."""

    document: Document
    who: str
    container: Container
    environment: Mapping[str, str | None]
    unseen: list[str]


def _subjects(bundle: Bundle) -> Iterator[_Subject]:
    """Containers of all Pods, and those of runtimes that no InferenceService among the documents uses."""
    used = set()
    for workload in workloads(bundle):
        used.add(id(workload.runtime))
        for container in workload.all_containers:
            yield _subject(bundle, workload.document, workload.label, container)
    for document, container in written_containers(bundle):
        if document.kind in RUNTIMES and id(document) not in used:
            yield _subject(bundle, document, document.id, container)


def _subject(bundle: Bundle, document: Document, who: str, container: Container) -> _Subject:
    seen = environment(bundle, document.namespace, container)
    unseen = unseen_config_maps(bundle, document.namespace, container)
    return _Subject(document, container.who(who), container, seen, unseen)


def _private(bundle: Bundle) -> Iterator[Look]:
    for subject in _subjects(bundle):
        leaks = list(_leaks(subject))
        for path, observed, remedy in leaks:
            expected = "off: prompts and answers stay between caller and engine"
            where = f"{subject.container.path}.{path}"
            yield Fault(subject.document, where, observed, expected, remedy, subject.who)
        if not leaks and subject.container.runs_vllm:
            yield Held(subject.document)
    for document in bundle.of("InferenceService"):
        if not is_classical(document):
            yield from _loggers(document)


def _leaks(subject: _Subject) -> Iterator[tuple[str, str, str]]:
    """Where in the container, what is written where, and what to change."""
    container = subject.container
    for option, writes in SWITCHES.items():
        if switched_on(container, option):
            yield "args", f"--{option}: {writes}", f"remove --{option}"
    for variable, writes in _variables(subject.environment):
        yield "env", f"{variable} is set: {writes}", f"remove {variable}"
    if _publishes(container):
        observed = "--kv-events-config publishes the token ids of every prompt"
        yield "args", observed, "remove --kv-events-config, or allow this rule with the subscriber that needs it"
    for kept in _offloads(container):
        yield "args", kept, "keep the KV cache in memory: leave out the tier or connector that stores it elsewhere"
    if container.runs_vllm and container.body.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        observed = "FallbackToLogsOnError copies the end of the log into the Pod's status"
        yield "terminationMessagePolicy", observed, "remove terminationMessagePolicy; its default is File"


def switched_on(container: Container, option: str) -> bool:
    """Is a switch on after all words were read? `--a`, `--a_b`, `--no-a`; the last one counts."""
    on = False
    for word in container.words:
        name = word.partition("=")[0].replace("_", "-")
        if name in (f"--{option}", f"--no-{option}"):
            on = name == f"--{option}"
    return on


def _variables(seen: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """Variables that write prompts, read as vLLM reads them: `true` for one, a number that is not 0 for others."""
    if (seen.get("VLLM_LOGGING_LEVEL") or "").upper() == "DEBUG":
        yield "VLLM_LOGGING_LEVEL=DEBUG", "prompts in the log"
    if (seen.get("VLLM_DEBUG_LOG_API_SERVER_RESPONSE") or "").lower() == "true":
        yield "VLLM_DEBUG_LOG_API_SERVER_RESPONSE", "every answer in the log"
    if _number(seen.get("VLLM_SERVER_DEV_MODE")):
        yield "VLLM_SERVER_DEV_MODE", "stack traces of requests in the log, and routes that run code in the engine"
    if _number(seen.get("VLLM_ENABLE_RESPONSES_API_STORE")):
        yield "VLLM_ENABLE_RESPONSES_API_STORE", "whole conversations are kept in memory without an end"
    for name in LMCACHE_SINKS:
        if seen.get(name):
            yield name, "the KV cache of prompts is stored outside of the engine"


def _number(value: str | None) -> bool:
    return bool(as_count((value or "").strip().lstrip("+-")))


def _publishes(container: Container) -> bool:
    given = _json(container, "kv-events-config")
    enabled = given.get("enable_kv_cache_events", container.option("kv-events-config.enable-kv-cache-events"))
    publisher = given.get("publisher", container.option("kv-events-config.publisher"))
    return (enabled is True or as_text(enabled).lower() == "true") and publisher != "null"


def _offloads(container: Container) -> Iterator[str]:
    given = _json(container, "kv-transfer-config")
    extra = as_map(given.get("kv_connector_extra_config"))
    several = [as_text(each.get("kv_connector")) for each in as_maps(extra.get("connectors"))]
    connector = as_text(given.get("kv_connector")) or container.option("kv-transfer-config.kv-connector") or ""
    for name in sorted(DISK_CONNECTORS.intersection([connector, *several])):
        yield f"{name} stores the KV cache of prompts on disk or in a store"
    for tier in as_maps(extra.get("secondary_tiers")):
        if as_text(tier.get("type")) not in MEMORY_TIERS:
            yield f"an offloading tier of type {as_text(tier.get('type'))} stores the KV cache of prompts"


def _json(container: Container, option: str) -> Mapping[str, Any]:
    try:
        return as_map(json.loads(container.option(option) or "{}"))
    except (ValueError, RecursionError):
        return {}


def _loggers(document: Document) -> Iterator[Look]:
    for path, component in components(document):
        logger = component.get("logger")
        if isinstance(logger, Mapping):
            yield _logger(document, f"{path}.logger", logger)


def _logger(document: Document, path: str, logger: Mapping[str, Any]) -> Fault:
    mode = as_text(logger.get("mode")) or "all"
    what = {"request": "every request", "response": "every answer"}.get(mode, "every request and answer")
    observed = f"KServe's logger posts {what} as it is"
    return Fault(document, path, observed, "no logger", f"remove {path}; measure with metrics and traces instead")


def _telemetry(bundle: Bundle) -> Iterator[Look]:
    for subject in _subjects(bundle):
        if not subject.container.runs_vllm or "bench" in subject.container.words:
            continue
        seen = subject.environment
        path = f"{subject.container.path}.env"
        remedy = 'set VLLM_NO_USAGE_STATS to "1" in the container\'s env'
        if _untracked(seen) or (subject.container.under_agent and "VLLM_NO_USAGE_STATS" not in seen):
            yield Held(subject.document)  # the agent turns it off by itself where nobody said anything
        elif any(name in seen and seen[name] is None for name in NOT_TRACKED):
            yield Unclear(subject.document, path, "the value is not among the documents", remedy, subject.who)
        elif subject.unseen:
            missing = f"ConfigMap {subject.unseen[0]}, which it takes variables from"
            yield Unclear(subject.document, path, missing, remedy, subject.who)
        else:
            given = [f"{name}={seen[name]}" for name in NOT_TRACKED if seen.get(name) is not None]
            observed = f"{', '.join(given)}: only 1 turns it off" if given else "usage telemetry is on, as by default"
            yield Fault(subject.document, path, observed, "VLLM_NO_USAGE_STATS=1", remedy, subject.who)


def _untracked(seen: Mapping[str, str | None]) -> bool:
    track = seen.get("VLLM_DO_NOT_TRACK") or seen.get("DO_NOT_TRACK")
    return seen.get("VLLM_NO_USAGE_STATS") == "1" or track == "1"


RULES: Final = (
    Rule(
        PROMPTS_PRIVATE,
        Severity.ERROR,
        "Logs, events and stores are read by more people, and kept for longer, than the callers were told. What "
        "carries prompts or answers there cannot be taken back.",
        _private,
    ),
    Rule(
        TELEMETRY_OFF,
        Severity.WARNING,
        "vLLM reports hardware, model architecture and settings to its makers at every start and then every ten "
        "minutes unless told otherwise: egress that nobody asked for. It reads the value 1 alone, not true.",
        _telemetry,
    ),
)
