"""One container of a Pod as it was written: its words, environment, ports, resources, and the engine in it, if any.

Says what is there, in one form; whether that is good is for judges.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from serving.facts.shape import as_map, as_maps, as_text, as_texts, dig, text_map

SHELLS: Final = frozenset({"sh", "bash", "ash", "dash"})
ENGINE_WORD: Final = re.compile(r"(?:^|[/\s])vllm(?:$|[\s.])")  # vllm serve, /usr/bin/vllm, vllm.entrypoints...
AGENT_IMAGE: Final = "warmgate"  # the image whose entrypoint is `warmgate serve --`
BATCH_WORDS: Final = frozenset({"run-batch", "vllm.entrypoints.openai.run_batch", "bench"})


@dataclass(frozen=True, eq=False)
class Container:
    """A container; `path` is where it stands in its document, `init` tells one that ends before the others start."""

    body: Mapping[str, Any]
    path: str
    init: bool = False

    @property
    def name(self) -> str:
        """Its name, or the empty string."""
        return as_text(self.body.get("name"))

    @property
    def image(self) -> str:
        """The image reference as written."""
        return as_text(self.body.get("image"))

    @property
    def image_name(self) -> str:
        """The last part of the image's repository: `vllm-openai` of `docker.io/vllm/vllm-openai:v0.32.0`."""
        return self.image.partition("@")[0].rpartition("/")[2].partition(":")[0]

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Command and arguments as the process will see them; what stands behind a shell's `-c` is split into words."""
        given = [*as_texts(self.body.get("command")), *as_texts(self.body.get("args"))]
        words: list[str] = []
        for number, word in enumerate(given):
            script = number > 0 and given[number - 1] in ("-c", "-lc", "-ec") and given[0].rpartition("/")[2] in SHELLS
            words += _split(word) if script else [word]
        return tuple(words)

    @cached_property
    def options(self) -> Mapping[str, tuple[str, ...]]:
        """Long options in the words: `max-model-len` -> every value given, the last counts; a switch has `("",)`.

        vLLM takes `--a-b`, `--a_b` and `--a=b` alike.
        """
        found: dict[str, tuple[str, ...]] = {}
        name = ""
        for word in self.words:
            if word.startswith("--") and len(word) > 2:
                name, equals, value = word[2:].partition("=")
                name = name.replace("_", "-")
                found[name] = (*found.get(name, ()), value if equals else "")
                name = "" if equals else name
            elif name:
                found[name] = (*found[name][:-1], word) if found[name][-1] == "" else (*found[name], word)
        return found

    def option(self, name: str) -> str | None:
        """The value that counts for an option; "" for a switch, None where it is not given."""
        values = self.options.get(name)
        return values[-1] if values else None

    @cached_property
    def env(self) -> Mapping[str, str]:
        """Variables with a literal value."""
        return {
            as_text(item.get("name")): as_text(item.get("value"))
            for item in as_maps(self.body.get("env"))
            if "valueFrom" not in item
        }

    @cached_property
    def env_names(self) -> frozenset[str]:
        """Every variable that is set by name, from wherever its value comes."""
        return frozenset(as_text(item.get("name")) for item in as_maps(self.body.get("env")))

    @property
    def requests(self) -> dict[str, str]:
        """Requests as written, by resource."""
        return text_map(dig(self.body, "resources.requests"))

    @property
    def limits(self) -> dict[str, str]:
        """Limits as written, by resource."""
        return text_map(dig(self.body, "resources.limits"))

    @property
    def claims(self) -> tuple[str, ...]:
        """Names of the Pod's resource claims (DRA) that it uses."""
        return tuple(as_text(item.get("name")) for item in as_maps(dig(self.body, "resources.claims")))

    @property
    def ports(self) -> list[Mapping[str, Any]]:
        """Its declared ports."""
        return as_maps(self.body.get("ports"))

    def probe(self, name: str) -> Mapping[str, Any]:
        """`startup`, `readiness` or `liveness` probe; empty where there is none."""
        return as_map(self.body.get(f"{name}Probe"))

    @cached_property
    def under_agent(self) -> bool:
        """Is the readiness agent its first process?"""
        if "warmgate" in self.words:
            after = self.words[self.words.index("warmgate") + 1 :]
            return bool(after) and after[0] == "serve"
        return self.image_name == AGENT_IMAGE and not as_texts(self.body.get("command"))

    @cached_property
    def runs_vllm(self) -> bool:
        """Does vLLM run in it, as a server or not? By its command, else by its image."""
        if self.under_agent or any(ENGINE_WORD.search(word) for word in self.words):
            return True
        return "vllm" in self.image_name and not as_texts(self.body.get("command"))

    @cached_property
    def serves(self) -> bool:
        """Is it a vLLM server, which answers requests until it is told to stop?"""
        return self.runs_vllm and not self.init and not BATCH_WORDS & set(self.words)


def _split(script: str) -> list[str]:
    try:
        return shlex.split(script, comments=True)
    except ValueError:  # an open quote: read it as plainly as it stands
        return script.split()
