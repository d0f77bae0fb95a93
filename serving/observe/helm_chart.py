"""Renders Helm charts with Helm's own library, as `helm template` would: offline, with nobody's cluster asked.

Translates Helm's errors, which run over several lines, into one that names the template and the remedy.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from serving.errors import CannotObserve, Refused
from serving.observe.manifest_files import MOST_BYTES, SUFFIXES, innermost, read_file
from serving.observe.manifest_yaml import parse

if TYPE_CHECKING:
    import helm_python

RELEASE: Final = "release-name"  # helm template's own
NAMESPACE: Final = "default"


@dataclass(frozen=True)
class ChartOptions:
    """What a person gave beside a chart; later values win."""

    values: tuple[Path, ...] = ()
    sets: tuple[str, ...] = ()
    release: str | None = None
    namespace: str = NAMESPACE


def render_chart(chart: Path, options: ChartOptions) -> dict[str, str]:
    """The rendered templates: the template's path, below the chart's, to its text. None for a library chart."""
    helm = _helm()
    values = merged_values(options)
    release = RELEASE if options.release is None else options.release
    try:
        helm.validate_release_name(release)
    except helm.HelmError as error:
        raise Refused(f"--release {release}: not a release name: use lower case letters, digits, -") from error
    if not chart.is_dir() and chart.stat().st_size > MOST_BYTES:
        raise Refused(f"{chart}: over {MOST_BYTES >> 20} MiB, which is no chart: name the right file")
    try:
        rendered = _interruptibly(lambda: _render(helm, chart, values, release, options.namespace))
    except helm.HelmIOError as error:
        raise CannotObserve(f"{chart}: cannot be read ({_flat(error)}): check its files' modes") from error
    except helm.HelmError as error:
        if "permission denied" in str(error):
            raise CannotObserve(
                f"{chart}: not all of it may be read ({_flat(error)}): check its files' modes"
            ) from error
        raise _refused(chart, error) from error
    return {
        f"{chart}/{name.partition('/')[2]}": text
        for name, text in sorted(rendered.items())
        if name.endswith(SUFFIXES) and text.strip()
    }


def _render(helm: Any, chart: Path, values: dict[str, Any], release: str, namespace: str) -> dict[str, str]:
    with helm.Chart.load(chart) as loaded:
        metadata = loaded.metadata
        if metadata.get("type") == "library":
            return {}
        _all_there(chart, metadata, loaded.dependencies)
        rendered: dict[str, str] = loaded.render(values, name=release, namespace=namespace)
        return rendered


def _interruptibly(act: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Do it in a thread: no Ctrl-C reaches Python while the main one is in Helm's library."""
    done: list[dict[str, str]] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            done.append(act())
        except Exception as error:  # noqa: BLE001  (raised again by who waits)
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


def merged_values(options: ChartOptions) -> dict[str, Any]:
    """Values files and --set in Helm's order: maps are merged, later wins, null deletes the chart's default."""
    values: dict[str, Any] = {}
    for path in options.values:
        documents = parse(read_file(path), str(path))
        if len(documents) > 1:
            raise Refused(f"{path}:{documents[1].line}: a second document, which Helm does not read: remove it")
        body = documents[0].body if documents else {}
        if not isinstance(body, dict):
            raise Refused(f"{path}: values are a mapping of names to values, and this is none: give a values file")
        values = _merge(values, body)
    helm = _helm() if options.sets else None
    for text in options.sets:
        assert helm is not None
        try:
            said = helm.parse_set_string(text)
        except helm.HelmError as error:
            raise Refused(f"--set {text}: {_flat(error)}: write it like image.tag=v2 or gpu.count=2") from error
        if not said:
            raise Refused(f"--set {text}: says nothing: write it like image.tag=v2 or gpu.count=2")
        values = _merge(values, said, by_index="[" in text.partition("=")[0])
    return values


def _merge(base: dict[str, Any], over: dict[str, Any], by_index: bool = False) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        merged[key] = _merged(merged.get(key), value, by_index)
    return merged


def _merged(old: Any, new: Any, by_index: bool) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return _merge(old, new, by_index)
    if by_index and isinstance(old, list) and isinstance(new, list):  # `a[1]=x` leaves a[0] alone
        longer = max(len(old), len(new))
        pairs = zip(old + [None] * (longer - len(old)), new + [None] * (longer - len(new)), strict=True)
        return [was if now is None else _merged(was, now, by_index) for was, now in pairs]
    return new


def _helm() -> Any:
    try:
        import helm_python
    except ImportError as error:
        raise CannotObserve("charts are rendered by helm-python-sdk: pip install 'warmgate[lint]'") from error
    except Exception as error:  # its native library does not load here
        raise CannotObserve(f"Helm's library does not load here ({_flat(error)}): use `helm template | -`") from error
    return helm_python


def _all_there(chart: Path, metadata: dict[str, Any], loaded: Sequence[dict[str, Any]]) -> None:
    there = {each.get("name") for each in loaded}
    missing = [str(each.get("name")) for each in metadata.get("dependencies") or () if each.get("name") not in there]
    if missing:
        raise Refused(f"{chart}: {', '.join(missing)} missing in its charts/: run `helm dependency build {chart}`")


TEMPLATE_PLACE: Final = re.compile(r"(?P<name>[\w.-]+)/(?P<template>[\w./-]+):(?P<line>\d+)(?::\d+)?")


def _refused(chart: Path, error: helm_python.HelmError) -> Refused:
    text = str(error)
    if "specifications of the schema" in text:
        return Refused(f"{chart}: values do not fit its schema: {_schema_faults(text)}: correct --values or --set")
    place = TEMPLATE_PLACE.search(text)
    if place is not None:
        said = _flat(text.replace(place[0], "", 1)).removeprefix("execution error at (): ").strip(": ")
        said = re.sub(r'^(template: )?executing "[^"]*" |^parse error at \(\): ', "", said)
        return Refused(
            f"{chart}/{place['template']}:{place['line']}: {innermost(said)}: change the values, or the template"
        )
    return Refused(f"{chart}: not a chart that Helm renders: {_flat(error)[:300]}: check Chart.yaml and templates/")


def _schema_faults(text: str) -> str:
    """`- at '/a/b': got string, want integer` of each line as `a.b: got string, want integer`."""
    found = []
    for path, what in re.findall(r"- at '([^']*)': (.*)", text):
        name = path.strip("/").replace("/", ".")
        unknown = re.fullmatch(r"additional properties (.*) not allowed", what)
        if unknown:
            prefix = f"{name}." if name else ""
            keys = re.findall(r"'([^']*)'", unknown[1])
            found.append(f"unknown {', '.join(sorted(prefix + key for key in keys))}")
        else:
            found.append(f"{name}: {what}" if name else what)
    return "; ".join(found)[:600] or _flat(text)[:300]


def _flat(text: object) -> str:
    return " ".join(str(text).split())
