"""YAML is read as kubectl reads it. Where kubectl is installed, it is the reference."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest
import yaml

from serving.errors import CannotObserve, Refused
from serving.observe import manifest_yaml
from serving.observe.kubectl import find_kubectl
from serving.observe.manifest_yaml import MOST_ALIASED, parse

HEAD = "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: x}\n"

SCALARS: dict[str, Any] = {
    **dict.fromkeys(("yes", "Yes", "on", "ON", "y", "Y", "true", "TRUE"), True),
    **dict.fromkeys(("no", "off", "Off", "n", "N", "false"), False),
    **dict.fromkeys(("~", "null", "NULL"), None),
    "yES": "yES",
    "0777": 511,
    "0o777": 511,
    "0_7": 7,
    "-017": -15,
    "00": 0,
    "08": 8,
    "0o8": "0o8",
    "0b11": 3,
    "-0b11": -3,
    "0B11": 3,
    "0x1F": 31,
    "-0x1": -1,
    "0x": "0x",
    "0x_1": 1,
    "+1": 1,
    "-0": 0,
    "1_000": 1000,
    "_1": "_1",
    "1__0": 10,
    "9223372036854775807": 9223372036854775807,
    "9223372036854775808": 9.223372036854776e18,
    "12345678901234567890123": 1.2345678901234568e22,
    "1.0": 1,
    "0.1": 0.1,
    "1.": 1,
    ".5": 0.5,
    "-.5": -0.5,
    "._5": "._5",
    "1e3": 1000,
    "1e+3": 1000,
    "100e-2": 1,
    "1e": "1e",
    "1e400": "1e400",
    "685.230_15e+03": 685230.15,
    "1:30": "1:30",
    "190:20:30": "190:20:30",
    "2026-01-01": "2026-01-01",
    "2026-01-01T10:00:00Z": "2026-01-01T10:00:00Z",
    "=": "=",
    "<<": "<<",
    '"yes"': "yes",
    "'1'": "1",
    "!!str 3": "3",
    '!!int "3"': 3,
    "!!float 3": 3,
    "!!bool yes": True,
    "!!binary aGk=": "hi",
    "!!set {a}": {"a": None},
    "!!omap [a: 1]": [{"a": 1}],
    "!foo 3": "3",
    "!foo {a: 1}": {"a": 1},
    "!!python/object:os.system 3": "3",
}
MAPPINGS = {
    "boolean-keys": "{yes: 1, n: 2}",
    "number-keys": "{1: a, 1.5: b, 0x10: c}",
    "date-key": "{2026-01-01: a}",
    "merge": "\n  a: &x {p: 1, q: 2}\n  b: {<<: *x, p: 5}\n",
    "merge-after": "\n  a: &x {p: 1, q: 2}\n  b:\n    p: 7\n    <<: *x\n",
    "merge-list": "\n  a: &x {p: 1}\n  b: {<<: [*x, {p: 8, z: 1}]}\n",
    "quoted-merge": '{"<<": 1}',
    "aliases": "\n  a: &x [1, {b: c}]\n  b: [*x, *x]\n",
    "alias-as-key": "{a: &x b, *x : 1}",
    "block-text": "|\n  one\n  two\n",
    "folded-text": ">-\n  one\n  two\n",
}


def whole(digits: str) -> int | float:
    """kubectl prints floats that are whole without a point; only those beyond 64 bits cannot have been integers."""
    return int(digits) if abs(int(digits)) < 2**63 else float(digits)


def data(text: str) -> Any:
    [document] = parse(text, "x.yaml")
    return document.body["data"]


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Any:
    try:
        program = find_kubectl()
    except CannotObserve:
        pytest.skip("kubectl is not installed (extra lint)")
    directory = tmp_path_factory.mktemp("kubectl")
    config = directory / "config"
    config.write_text("apiVersion: v1\nkind: Config\n")

    def read(text: str) -> list[Any]:
        file = directory / "x.yaml"
        file.write_text(text)
        options = ["--kubeconfig", str(config), "annotate", "--local", "a=b", "-o", "json", "-f", str(file)]
        out = subprocess.run([program, *options], capture_output=True, check=True, text=True, timeout=20).stdout
        found, place, decoder = [], 0, json.JSONDecoder(parse_int=whole)
        while place < len(out.rstrip()):
            body, place = decoder.raw_decode(out, place)
            place += len(out[place:]) - len(out[place:].lstrip())
            found.append(body)
        return found

    return read


@pytest.mark.parametrize("text", SCALARS)
def test_a_scalar_means_what_it_means_to_kubernetes(text: str) -> None:
    value = data(f"{HEAD}data: {text}\n")
    assert (value, type(value)) == (SCALARS[text], type(SCALARS[text]))


def test_the_table_of_scalars_is_what_kubectl_says(kubectl: Any) -> None:
    lines = "".join(f"  k{number}: {text}\n" for number, text in enumerate(SCALARS))
    [body] = kubectl(f"{HEAD}data:\n{lines}")
    said = {text: body["data"][f"k{number}"] for number, text in enumerate(SCALARS)}
    assert said == SCALARS


@pytest.mark.parametrize("text", MAPPINGS.values(), ids=MAPPINGS)
def test_a_mapping_is_read_as_kubectl_reads_it(text: str, kubectl: Any) -> None:
    written = f"{HEAD}data: {text}\n"
    [body] = kubectl(written)
    assert data(written) == body["data"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            f"# first\n---\n---\n{HEAD}---\n# only a comment\n--- # said\n{HEAD}---\n", id="empty-ones-between"
        ),
        pytest.param(HEAD.replace("\n", "\r\n") + "---\r\n" + HEAD.replace("\n", "\r\n"), id="windows-line-ends"),
        pytest.param(f"{HEAD}...\n---\n{HEAD}", id="end-marker"),
        pytest.param(
            '{"apiVersion": "e.org/v1", "kind": "T", "metadata": {"name": "\\ud83d\\ude00"}}\n' * 2, id="json-objects"
        ),
        pytest.param('{\n\t"apiVersion": "e.org/v1",\n\t"kind": "T", "metadata": {"name": "a\\/b"}}', id="json-tabs"),
    ],
)
def test_documents_are_told_apart_as_kubectl_does(text: str, kubectl: Any) -> None:
    ours = [each.body for each in parse(text, "x.yaml")]
    for each in ours:
        each["metadata"]["annotations"] = {"a": "b"}
    assert ours == kubectl(text)


def test_each_document_and_each_item_knows_its_line() -> None:
    text = f"# one\n{HEAD}---\n\n{HEAD}---\nkind: List\nitems:\n- a: 1\n  b: {{}}\n-\n  - 7\n- {{c: 3}}\n"
    found = parse(text, "x.yaml")
    assert [each.line for each in found] == [2, 7, 11]
    assert found[2].item_lines == [13, 16, 17]


WRONG = {
    "tab": ("a:\n\t- 1\n", "x.yaml:2: not YAML: ", "spaces, not with a tab"),
    "twice": ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", "x.yaml:5: c is given twice", "remove one"),
    "number-and-text-key": ('{1: a, "1": b}', "x.yaml:1: 1 is given twice", "remove one"),
    "json-twice": ('{"a": "\\ud83d\\ude00",\n "b": 1,\n "b": 2}', "x.yaml:1: ", "b is given twice"),
    "colon": ("a: b: c\n", "x.yaml:1: not YAML: mapping values", "quote a value"),
    "bracket": ("a: [1,\nb: 2\n", "x.yaml:3: not YAML: ", "brackets"),
    "quote": ('a: "b\n', "x.yaml:2: not YAML: ", "quotes"),
    "alias-inside-itself": ("a: &a\n  - *a\n", "x.yaml:2: *a stands inside", "write that part out"),
    "no-anchor": ("a: 1\nb: *c\n", "x.yaml:2: *c stands for nothing", "&c"),
    "glob": ("a: *.example.org\n", "x.yaml:1: ", "quote"),
    "nan": ("a: 1\nb: .nan\n", "x.yaml:2: .nan is no number", "quote it"),
    "infinity": ("b: -.inf\n", "x.yaml:1: -.inf is no number", "quote it"),
    "null-key": ("~: 1\n", "x.yaml:1: null is no key", "quote it"),
    "list-key": ("? [a]\n: 1\n", "x.yaml:1: a mapping or list stands as a key", "quote it"),
    "tag-that-lies": ("a: !!int b\n", "x.yaml:1: 'b' is not of its tag !!int", "leave the tag out"),
    "binary": ("a: !!binary é\n", "x.yaml:1: !!binary: not base64", "binaryData"),
    "merge-of-text": ("a: 1\nb: {<<: c}\n", "x.yaml:2: <<: takes a mapping", "write its keys out"),
    "template-value": ("a:\n  b: {{ .Values.b }}\n", "x.yaml:2: ", "give the chart's directory"),
    "template-block": ("{{- if .Values.a }}\na: 1\n{{- end }}\n", "x.yaml:", "give the chart's directory"),
    "after-the-end": ("a: 1\n...\nb: 2\n", "x.yaml:3: not YAML: ", "`---`"),
    "control-character": ("a: 1\nb: \x07\n", "x.yaml:2: not YAML: ", "check"),
    "deep-flow": ("a: " + "[" * 5000 + "]" * 5000, "x.yaml:1: nested deeper", "flat"),
    "not-json": ('{"a": tru]', "x.json:1: not JSON: ", "correct it"),
    "deep-json": ('{"x": "\\ud83d\\ude00", "a": ' + "[" * 400 + "]" * 400 + "}", "x.json:1: nested deeper", "flat"),
    "deeper-json": ('{"x": "\\ud83d\\ude00", "a": ' + "[" * 9999 + "]" * 9999 + "}", "x.json:1: ", "deep"),
    "json-nan": ('{"x": "\\ud83d\\ude00", "a": NaN}', "x.json:1: ", "NaN is no JSON number"),
}


@pytest.mark.parametrize(("text", "begins", "remedy"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_in_one_line_with_its_place_and_remedy(text: str, begins: str, remedy: str) -> None:
    with pytest.raises(Refused) as refused:
        parse(text, begins.partition(":")[0])
    said = str(refused.value)
    assert said.startswith(begins)
    assert remedy in said
    assert "\n" not in said
    assert len(said) < 400


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


def test_aliases_that_stand_for_billions_of_nodes_are_refused_at_once() -> None:
    began = time.perf_counter()
    with pytest.raises(Refused, match=f"more than {MOST_ALIASED:,} nodes"):
        parse(bomb(30), "x.yaml")
    assert time.perf_counter() - began < 2


def test_aliases_that_stand_for_little_are_read() -> None:
    assert parse(bomb(3), "x.yaml")[0].body["a1"][8] == ["x"] * 9


def test_a_merge_bomb_is_refused_too() -> None:
    keys = ", ".join(f"k{n}: {n}" for n in range(2000))
    with pytest.raises(Refused, match="aliases stand for"):
        parse(f"a: &a {{{keys}}}\n" + "".join(f"b{n}: {{<<: *a}}\n" for n in range(1000)), "x.yaml")


@pytest.mark.parametrize("text", [*WRONG["tab"][:1], *WRONG["twice"][:1], *WRONG["template-value"][:1]])
def test_without_libyaml_the_same_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(yaml, "CSafeLoader")
    with pytest.raises(Refused):
        parse(text, "x.yaml")


def test_without_libyaml_the_same_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{HEAD}data:\n" + "".join(f"  k{number}: {text}\n" for number, text in enumerate(SCALARS))
    fast = parse(text, "x.yaml")
    monkeypatch.delattr(yaml, "CSafeLoader")
    assert type(manifest_yaml._parser(text)) is yaml.SafeLoader
    assert parse(text, "x.yaml") == fast


@pytest.mark.parametrize("text", ["", "# only\n", "---\n---\n", "--- # x\n"])
def test_a_text_without_documents_has_none(text: str) -> None:
    assert parse(text, "x.yaml") == []


def test_it_is_about_as_fast_as_libyaml_itself() -> None:
    if not hasattr(yaml, "CSafeLoader"):
        pytest.skip("PyYAML was built without libyaml")
    container = "    - name: a\n      image: b:1\n      args: [--port=8080]\n      env: [{name: C, value: 'd e'}]\n"
    text = f"{HEAD}spec:\n  containers:\n{container * 5}---\n" * 2000
    began = time.perf_counter()
    parse(text, "x.yaml")
    ours = time.perf_counter() - began
    began = time.perf_counter()
    list(yaml.load_all(text, yaml.CSafeLoader))
    assert ours < 1.5 * (time.perf_counter() - began)
