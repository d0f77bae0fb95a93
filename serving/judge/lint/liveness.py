"""Rules of liveness probes: none ends an engine that is merely busy, or still loading."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from serving.codes.lint import LIVENESS_PATIENT, LIVENESS_WAITS
from serving.facts.kube.engine import Engine, engines
from serving.facts.kube.manifests import Bundle
from serving.facts.kube.probe import Probe, port_number, probe
from serving.judge.lint.probes import HOLLOW_WORDS, READY_PATHS
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity

BUSY_S: Final = 30  # silence of a busy API server that must be forgiven; an engine that died exits by itself within 5 s
SLOW_S: Final = 5  # an answer of a saturated API server takes longer than a second, seldom longer than this
OFTEN_S: Final = 60  # with a shorter timeout every look of a whole minute must fail


def _patient(bundle: Bundle) -> Iterator[Look]:
    for each in engines(bundle):
        asked = probe(each.container, "liveness")
        if not asked:
            continue
        remedy = (
            "set livenessProbe: {httpGet: {path: /livez, port: 8081}, periodSeconds: 10, timeoutSeconds: 5, "
            "failureThreshold: 6}"
            if each.under_agent
            else f"set timeoutSeconds: {SLOW_S}, periodSeconds: 10, failureThreshold: 6, or run it under the agent"
        )
        observed = ""
        if asked.way == "http" and READY_PATHS.fullmatch(asked.http_path):
            observed = f"GET {asked.http_path}, which fails while the model sleeps or a stall may still pass"
        elif _asks_engine(each, asked) and _hasty(asked):
            number = "1 look" if asked.failures == 1 else f"{asked.failures} looks"
            looks = f"{number} of {asked.timeout_s} s in {asked.patience_s} s"
            observed = f"{looks}, asked of the engine itself"
        if observed:
            expected = f"/livez, or 3 looks over {OFTEN_S} s, or over {BUSY_S} s with timeoutSeconds: {SLOW_S}"
            yield Fault(each.workload.document, asked.path, observed, expected, remedy, each.who)
        else:
            yield Held(each.workload.document)


def _hasty(asked: Probe) -> bool:
    enough = BUSY_S if asked.timeout_s >= SLOW_S else OFTEN_S
    return asked.patience_s < enough or asked.failures < 3


def _asks_engine(each: Engine, asked: Probe) -> bool:
    """Is it vLLM's own API server that must answer? The kernel accepts TCP for it, however busy it is."""
    if asked.way == "exec":
        return bool(HOLLOW_WORDS.search(asked.words))
    if asked.way != "http":
        return False
    number = port_number(each.container, asked)
    return number is not None and number != each.admin_port and each.port in (number, None)


def _waits(bundle: Bundle) -> Iterator[Look]:
    for each in engines(bundle):
        asked = probe(each.container, "liveness")
        if not asked or each.load_s is None:
            continue
        if _held_back(each) or _answers_early(each, asked) or asked.window_s >= each.load_s:
            yield Held(each.workload.document)
            continue
        startup = probe(each.container, "startup")
        why = "a startup probe that passes at once" if startup else "no startup probe"
        yield Fault(
            each.workload.document,
            asked.path,
            f"fails {asked.window_s} s after the start, with {why}",
            f"not before {each.load_s:g} s",
            "let a startup probe wait for the load: GET /readyz of the agent, or /health of vLLM",
            each.who,
        )


def _held_back(each: Engine) -> bool:
    """Is there a startup probe that does not pass before the engine has loaded?"""
    startup = probe(each.container, "startup")
    return startup is not None and not _answers_early(each, startup)


def _answers_early(each: Engine, asked: Probe) -> bool:
    """Does the agent answer it from its first second on? vLLM's own port refuses everything until it has loaded."""
    at_agent = each.under_agent and port_number(each.container, asked) == each.admin_port
    return at_agent and (asked.way == "tcp" or not READY_PATHS.fullmatch(asked.http_path))


RULES: Final = (
    Rule(
        LIVENESS_PATIENT,
        Severity.ERROR,
        "vLLM answers /health from the event loop that also tokenises and streams: under load an answer takes more "
        "than a second, and a restart then costs a whole load just when capacity is short. An engine that died exits "
        "by itself within 5 s, so patience costs little.",
        _patient,
    ),
    Rule(
        LIVENESS_WAITS,
        Severity.ERROR,
        "vLLM refuses connections until the model is loaded. A liveness probe that no startup probe holds back kills "
        "the Pod in the middle of every load.",
        _waits,
    ),
)
