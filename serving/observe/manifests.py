"""Turns what a person names into documents: files, directories, charts, kustomizations, stdin.

Renders what has to be rendered, and keeps for each document where it stands. Decides nothing about what a document
says, only that it is one: what is none is refused where a person named it, and noted where it was only found.
"""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from serving.errors import Refused
from serving.facts.kube.manifests import Document
from serving.facts.kube.shape import as_map, as_text
from serving.observe.alternatives import clashes, compatible, notes
from serving.observe.helm_chart import ChartOptions, render_chart
from serving.observe.kustomization import build, kustomization_in, references
from serving.observe.manifest_files import read_file, read_stream, unreadable, walk
from serving.observe.manifest_lines import Lines
from serving.observe.manifest_yaml import TEMPLATE, TEMPLATE_REMEDY, Parsed, parse

STDIN: Final = "-"
PACKED: Final = (".tgz", ".tar.gz")
SKIPPED_SHOWN: Final = 3
DEFAULTS: Final = ChartOptions()


@dataclass(frozen=True)
class Manifests:
    """The documents, and those of them that one cluster can hold at a time: more than one such part where charts or
    kustomizations are alternatives. Sources whose lines count in rendered text. What was found and left out.
    """

    documents: tuple[Document, ...]
    parts: tuple[tuple[Document, ...], ...]
    rendered: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


@dataclass
class _Found:
    """What the arguments lead to, before anything is rendered."""

    texts: list[tuple[str, str, bool]] = field(default_factory=list)  # where, text, named by the person
    charts: list[Path] = field(default_factory=list)
    kustomizations: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_manifests(
    arguments: Sequence[str], options: ChartOptions = DEFAULTS, stdin: BinaryIO | None = None
) -> Manifests:
    """The documents of all arguments together. Values and a release are for the one chart among them.

    Raises Refused for what a person must correct, CannotObserve for what is out of reach. What in a directory holds no
    Kubernetes document is left out and noted.
    """
    found = _Found()
    for argument in arguments:
        _find(argument, found, stdin)
    found = _once(found)
    if (options.values or options.sets or options.release is not None) and len(found.charts) != 1:
        raise Refused(f"--values, --set and --release are for one chart, not {len(found.charts)}: name one")
    documents: list[Document] = []
    rendered: set[str] = set()
    left_out: list[str] = []
    for where, text, named in found.texts:
        parsed = parse(text, where)
        if not named and not any(_is_object(each.body) for each in parsed):
            left_out += [where] if parsed else []
            continue
        documents += _documents(parsed, where, text)
    made: dict[str, list[Document]] = {}
    for maker, source, text in _render(found, options):
        rendered.add(source)
        said = f"{source} (rendered)"
        made.setdefault(maker, []).extend(_documents(parse(text, said), source, text, said))
    alone = tuple(documents)
    documents += [each for fresh in made.values() for each in fresh]
    if not documents:
        what = ", ".join(arguments[:3])
        hint = (
            " (only comments or empty lists)"
            if any(text.strip() for _, text, _ in found.texts) and not left_out
            else ""
        )
        raise Refused(f"no Kubernetes documents in {what}{hint}: name files, a chart or a kustomization that has some")
    clashing = clashes(made)
    together = compatible(clashing) or [[]]
    parts = tuple((*alone, *(each for maker in makers for each in made[maker])) for makers in together)
    told = (*found.notes, *_left_out(left_out), *notes(clashing))
    return Manifests(tuple(documents), parts, frozenset(rendered), told)


def _once(found: _Found) -> _Found:
    """What several arguments lead to is there once: where it was named, as named."""
    texts: dict[Path, tuple[str, str, bool]] = {}
    for number, (where, text, named) in enumerate(found.texts):
        path = Path(where).resolve() if where != "stdin" else Path("-", str(number))
        texts[path] = (where, text, named or (path in texts and texts[path][2]))
    charts = {path.resolve(): path for path in found.charts}
    kustomizations = {path.resolve(): path for path in found.kustomizations}
    return _Found(
        list(texts.values()), [*charts.values()], [*kustomizations.values()], list(dict.fromkeys(found.notes))
    )


