"""The Pods of KServe's LLMInferenceService: one template for prefill and decode each, with workers or without.

What a person leaves out comes from a preset (LLMInferenceServiceConfig), which KServe always merges and which is not
merged here: a template whose main container leaves out any of `WHOLE` says by `missing_runtime` that not all is in
sight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from serving.facts.kube.manifests import Document
from serving.facts.kube.pods import Workload
from serving.facts.kube.shape import as_map, as_maps, as_whole, dig, text_map

PART_OF: Final = "llminferenceservice"
WHOLE: Final = ("image", "command", "startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "securityContext")


def llm_workloads(document: Document) -> Iterator[Workload]:
    """Workloads of an LLMInferenceService; one that writes no template still has its main Pods."""
    for side, member in (("", "spec"), ("-prefill", "spec.prefill")):
        whole = dig(document.body, member)
        if member != "spec" and not isinstance(whole, Mapping):
            continue
        nodes = isinstance(as_map(whole).get("worker"), Mapping)
        for template in ("template", "worker") if nodes else ("template",):
            spec = as_map(as_map(whole).get(template))
            role = {"template": "leader" if nodes else "", "worker": "worker"}[template]
            part = f"workload{'-' + role if role else ''}{side}"
            labels = {
                "app.kubernetes.io/name": document.name,
                "app.kubernetes.io/part-of": PART_OF,
                "app.kubernetes.io/component": f"{PART_OF}-{part}",
            }
            if template == "template":
                decode = "decode" if as_map(document.spec).get("prefill") else "both"
                labels |= {"kserve.io/component": "workload", "llm-d.ai/role": "prefill" if side else decode}
            replicas = as_whole(as_map(whole).get("replicas"))
            if replicas is None:
                replicas = as_whole(dig(whole, "scaling.minReplicas"))
            yield Workload(
                document,
                f"{document.name}-kserve{'-mn' if nodes else ''}{side}",
                f"{member}.{template}",
                spec,
                labels | text_map(document.spec.get("labels")),
                text_map(document.spec.get("annotations")),
                replicas=1 if replicas is None else replicas,
                role="worker" if template == "worker" else "main",
                missing_runtime=not any(
                    all(each.get(member) for member in WHOLE) for each in as_maps(spec.get("containers"))
                ),
            )
