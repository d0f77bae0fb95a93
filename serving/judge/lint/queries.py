"""The rule of autoscaling queries: every vLLM metric in them exists, with every label that they ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from serving.codes.lint import QUERY_MATCHES
from serving.facts.kube.manifests import Bundle
from serving.facts.kube.shape import as_maps, as_text, as_texts
from serving.facts.kube.workloads import workloads
from serving.facts.promql import Matcher, Selector, selectors
from serving.facts.vllm_metrics import METRICS, RENAMED, SCRAPED, exists, labels_of, of_vllm
from serving.judge.lint.rule import Fault, Held, Look, Rule, Severity, Unclear
from serving.judge.lint.scaling import scaled

MONITORS: Final = ("PodMonitor", "ServiceMonitor")
LIKE_MODEL: Final = re.compile(r"model|served", re.IGNORECASE)


@dataclass(frozen=True)
class Added:
    """Labels that scrapes among the documents add; `known` is False where they may add more, or none is there."""

    names: frozenset[str]
    known: bool


def _matches(bundle: Bundle) -> Iterator[Look]:
    added = _added(bundle)
    seen = set()
    for workload, scaler in scaled(bundle):
        for signal in scaler.signals:
            key = (id(scaler.document), signal.path)
            if signal.kind != "query" or key in seen:
                continue
            seen.add(key)
            found = [each for each in selectors(signal.text) if of_vllm(each.metric)]
            looks = [look for each in found for look in _look(each, added)]
            for wrong, expected, remedy in looks:
                if expected:
                    yield Fault(scaler.document, signal.path, wrong, expected, remedy, workload.label)
                else:
                    yield Unclear(scaler.document, signal.path, wrong, remedy, workload.label)
            if found and not looks:
                yield Held(scaler.document)


def _look(selector: Selector, added: Added) -> Iterator[tuple[str, str, str]]:
    """What is wrong with a selector: observed, expected (empty where one cannot tell), remedy."""
    if not exists(selector.metric):
        better = _better(selector.metric)
        yield f"metric {selector.metric}", "a metric of vLLM 0.32", f"use {better}" if better else "see vLLM's /metrics"
        return
    labels = labels_of(selector.metric)
    if labels is None:
        return
    for matcher in selector.matchers:
        if matcher.label in labels | SCRAPED | added.names or not matcher.needs_label:
            continue
        yield from _unknown(selector.metric, matcher, labels, added)


def _unknown(metric: str, matcher: Matcher, labels: frozenset[str], added: Added) -> Iterator[tuple[str, str, str]]:
    close = (
        "model_name" if LIKE_MODEL.search(matcher.label) else next(iter(get_close_matches(matcher.label, labels)), "")
    )
    written = f"{matcher.label}{matcher.sign}{matcher.value!r}"
    if close and close in labels:
        yield f"{metric} with label {written}", "a label that it has", f"write {close}{matcher.sign}{matcher.value!r}"
    elif added.known:
        expected = f"one of {', '.join(sorted(labels))}, or one that a scrape adds"
        yield (
            f"{metric} with label {written}",
            expected,
            f"drop {matcher.label}, or add it by a relabeling of the scrape",
        )
    else:
        yield (
            f"where the label {matcher.label} comes from",
            "",
            "pass the PodMonitor that adds it too, or drop the label",
        )


def _better(metric: str) -> str:
    if metric in RENAMED:
        return RENAMED[metric]
    for suffix in ("_total", "_bucket"):  # a counter or histogram under its bare name
        if metric + suffix in METRICS:
            return metric + suffix
    return next(iter(get_close_matches(metric, METRICS)), "")


def _added(bundle: Bundle) -> Added:
    names: set[str] = set()
    known = False
    ours = {id(each.document) for each in workloads(bundle) if each.runs_vllm}
    for monitor in bundle.known(*MONITORS):
        known = bool(ours)
        for member in ("podTargetLabels", "targetLabels"):
            names |= {re.sub(r"[^a-zA-Z0-9_]", "_", each) for each in as_texts(monitor.spec.get(member))}
        for member in ("podMetricsEndpoints", "endpoints"):
            for endpoint in as_maps(monitor.spec.get(member)):
                for rule in (*as_maps(endpoint.get("relabelings")), *as_maps(endpoint.get("metricRelabelings"))):
                    if as_text(rule.get("action")).lower() == "labelmap":
                        return Added(frozenset(names), known=False)
                    names.add(as_text(rule.get("targetLabel")))
    return Added(frozenset(names), known)


RULES: Final = (
    Rule(
        QUERY_MATCHES,
        Severity.ERROR,
        "A query that matches no series yields nothing, and KEDA takes nothing for no load: it never scales, and no "
        "error says so. vLLM's series carry model_name and engine, not model.",
        _matches,
    ),
)