def _find(argument: str, found: _Found, stdin: BinaryIO | None) -> None:
    if argument == STDIN:
        if any(where == "stdin" for where, _, _ in found.texts):
            raise Refused("`-` is given twice: stdin can be read once")
        stream = stdin if stdin is not None else sys.stdin.buffer
        if stream.isatty():
            raise Refused("`-` reads stdin, and nothing is piped into it: `helm template ... | warmgate lint -`")
        found.texts.append(("stdin", read_stream(stream), True))
        return
    if not argument:
        raise Refused("an empty PATH, as of a variable that is not set: name a file, a directory, or - for stdin")
    path = Path(argument)
    try:
        status = path.stat()
        names = {each.name for each in path.iterdir()} if path.is_dir() else set()
    except OSError as error:
        raise unreadable(path, error) from error
    if not path.is_dir():
        if path.name.endswith(PACKED) and stat.S_ISREG(status.st_mode):
            found.charts.append(path)
        elif path.name == "Chart.yaml" or kustomization_in([path.name]):
            raise Refused(f"{path}: give the directory that holds it: {path.parent}")
        else:
            found.texts.append((argument, read_file(path), True))
    elif "Chart.yaml" in names:
        found.charts.append(path)
    elif (file := kustomization_in(names)) is not None:
        if references(path / file).component:
            raise Refused(f"{path}: a component, which changes others: give a kustomization that takes it in")
        found.kustomizations.append(path)
    else:
        _find_below(path, found)


def _find_below(root: Path, found: _Found) -> None:
    """Charts and kustomizations are taken as such wherever they stand, with all that they take in."""
    charts: list[Path] = []
    kustomizations: dict[Path, Path] = {}

    def enter(directory: Path, names: list[str]) -> bool:
        if any(chart in directory.parents for chart in charts):
            return False
        if "Chart.yaml" in names:
            charts.append(directory)
            return False
        file = kustomization_in(names)
        if file is not None:
            kustomizations[directory] = directory / file
        return not any(each == directory or each in directory.parents for each in kustomizations)

    files = list(walk(root, enter))
    refers = {directory: references(file) for directory, file in kustomizations.items()}
    taken_in = {path for each in refers.values() for path in each.paths}
    for directory, each in refers.items():
        if directory.resolve() in taken_in:
            continue
        if each.component:
            found.notes.append(f"left out {directory}: a component, which nothing here takes in")
        else:
            found.kustomizations.append(directory)
    found.charts += charts
    found.texts += [(str(file), read_file(file), False) for file in files if file.resolve() not in taken_in]


def _render(found: _Found, options: ChartOptions) -> Iterator[tuple[str, str, str]]:
    """Who made it, the source that its documents name, and the text."""
    for chart in found.charts:
        for source, text in render_chart(chart, options).items():
            yield str(chart), source, text
    for directory in found.kustomizations:
        yield str(directory), str(directory), build(directory)


def _documents(parsed: Sequence[Parsed], source: str, text: str, said: str = "") -> list[Document]:
    """The objects of a text, those of a List one by one; `said` is the source as an error names it."""
    found: list[Document] = []
    objects = [each for one in parsed for each in _flattened(one)]
    lines = Lines(text, [line for _, line in objects])
    for body, line in objects:
        if not isinstance(body, dict) or not ("kind" in body or "apiVersion" in body):
            raise Refused(f"{said or source}:{line}: {_what(body)}")
        found.append(Document(source, len(found), line, body, partial(lines.find, line)))
    return found


def _flattened(parsed: Parsed) -> Iterator[tuple[Any, int]]:
    """A List, as `kubectl get` writes it, is its items. Those of a typed list may leave out what they are."""
    body = as_map(parsed.body)
    kind, items = as_text(body.get("kind")), body.get("items")
    if not kind.endswith("List") or not isinstance(items, list | None):
        yield parsed.body, parsed.line
        return
    of = {"apiVersion": body.get("apiVersion"), "kind": kind.removesuffix("List")} if kind != "List" else {}
    lines = parsed.item_lines
    for number, item in enumerate(items or []):
        line = lines[number] if len(lines) == len(items or []) else parsed.line
        yield {**of, **item} if isinstance(item, dict) else item, line


def _is_object(body: object) -> bool:
    return bool(as_text(as_map(body).get("kind")) and as_text(as_map(body).get("apiVersion")))


def _what(body: object) -> str:
    """Why a document is no Kubernetes object."""
    if isinstance(body, str) and TEMPLATE in body:
        return TEMPLATE_REMEDY
    if not isinstance(body, dict):
        kind = "a list" if isinstance(body, list) else "a bare value"
        return f"{kind}, not a Kubernetes object: write apiVersion, kind and metadata"
    return "no apiVersion and no kind: it is no Kubernetes object: add them, or leave the file out"


def _left_out(files: Sequence[str]) -> Iterator[str]:
    if files:
        more = f" and {len(files) - SKIPPED_SHOWN} more" if len(files) > SKIPPED_SHOWN else ""
        yield f"left out {', '.join(files[:SKIPPED_SHOWN])}{more}: no Kubernetes documents"
