"""Rule of secrets: none is written down, in arguments, variables, headers, ConfigMaps, Secrets or anywhere else.

A finding names the place and the kind, never the value. A Secret with literal data counts: base64 hides nothing, and
what is rendered from a file that is not committed can be allowed on the object, with that reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from serving.codes.lint import SECRETS_HIDDEN
from serving.facts.kube.container import Container
from serving.facts.kube.environment import ASSIGNMENT
from serving.facts.kube.manifests import CLUSTER, Bundle, Document
from serving.facts.kube.shape import as_map, as_maps, as_text, dig, text_map
from serving.facts.kube.written import written_containers
from serving.judge.lint.credential_shapes import asks_for_secret, is_literal, is_secret, looks_random, shape
from serving.judge.lint.rule import Fault, Look, Rule, Severity, held_or

NOT_SEARCHED: Final = frozenset({"CustomResourceDefinition", "SealedSecret", "Secret"})
FILLED_BY_OTHERS: Final = frozenset({"helm.sh/release.v1", "kubernetes.io/service-account-token"})
PUBLIC: Final = frozenset(
    ("ca.crt", "tls.crt", "username", "user", "host", "port", "endpoint", "region", "bucket", "namespace")
)
ASSIGNED: Final = re.compile(
    r"^\s*(?:export\s+)?[\"']?([\w.-]{1,64})[\"']?\s*[:=]\s*[\"']?([^\s\"']{8,400})", re.MULTILINE
)
EXPECTED: Final = "a reference to a Secret"
FROM_SECRET: Final = "valueFrom: {secretKeyRef: {name: ..., key: ...}}"
TO_VARIABLE: Final = {"api-key": "VLLM_API_KEY", "hf-token": "HF_TOKEN"}
PROBES: Final = ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle.postStart", "lifecycle.preStop")


def _hidden(bundle: Bundle) -> Iterator[Look]:
    containers: dict[int, list[Container]] = {}
    for document, container in written_containers(bundle):
        containers.setdefault(id(document), []).append(container)
    for document in bundle.documents:
        if document.source == CLUSTER:
            continue
        yield from held_or(document, list(_faults(document, containers.get(id(document), []))))


def _faults(document: Document, containers: list[Container]) -> Iterator[Fault]:
    if document.kind == "Secret":
        yield from _secret(document)
    if document.kind == "ConfigMap":
        yield from _config_map(document)
    reported: set[str] = set()
    for container in containers:
        for path, what, remedy in (*_variables(container), *_words(container), *_headers(container)):
            who = container.who(document.id)
            reported.add(path)
            yield Fault(document, path, what, EXPECTED, f"{remedy}; replace the value, it is known now", who)
    if document.kind not in NOT_SEARCHED:
        for path, kind in _shapes(document.body):
            if not any(path.startswith(each) for each in reported):
                remedy = "refer to a Secret instead; replace the value, it is known now"
                yield Fault(document, path, f"{kind} is written here", EXPECTED, remedy)


def _variables(container: Container) -> Iterator[tuple[str, str, str]]:
    for number, item in enumerate(as_maps(container.body.get("env"))):
        name, value = as_text(item.get("name")), as_text(item.get("value"))
        kind = shape(value)
        if kind or is_secret(name, value):
            what = f"{name} holds {kind}" if kind else f"{name} has a literal value"
            yield f"{container.path}.env[{number}]", what, f"give {name} by {FROM_SECRET}"


def _words(container: Container) -> Iterator[tuple[str, str, str]]:
    where = f"{container.path}.args" if container.body.get("args") else f"{container.path}.command"
    for option, values in container.options.items():
        if asks_for_secret(option) and any(is_literal(value) for value in values):
            variable = TO_VARIABLE.get(option, "a variable")
            yield where, f"--{option} has a literal value", f"drop --{option} and give {variable} by {FROM_SECRET}"
    for word in container.words:
        assigned = ASSIGNMENT.fullmatch(word)
        if assigned and is_secret(assigned[1], assigned[2]):
            yield where, f"{assigned[1]} is assigned a literal value", f"give {assigned[1]} by {FROM_SECRET}"


def _headers(container: Container) -> Iterator[tuple[str, str, str]]:
    for probe in PROBES:
        for number, header in enumerate(as_maps(dig(container.body, f"{probe}.httpGet.httpHeaders"))):
            name, value = as_text(header.get("name")), as_text(header.get("value"))
            if (name.lower() == "authorization" and is_literal(value)) or is_secret(name, value):
                path = f"{container.path}.{probe}.httpGet.httpHeaders[{number}]"
                yield path, f"header {name} has a literal value", "probe /readyz on the admin port, which needs no key"


def _config_map(document: Document) -> Iterator[Fault]:
    remedy = "move it to a Secret; replace the value, it is known now"
    for key, value in text_map(document.body.get("data")).items():
        if "\n" not in value and is_secret(key, value):
            yield Fault(document, f"data.{key}", f"{key} has a literal value", EXPECTED, remedy)
        elif "\n" in value:
            for name, assigned in ASSIGNED.findall(value):
                if asks_for_secret(name) and is_literal(assigned) and _mixed(assigned):
                    yield Fault(document, f"data.{key}", f"{name} is assigned a literal value", EXPECTED, remedy)
                    break


def _mixed(value: str) -> bool:
    """A word of letters alone is rather a setting's name than a key."""
    return looks_random(value) or bool(re.search(r"[0-9]", value) and re.search(r"[A-Za-z]", value))


def _secret(document: Document) -> Iterator[Fault]:
    if as_text(document.body.get("type")) in FILLED_BY_OTHERS or "sops" in document.body:
        return
    written = {**text_map(document.body.get("data")), **text_map(document.body.get("stringData"))}
    literal = sorted(name for name, value in written.items() if name not in PUBLIC and is_literal(value))
    if literal:
        remedy = "create it outside of these files (External Secrets, Sealed Secrets, SOPS, kubectl create secret)"
        yield Fault(document, "data", f"literal data: {', '.join(literal)}", "no Secret with its data", remedy)


def _shapes(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Texts anywhere in a document that are secrets by their shape: where, and of what kind.

    Walks without recursion, and each container once, so that neither depth nor shared anchors cost anything.
    """
    waiting: list[tuple[object, _Trail]] = [(body, None)]
    seen: set[int] = set()
    while waiting:
        value, trail = waiting.pop()
        if isinstance(value, str):
            kind = shape(value)
            if kind:
                yield _spelt(trail), kind
        elif isinstance(value, Mapping | list) and id(value) not in seen:
            seen.add(id(value))
            items = list(as_map(value).items()) if isinstance(value, Mapping) else list(enumerate(value))
            waiting += [(item, (trail, key)) for key, item in reversed(items) if isinstance(item, str | Mapping | list)]


_Trail = tuple[Any, object] | None


def _spelt(trail: _Trail) -> str:
    keys: list[str] = []
    while trail is not None:
        trail, key = trail
        keys.append(f"[{key}]" if isinstance(key, int) else f".{key}")
    return "".join(reversed(keys)).lstrip(".")[:200]


RULES: Final = (
    Rule(
        SECRETS_HIDDEN,
        Severity.ERROR,
        "Arguments and literal values are read by everybody who may read Pods, by every log of the API server and by "
        "whoever has the repository; a key that was written down once must be replaced.",
        _hidden,
    ),
)
