"""Rules of the end of a Pod: it serves on until nobody sends any more, lets streams end, and has the time for both."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import ceil
from typing import Final

from serving.codes.lint import ENDPOINTS_LET_GO, GRACE_SUFFICES, STREAMS_DRAINED
from serving.facts.kube.engine import SLEEP, TEARDOWN_S, Engine, Unknown, engines
from serving.facts.kube.manifests import Bundle
from serving.facts.kube.shape import as_seconds, as_texts, dig
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, Unclear

ENDS: Final = re.compile(r"\bray stop\b|\bp?kill(all)?\b(?!.*\b(sleep|while|until|wait)\b)", re.DOTALL)  # at once
LEAST_PAUSE_S: Final = 3  # EndpointSlices, kube-proxy and gateways have followed by then, in a cluster at rest


def _grace(bundle: Bundle) -> Iterator[Look]:
    for each in engines(bundle):
        parts: list[tuple[float | Unknown, str]] = [(each.pre_stop_s, "preStop")]
        if each.under_agent:
            parts += [(each.agent("lame_duck"), "lame duck"), (each.agent("drain_timeout"), "drain")]
        else:
            parts.append((_drain(each), "drain"))
        unknown = [part.why for part, _ in parts if isinstance(part, Unknown)]
        path = f"{each.workload.path}.terminationGracePeriodSeconds"
        if unknown:
            remedy = "write it as a number of seconds, so that the grace period can be compared"
            yield Unclear(each.workload.document, path, unknown[0], remedy, each.who)
            continue
        counted = [(part, name) for part, name in parts if isinstance(part, int | float) and part]
        needed = ceil(sum(part for part, _ in counted) + TEARDOWN_S)
        if each.workload.grace_s >= needed:
            yield Held(each.workload.document)
            continue
        given = "" if "terminationGracePeriodSeconds" in each.workload.spec else " by default"
        story = " + ".join(f"{name} {part:g}" for part, name in [*counted, (TEARDOWN_S, "teardown")])
        yield Fault(
            each.workload.document,
            path,
            f"{each.workload.grace_s} s{given}",
            f"at least {needed} s ({story})",
            f"set terminationGracePeriodSeconds: {needed}",
            each.who,
        )


def _drain(each: Engine) -> float | Unknown:
    """Seconds that vLLM itself waits for running streams; 0 ends them at once."""
    given = each.container.option("shutdown-timeout")
    if given is None and "config" in each.container.options:
        return Unknown("--shutdown-timeout may stand in vLLM's --config file")
    if given is None:
        return 0.0
    number = as_seconds(given)
    return Unknown(f"--shutdown-timeout is {given!r:.60}") if number is None else number


def _streams(bundle: Bundle) -> Iterator[Look]:
    for each in engines(bundle):
        path = f"{each.container.path}.args"
        drain = _drain(each)
        asked = each.agent("drain_timeout") if each.under_agent else None
        given = "shutdown-timeout" in each.container.options
        if isinstance(drain, Unknown) and (given or asked is None):
            remedy = "give --shutdown-timeout as a number in args"
            yield Unclear(each.workload.document, path, drain.why, remedy, each.who)
        elif asked is not None:
            if given and not isinstance(asked, Unknown) and not isinstance(drain, Unknown) and drain != asked:
                yield Fault(
                    each.workload.document,
                    path,
                    f"--shutdown-timeout {drain:g} beside a drain of {asked:g} s",
                    "one number",
                    "drop --shutdown-timeout: the agent passes WARMGATE_DRAIN_TIMEOUT on, and refuses one that differs",
                    each.who,
                )
            else:
                yield Held(each.workload.document)
        elif not isinstance(drain, Unknown) and drain > 0:
            yield Held(each.workload.document)
        else:
            yield Fault(
                each.workload.document,
                path,
                f"--shutdown-timeout {'is 0' if given else 'is not given, so it is 0'}",
                "a drain of some seconds",
                "add --shutdown-timeout=60, or start vLLM under the agent (warmgate serve -- ...)",
                each.who,
            )


def _pause(bundle: Bundle) -> Iterator[Look]:
    for each in engines(bundle):
        lame = each.agent("lame_duck") if each.under_agent else 0.0
        path = f"{each.container.path}.lifecycle.preStop"
        if isinstance(lame, Unknown):
            yield Unclear(each.workload.document, path, lame.why, "write it as a number of seconds", each.who)
        elif each.pre_stop_s + lame >= LEAST_PAUSE_S or _waits(each):
            yield Held(each.workload.document)
        else:
            remedy = (
                'set WARMGATE_LAME_DUCK to "10"'
                if each.under_agent
                else "add lifecycle: {preStop: {sleep: {seconds: 10}}}, or start vLLM under the agent"
            )
            pause = each.pre_stop_s + lame
            observed = f"a pause of {pause:g} s" if pause or each.under_agent else "no preStop pause and no lame duck"
            if each.pre_stop and not pause:
                observed = "a preStop hook that does not wait"
            yield Fault(each.workload.document, path, observed, f"at least {LEAST_PAUSE_S} s", remedy, each.who)


def _waits(each: Engine) -> bool:
    """Does a preStop hook wait for something that we cannot see? One that only sleeps does not, nor one that kills."""
    asked = " ".join(as_texts(dig(each.pre_stop, "exec.command")))
    return bool(each.pre_stop) and "sleep" not in each.pre_stop and not SLEEP.search(asked) and not ENDS.search(asked)


RULES: Final = (
    Rule(
        GRACE_SUFFICES,
        Severity.ERROR,
        "The kubelet sends SIGKILL when the grace period is over, preStop included, and every stream that still runs "
        "breaks off. Kubernetes and KServe give 30 s unless told otherwise.",
        _grace,
    ),
    Rule(
        STREAMS_DRAINED,
        Severity.ERROR,
        "vLLM's default is to kill its engine at SIGTERM: running streams get neither another byte nor an ending, and "
        "clients wait for their own timeout. Only a shutdown timeout above 0 lets them finish.",
        _streams,
    ),
    Rule(
        ENDPOINTS_LET_GO,
        Severity.ERROR,
        "Gateways and kube-proxy learn of a Pod's end while it gets SIGTERM, not before. A server that stops taking "
        "requests at once refuses those that are still sent to it.",
        _pause,
    ),
)
