"""Reads the YAML of a profile so that nothing in it is lost or mistaken: no key twice, yes and no are words.

YAML lets a second `slos` replace the first, and takes an unquoted yes, no, on and off for true and false. Knows nothing
of profiles.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

SWITCH: Final = "tag:yaml.org,2002:bool"


def read_yaml(text: str) -> Any:
    """What this text says. Raises ValueError, in one line, for what is not YAML or says a key twice."""
    try:
        return yaml.load(text, _Loader)
    except (LookupError, AttributeError) as error:  # what PyYAML's constructors run into
        raise ValueError("not YAML: a value does not fit its tag: leave the tag (!!) out") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(f"not YAML: {' '.join(str(error).split())[:200]}") from error


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        before = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if (key.tag, key.value) in before:
                raise yaml.MarkedYAMLError(problem=f"{key.value} is given twice", problem_mark=key.start_mark)
            before.add((key.tag, key.value))
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != SWITCH]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(SWITCH, re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF"))
