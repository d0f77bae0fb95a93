"""A container's environment as its process will see it, as far as the documents tell: ConfigMaps, literals, scripts.

What comes from a Secret, from a field or from an object that is not among the documents has no value here.
"""

from __future__ import annotations

import re
from typing import Final

from serving.facts.kube.container import Container
from serving.facts.kube.manifests import Bundle
from serving.facts.kube.shape import as_map, as_maps, as_text, dig, text_map

ASSIGNMENT: Final = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


def environment(bundle: Bundle, namespace: str, container: Container) -> dict[str, str | None]:
    """Variables and their values, None where the value is not to be seen; what counts last wins, as in the kubelet.

    Assignments in a shell's script (`VLLM_LOGGING_LEVEL=DEBUG vllm serve`, `export A=b`) come on top.
    """
    found: dict[str, str | None] = {}
    for source in as_maps(container.body.get("envFrom")):
        data = _config_map(bundle, namespace, dig(source, "configMapRef.name"))
        found |= {as_text(source.get("prefix")) + key: value for key, value in data.items()}
    for item in as_maps(container.body.get("env")):
        name = as_text(item.get("name"))
        given = item.get("valueFrom")
        if given is None:
            found[name] = as_text(item.get("value"))
        else:
            reference = as_map(as_map(given).get("configMapKeyRef"))
            found[name] = _config_map(bundle, namespace, reference.get("name")).get(as_text(reference.get("key")))
    for word in container.words:
        assigned = ASSIGNMENT.fullmatch(word)
        if assigned and assigned[1].isupper():
            found[assigned[1]] = assigned[2]
    return found


def unseen_config_maps(bundle: Bundle, namespace: str, container: Container) -> list[str]:
    """ConfigMaps that it takes all variables from and that are not among the documents."""
    names = [as_text(dig(each, "configMapRef.name")) for each in as_maps(container.body.get("envFrom"))]
    return [name for name in names if name and bundle.find("ConfigMap", name, namespace) is None]


def _config_map(bundle: Bundle, namespace: str, name: object) -> dict[str, str]:
    document = bundle.find("ConfigMap", as_text(name), namespace)
    return text_map(document.body.get("data")) if document else {}
