"""Rules of startup and readiness probes: a load may take its time, and ready means that the model answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from serving.codes.lint import ENGINE_TIMEOUT, READINESS_REAL, STARTUP_BUDGET, STARTUP_PROBED
from serving.facts.kube.declared import LOAD
from serving.facts.kube.engine import READY_TIMEOUT, READY_TIMEOUT_DEFAULT_S, Engine, Unknown, engines
from serving.facts.kube.manifests import Bundle
from serving.facts.kube.probe import Probe, port_number, probe
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, Unclear

READY_PATHS: Final = re.compile(r"/readyz|/ready|/startupz|/v2/health/ready|/v2/models/[^/]+/ready")
HOLLOW_PATHS: Final = frozenset(  # answered alike by an engine that hangs, sleeps, drains, or serves another model
    {"/", "/health", "/healthz", "/ping", "/live", "/livez", "/v2/health/live", "/v1/models"}
    | {"/version", "/metrics", "/load", "/docs", "/openapi.json"}
)
HOLLOW_WORDS: Final = re.compile(r"/(health|ping|v1/models|version|metrics)\b|/dev/tcp/|\bnc\s|\bpgrep\b")
READY_WORDS: Final = re.compile(r"/readyz|/ready\b|/startupz|/completions|warmgate verify")
AGENT: Final = "{httpGet: {path: /readyz, port: 8081}, periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 2}"


def _startup(bundle: Bundle) -> Iterator[Look]:
    for each in engines(bundle):
        if probe(each.container, "startup"):
            yield Held(each.workload.document)
            continue
        failures = -(-round((each.load_s or 300) * 1.5) // 10)
        door = "httpGet: {path: /readyz, port: 8081}" if each.under_agent else "httpGet: {path: /health, port: 8000}"
        yield Fault(
            each.workload.document,
            f"{each.container.path}.startupProbe",
            "no startup probe",
            "a startup probe that waits for the load",
            f"add startupProbe: {{{door}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: {failures}}}",
            each.who,
        )


def _budget(bundle: Bundle) -> Iterator[Look]:
    for each in engines(bundle):
        declared = each.workload.says(LOAD)
        if declared is None:
            continue
        startup = probe(each.container, "startup")
        if each.load_s is None:
            yield Fault(
                each.workload.document,
                "metadata.annotations",
                f"{LOAD} is {declared!r:.60}",
                "a number of seconds",
                f'measure a load and write the seconds, for example {LOAD}: "300"',
                each.who,
            )
        elif startup and startup.window_s < each.load_s:
            enough = -(-round(each.load_s * 1.5) // startup.period_s)
            yield Fault(
                each.workload.document,
                startup.path,
                f"{_sum(startup)} for a load of {each.load_s:g} s",
                f"at least {each.load_s:g} s",
                f"set failureThreshold: {enough} (the load time and half as much again)",
                each.who,
            )
        elif startup:
            yield Held(each.workload.document)


def _sum(startup: Probe) -> str:
    delay = f"{startup.delay_s} + " if startup.delay_s else ""
    return f"{delay}{startup.failures} x {startup.period_s} = {startup.window_s} s"


def _timeout(bundle: Bundle) -> Iterator[Look]:
    for each in engines(bundle):
        startup = probe(each.container, "startup")
        needed, story = (startup.window_s, _sum(startup)) if startup else (each.load_s, "the declared load")
        if needed is None:
            continue
        agent = each.agent("startup_timeout") if each.under_agent else None
        default = READY_TIMEOUT_DEFAULT_S if agent is None or isinstance(agent, Unknown) else agent
        bounds = {READY_TIMEOUT: each.variable(READY_TIMEOUT, default)}
        if agent is not None:
            bounds["WARMGATE_STARTUP_TIMEOUT"] = agent
        good = True
        for name, bound in bounds.items():
            unseen = each.takes_unseen_env and name not in each.environment
            path, remedy = f"{each.container.path}.env", f'set {name} to "{needed:g}" or more'
            if isinstance(bound, Unknown) or (bound < needed and unseen):
                why = bound.why if isinstance(bound, Unknown) else f"{name} may be set by envFrom"
                yield Unclear(each.workload.document, path, why, f"{remedy}, here and as a literal", each.who)
            elif bound < needed:
                said = "" if name in each.environment else " by default"
                yield Fault(
                    each.workload.document,
                    path,
                    f"{name} is {bound:g} s{said}",
                    f"at least {needed:g} s ({story})",
                    remedy,
                    each.who,
                )
            else:
                continue
            good = False
        if good:
            yield Held(each.workload.document)


def _readiness(bundle: Bundle) -> Iterator[Look]:
    for each in engines(bundle):
        asked = probe(each.container, "readiness")
        path = f"{each.container.path}.readinessProbe"
        remedy = f"set readinessProbe: {AGENT}"
        if not each.under_agent:
            remedy = f"start vLLM under the agent (warmgate serve -- ...), then {remedy}"
        hollow = _hollow(each, asked)
        if hollow:
            yield Fault(each.workload.document, path, hollow, "GET /readyz of the agent", remedy, each.who)
        elif asked and (asked.way in ("grpc", "none") or (asked.way == "exec" and not READY_WORDS.search(asked.words))):
            missing = f"what an {asked.way} probe proves" if asked.way == "exec" else f"what the {asked.way} probe asks"
            yield Unclear(each.workload.document, path, missing, remedy, each.who)
        else:
            yield Held(each.workload.document)


def _hollow(each: Engine, asked: Probe | None) -> str:
    """What is wrong with a readiness probe, or the empty string."""
    if asked is None:
        return "none, so KServe asks whether a TCP port is open" if each.workload.by_kserve else "no readiness probe"
    if asked.way == "tcp":
        return f"a TCP connection to port {asked.port}"
    if asked.way == "exec":
        weak = HOLLOW_WORDS.search(asked.words)
        return f"exec: {weak[0].strip()}" if weak and not READY_WORDS.search(asked.words) else ""
    if asked.way != "http" or READY_PATHS.fullmatch(asked.http_path):
        return ""
    agents = each.under_agent and each.admin_port is not None
    if asked.http_path in HOLLOW_PATHS or (agents and port_number(each.container, asked) == each.admin_port):
        return f"GET {asked.http_path}"
    return ""


RULES: Final = (
    Rule(
        STARTUP_PROBED,
        Severity.ERROR,
        "A model loads for minutes. Without a startup probe the liveness probe counts from the start and restarts a "
        "Pod that is only loading, over and over; with none at all nothing ends a load that hangs.",
        _startup,
    ),
    Rule(
        STARTUP_BUDGET,
        Severity.ERROR,
        "The kubelet kills the container when the startup probe has failed initialDelaySeconds + failureThreshold x "
        "periodSeconds long; a load that takes longer never ends.",
        _budget,
    ),
    Rule(
        ENGINE_TIMEOUT,
        Severity.ERROR,
        "vLLM gives up on its own engine after VLLM_ENGINE_READY_TIMEOUT_S (600 s by default) and the agent after "
        "WARMGATE_STARTUP_TIMEOUT, whatever the probe would still allow: the shortest of them is the real budget.",
        _timeout,
    ),
    Rule(
        READINESS_REAL,
        Severity.ERROR,
        "vLLM's /health is one boolean that stays 200 while the engine hangs, sleeps or drains, /v1/models is a static "
        "list, and an open port says nothing: traffic reaches a Pod that cannot answer.",
        _readiness,
    ),
)
