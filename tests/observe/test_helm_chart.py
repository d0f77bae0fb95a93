"""Charts are rendered as `helm template` renders them, and every error of Helm's becomes one line with its remedy."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import pytest

from serving.errors import CannotObserve, Refused
from serving.observe.helm_chart import ChartOptions, merged_values, render_chart

helm = pytest.importorskip("helm_python", reason="needs the extra lint")

TEMPLATE = """\
{{- if .Values.boom }}{{ fail "you must not boom" }}{{ end }}
{{- if .Values.need }}{{ required "needs it" .Values.it }}{{ end }}
{{- if .Values.deep }}{{ .Values.no.such.thing }}{{ end }}
{{- if .Values.include }}{{ include "nobody" . }}{{ end }}
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}, namespace: {{ .Release.Namespace }}}
data: {values: {{ .Values | toJson | quote }}}
"""
SCHEMA = """{"type": "object", "additionalProperties": false, "properties": {"gpu": {"type": "object",
 "additionalProperties": false, "properties": {"count": {"type": "integer"}}}, "image": {"enum": ["a", "b"]}}}"""


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    root = tmp_path / "mychart"
    (root / "templates").mkdir(parents=True)
    (root / "Chart.yaml").write_text("apiVersion: v2\nname: inner\nversion: 0.1.0\n")
    (root / "values.yaml").write_text("a: {b: 1, c: 2}\nlist: [1, 2, 3]\n")
    (root / "templates" / "one.yaml").write_text(TEMPLATE)
    (root / "templates" / "_helpers.tpl").write_text('{{ define "x" }}x{{ end }}')
    (root / "templates" / "empty.yaml").write_text("{{ if false }}a{{ end }}\n")
    (root / "templates" / "NOTES.txt").write_text("Hello")
    return root


def test_a_rendered_document_names_its_template_below_the_chart_that_was_given(chart: Path) -> None:
    rendered = render_chart(chart, ChartOptions(release="qwen", namespace="llm"))
    assert list(rendered) == [f"{chart}/templates/one.yaml"]
    assert "metadata: {name: qwen, namespace: llm}" in rendered[f"{chart}/templates/one.yaml"]


def test_a_packed_chart_renders_alike(chart: Path, tmp_path: Path) -> None:
    packed = Path(helm.package(chart, destination=tmp_path))
    rendered = render_chart(packed, ChartOptions())
    assert list(rendered) == [f"{packed}/templates/one.yaml"]
    assert [*rendered.values()] == [*render_chart(chart, ChartOptions()).values()]


def test_a_library_chart_renders_nothing(chart: Path) -> None:
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: inner\nversion: 0.1.0\ntype: library\n")
    assert render_chart(chart, ChartOptions()) == {}


def values(tmp_path: Path, files: list[str], sets: list[str]) -> dict[str, Any]:
    paths = []
    for number, text in enumerate(files):
        paths.append(tmp_path / f"{number}.yaml")
        paths[-1].write_text(text)
    return merged_values(ChartOptions(values=tuple(paths), sets=tuple(sets)))


@pytest.mark.parametrize(
    ("files", "sets", "expected"),
    [
        pytest.param([], [], {}, id="none"),
        pytest.param(["# only\n"], [], {}, id="comments"),
        pytest.param(["a: {b: 1, c: 2}", "a: {b: 3}"], [], {"a": {"b": 3, "c": 2}}, id="later-wins-deeply"),
        pytest.param(["a: {b: 1}", "a: null"], [], {"a": None}, id="null-is-kept-for-helm"),
        pytest.param(["a: [1, 2]", "a: [3]"], [], {"a": [3]}, id="lists-are-replaced"),
        pytest.param(["a: {b: 1}"], ["a.b=2,c=d"], {"a": {"b": 2}, "c": "d"}, id="set-wins"),
        pytest.param(["a: [{k: 1}, {k: 2}]"], ["a[1].k=5"], {"a": [{"k": 1}, {"k": 5}]}, id="set-one-of-a-list"),
        pytest.param(["a: [1, 2]"], ["a={3}"], {"a": [3]}, id="set-a-list"),
        pytest.param(["a: 1"], ["a=null"], {"a": None}, id="set-null"),
        pytest.param(["a: yes\nb: 0777"], [], {"a": True, "b": 511}, id="values-are-read-as-helm-reads-them"),
    ],
)
def test_values_are_merged_in_helms_order(
    files: list[str], sets: list[str], expected: dict[str, Any], tmp_path: Path
) -> None:
    assert values(tmp_path, files, sets) == expected


def test_null_deletes_a_default_of_the_chart(chart: Path) -> None:
    [text] = render_chart(chart, ChartOptions(sets=("a.b=null",))).values()
    assert r"{\"a\":{\"c\":2},\"list\":[1,2,3]}" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: 1\na: 2\n", "0.yaml:2: a is given twice", id="twice"),
        pytest.param("- a\n", "0.yaml: values are a mapping", id="list"),
        pytest.param("a: 1\n---\nb: 2\n", "0.yaml:3: a second document", id="two-documents"),
        pytest.param("a: [\n", "0.yaml:2: not YAML", id="syntax"),
    ],
)
def test_a_wrong_values_file_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        values(tmp_path, [text], [])
    assert expected in str(refused.value)


@pytest.mark.parametrize("text", ["a", "=x", "a[0"])
def test_a_set_that_says_nothing_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"--set .*: write it like image\.tag=v2"):
        values(tmp_path, [], [text])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("boom", "/templates/one.yaml:1: you must not boom: change the values, or the template", id="fail"),
        pytest.param("need", "/templates/one.yaml:2: needs it: change the values, or the template", id="required"),
        pytest.param("deep", "/templates/one.yaml:3: at <.Values.no.such.thing>: nil pointer", id="nil-pointer"),
        pytest.param("include", '/templates/one.yaml:4: at <include "nobody" .>: error calling', id="no-such-template"),
    ],
)
def test_a_template_that_fails_is_named_with_its_sentence(name: str, expected: str, chart: Path) -> None:
    with pytest.raises(Refused) as refused:
        render_chart(chart, ChartOptions(sets=(f"{name}=true",)))
    assert str(refused.value).startswith(f"{chart}{expected}")
    assert "\n" not in str(refused.value)


def test_a_template_that_is_none_is_named(chart: Path) -> None:
    (chart / "templates" / "two.yaml").write_text("a: 1\n{{ if }}\n")
    with pytest.raises(Refused, match=r"mychart/templates/two\.yaml:2: .*missing value for if"):
        render_chart(chart, ChartOptions())


def test_values_that_do_not_fit_the_schema_are_told_one_by_one(chart: Path) -> None:
    (chart / "values.schema.json").write_text(SCHEMA)
    (chart / "values.yaml").write_text("")
    sets = ("gpu.count=x", "image=c", "gpus.count=1", "gpu.cuont=1")
    with pytest.raises(Refused) as refused:
        render_chart(chart, ChartOptions(sets=sets))
    said = str(refused.value)
    for part in ("unknown gpus", "unknown gpu.cuont", "gpu.count: got string, want integer", "image: value must be"):
        assert part in said
    assert said.endswith("correct --values or --set")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({"Chart.yaml": "apiVersion: v2\nname: a\n"}, "not a chart that Helm renders", id="no-version"),
        pytest.param({"Chart.yaml": "a: [\n"}, "not a chart that Helm renders", id="bad-yaml"),
        pytest.param({"values.yaml": "a: [\n"}, "not a chart that Helm renders", id="bad-values"),
        pytest.param(
            {"Chart.yaml": "apiVersion: v2\nname: a\nversion: 1.0.0\ndependencies: [{name: sub, version: 1.0.0}]\n"},
            "sub missing in its charts/: run `helm dependency build",
            id="dependency-missing",
        ),
    ],
)
def test_what_is_no_whole_chart_is_refused_in_one_line(files: dict[str, str], expected: str, chart: Path) -> None:
    for name, text in files.items():
        (chart / name).write_text(text)
    with pytest.raises(Refused) as refused:
        render_chart(chart, ChartOptions())
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tgz").write_bytes(b"nothing")
    with pytest.raises(Refused, match=r"x\.tgz: not a chart"):
        render_chart(tmp_path / "x.tgz", ChartOptions())


@pytest.mark.parametrize("release", ["Bad_Name", "", "a" * 60])
def test_a_release_that_helm_would_not_take_is_refused(release: str, chart: Path) -> None:
    with pytest.raises(Refused, match=f"--release {release}: not a release name"):
        render_chart(chart, ChartOptions(release=release))


def test_without_helm_one_sentence_says_how_to_get_it(chart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "helm_python", None)
    with pytest.raises(CannotObserve, match=r"pip install 'warmgate\[lint\]'"):
        render_chart(chart, ChartOptions())


def test_a_library_that_does_not_load_is_told(chart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "helm_python":
            raise OSError("libhelm_c.so: wrong ELF class")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(CannotObserve, match=r"wrong ELF class\): use `helm template"):
        render_chart(chart, ChartOptions())


def test_a_template_that_may_not_be_read_is_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: object) -> None:
        raise helm.HelmError("error reading templates/a.yaml: open /x/templates/a.yaml: permission denied")

    monkeypatch.setattr(helm, "Chart", type("Chart", (), {"load": staticmethod(load)}))
    with pytest.raises(CannotObserve, match=r"not all of it may be read .*permission denied"):
        render_chart(tmp_path, ChartOptions())
