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

from serving.facts.kube.image import read_image
from serving.facts.kube.shape import as_map, as_maps, as_text, as_texts, dig, text_map

SHELLS: Final = frozenset({"sh", "bash", "ash", "dash", "zsh"})
SCRIPT: Final = re.compile(r"-[a-z]*c")  # -c, -ec, -euxc
VARIABLE: Final = re.compile(r"\$\$|\$\(([A-Za-z_][\w.-]*)\)")  # what the kubelet replaces in command and args
PUNCTUATION: Final = frozenset(";&|\n")
ENDS: Final = frozenset({";", "&", "&&", "|", "||", ";;"})  # where a shell's command ends
SHORT: Final = {  # vLLM's short options
    "-tp": "tensor-parallel-size",
    "-pp": "pipeline-parallel-size",
    "-dp": "data-parallel-size",
    "-dpl": "data-parallel-size-local",
    "-asc": "api-server-count",
    "-q": "quantization",
}
ENGINE_WORD: Final = re.compile(r"^(?:\S*/)?vllm$|^vllm\.entrypoints\.|(?:^|/)vllm/entrypoints/")
VERBS: Final = frozenset({"serve", "run-batch", "bench", "launch", "chat", "complete", "collect-env"})
BATCH_WORDS: Final = re.compile(r"run[-_]batch|bench|chat|complete|collect-env")
ENGINE_IMAGE: Final = re.compile(r"(?:^|[-_])vllm(?:$|[-_])|^llm-d-(?:aws|cpu|cuda|gb200|hpu|rocm|xpu)\b")
NO_ENGINE_IMAGE: Final = re.compile(r"router|proxy|exporter|operator|dashboard|sim(?:ulator)?$|client|bench|gateway")
RAY_SCRIPT: Final = "multi-node-serving.sh"  # of vLLM's image: joins a cluster of Ray as `leader` or `worker`
AGENT_IMAGE: Final = "warmgate"  # the image whose entrypoint is `warmgate serve --`


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

    def who(self, owner: str) -> str:
        """How a finding names it: by whose it is, and its own name where it has one."""
        return f"{owner} ({self.name})" if self.name else owner

    @property
    def image(self) -> str:
        """The image reference as written."""
        return as_text(self.body.get("image"))

    @property
    def image_name(self) -> str:
        """The last part of the image's repository: `vllm-openai` of `docker.io/vllm/vllm-openai:v0.32.0`."""
        return read_image(self.image).name

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Command and arguments as the process will see them: `$(NAME)` of a literal variable is replaced, and what
        stands behind a shell's `-c` is split into words, with `;` for every end of a line.
        """
        given = [
            VARIABLE.sub(self._replaced, word)
            for word in (*as_texts(self.body.get("command")), *as_texts(self.body.get("args")))
        ]
        words: list[str] = []
        for number, word in enumerate(given):
            before = given[:number]
            script = before and SCRIPT.fullmatch(before[-1]) and any(_base(each) in SHELLS for each in before)
            words += _split(word) if script else [word]
        return tuple(words)

    def _replaced(self, found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else self.env.get(found[1], found[0])

    @cached_property
    def options(self) -> Mapping[str, tuple[str, ...]]:
        """Long options in the words: `max-model-len` -> every value given, the last counts; a switch has `("",)`.

        vLLM takes `--a-b`, `--a_b` and `--a=b` alike, and a few short ones (`-tp 2`).
        """
        found: dict[str, tuple[str, ...]] = {}
        name = ""
        for word in self.words:
            head, equals, value = word.partition("=")
            if head in SHORT or (head.startswith("--") and len(head) > 2):
                name = SHORT.get(head) or head[2:].replace("_", "-")
                found[name] = (*found.get(name, ()), value if equals else "")
                name = "" if equals else name
            elif word == "--" or word in ENDS:
                name = ""
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
        for number, word in enumerate(self.words):
            if _base(word) == "warmgate":
                return self.words[number + 1 : number + 2] == ("serve",)
        return self.image_name == AGENT_IMAGE and not as_texts(self.body.get("command"))

    @cached_property
    def _verb(self) -> str:
        """What its command has vLLM do: `serve`, `run-batch`, the name of an entrypoint; empty where it names none."""
        for number, word in enumerate(self.words):
            after = self.words[number + 1] if number + 1 < len(self.words) else ""
            if _base(word) == "vllm" and after in VERBS:
                return after
            if ENGINE_WORD.search(word) and _base(word) != "vllm":
                return word
        return ""

    @cached_property
    def runs_vllm(self) -> bool:
        """Does vLLM run in it, as a server or not? By its command, else by its image; Ray's workers run it too."""
        if self.under_agent or self._verb:
            return True
        of_vllm = bool(ENGINE_IMAGE.search(self.image_name)) and not NO_ENGINE_IMAGE.search(self.image_name)
        return of_vllm and (not as_texts(self.body.get("command")) or self._joins_ray)

    @cached_property
    def _joins_ray(self) -> bool:
        pairs = list(zip(map(_base, self.words), self.words[1:], strict=False))
        return ("ray", "start") in pairs or (RAY_SCRIPT, "worker") in pairs

    @cached_property
    def serves(self) -> bool:
        """Is it a vLLM server, which answers requests until it is told to stop?"""
        if not self.runs_vllm or self.init or BATCH_WORDS.search(self._verb):
            return False
        return self.under_agent or bool(self._verb) or not self._joins_ray


def _base(word: str) -> str:
    return word.rpartition("/")[2]


def _split(script: str) -> list[str]:
    """The words of a shell script; `;` stands for the end of a line."""
    script = script.replace("\\\n", " ")
    lexer = shlex.shlex(script, posix=True, punctuation_chars="".join(sorted(PUNCTUATION)))
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError:  # an open quote: read it as plainly as it stands
        words = script.split()
    kept = [word.strip("\n") if set(word) <= PUNCTUATION else word for word in _uncommented(words)]
    return [word or ";" for word in kept]


def _uncommented(words: list[str]) -> list[str]:
    kept, comment = [], False
    for word in words:
        comment = (comment or word.startswith("#")) and "\n" not in word
        if not comment:
            kept.append(word)
    return kept
