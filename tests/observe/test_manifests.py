"""Arguments become documents that know where they stand; what is none is refused, or left out and told."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from serving.errors import CannotObserve, Refused
from serving.observe.helm_chart import ChartOptions
from serving.observe.kubectl import find_kubectl
from serving.observe.manifests import Manifests, read_manifests

THING = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {}\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def with_tools() -> None:
    pytest.importorskip("helm_python", reason="needs the extra lint")
    try:
        find_kubectl()
    except CannotObserve:
        pytest.skip("kubectl is not installed (extra lint)")


def write(files: dict[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


def seen(found: Manifests) -> list[str]:
    return [f"{each.name} {each.place}" for each in found.documents]


CHART = {
    "Chart.yaml": "apiVersion: v2\nname: inner\nversion: 0.1.0\n",
    "values.yaml": "image: {tag: a}\n",
    "templates/x.yaml": "{{ if true }}\n" + THING.format("{{ .Release.Name }}") + "{{ end }}",
}


def below(directory: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{directory}/{name}": text for name, text in files.items()}


@pytest.mark.usefixtures("root")
def test_files_of_many_documents_keep_their_order_and_lines() -> None:
    write(
        {"a.yaml": f"# a\n{THING.format('a1')}---\n{THING.format('a2')}", "b.json": '{"kind": "X", "apiVersion": "v1"}'}
    )
    found = read_manifests(["a.yaml", "b.json"])
    assert seen(found) == ["a1 a.yaml:2", "a2 a.yaml:7", " b.json:1"]
    assert [each.index for each in found.documents] == [0, 1, 0]
    assert not found.rendered


@pytest.mark.usefixtures("root")
def test_a_list_is_its_items() -> None:
    items = "".join(f"- apiVersion: v1\n  kind: ConfigMap\n  metadata: {{name: {name}}}\n" for name in "ab")
    write({"a.yaml": f"apiVersion: v1\nkind: List\nitems:\n{items}"})
    write({"b.yaml": "apiVersion: v1\nkind: ConfigMapList\nitems:\n- metadata: {name: c}\n- metadata: {name: d}\n"})
    found = read_manifests(["a.yaml", "b.yaml"])
    assert seen(found) == ["a a.yaml:4", "b a.yaml:7", "c b.yaml:4", "d b.yaml:5"]
    assert {(each.kind, each.api_version) for each in found.documents} == {("ConfigMap", "v1")}


@pytest.mark.usefixtures("root")
def test_an_object_of_a_kind_that_only_ends_in_list_stays_itself() -> None:
    write({"a.yaml": "apiVersion: x.org/v1\nkind: AllowList\nmetadata: {name: a}\nspec: {}\nitems: three\n"})
    assert seen(read_manifests(["a.yaml"])) == ["a a.yaml:1"]


def test_stdin_is_read_once() -> None:
    stream = io.BytesIO(THING.format("a").encode())
    assert seen(read_manifests(["-"], stdin=stream)) == ["a stdin:1"]
    with pytest.raises(Refused, match="given twice"):
        read_manifests(["-", "-"], stdin=stream)


def test_a_terminal_is_not_waited_for() -> None:
    stream = io.BytesIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    with pytest.raises(Refused, match="nothing is piped into it"):
        read_manifests(["-"], stdin=stream)


@pytest.mark.usefixtures("root", "with_tools")
def test_a_tree_is_its_plain_files_its_charts_and_its_outermost_kustomizations() -> None:
    write(below("tree/chart", CHART) | below("tree/chart/charts/sub", CHART))
    write(
        {
            "tree/a.yaml": THING.format("a"),
            "tree/compose.yml": "services: {}\n",
            "tree/base/kustomization.yaml": "resources: [b.yaml, ../common.yaml]\n",
            "tree/base/b.yaml": THING.format("b"),
            "tree/base/patch-of-somebody.yaml": "spec: {}\n",
            "tree/common.yaml": THING.format("s"),
            "tree/overlay/kustomization.yml": "resources: [../base]\nnamePrefix: o-\n",
            "tree/component/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n",
        }
    )
    with pytest.raises(Refused, match=r"tree/overlay: kustomize cannot build it: .*common\.yaml"):
        read_manifests(["tree"])
    write({"tree/base/kustomization.yaml": "resources: [b.yaml]\n"})
    found = read_manifests(["tree"])
    assert seen(found) == [
        "a tree/a.yaml:1",
        "s tree/common.yaml:1",
        "release-name tree/chart/charts/inner/templates/x.yaml:2",
        "release-name tree/chart/templates/x.yaml:2",
        "o-b tree/overlay:1",
    ]
    assert found.rendered == {each.source for each in found.documents[2:]}
    assert found.notes == (
        "left out tree/component: a component, which nothing here takes in",
        "left out tree/compose.yml: no Kubernetes documents",
    )


@pytest.mark.usefixtures("root", "with_tools")
def test_overlays_of_one_base_are_alternatives_beside_all_else() -> None:
    write({"t/base/kustomization.yaml": "resources: [b.yaml]\n", "t/base/b.yaml": THING.format("b")})
    write({f"t/{name}/kustomization.yaml": "resources: [../base]\n" for name in ("dev", "prod")})
    write({"t/pool/kustomization.yaml": "resources: [p.yaml]\n", "t/pool/p.yaml": THING.format("p")})
    write({"t/a.yaml": THING.format("a")})
    found = read_manifests(["t"])
    assert [[f"{each.name} {each.source}" for each in part] for part in found.parts] == [
        ["a t/a.yaml", "b t/dev", "p t/pool"],
        ["a t/a.yaml", "p t/pool", "b t/prod"],
    ]
    assert found.notes == ("alternatives, judged apart: t/dev, t/prod (more than one makes ConfigMap/b)",)
    assert seen(found) == ["a t/a.yaml:1", "b t/dev:1", "p t/pool:1", "b t/prod:1"]


@pytest.mark.usefixtures("root", "with_tools")
def test_what_two_arguments_lead_to_is_read_once() -> None:
    write(below("t/c", CHART) | {"t/a.yaml": THING.format("a"), "t/k/b.yaml": THING.format("b")})
    write({"t/k/kustomization.yaml": "resources: [b.yaml]\n"})
    found = read_manifests(["t", "t/a.yaml", "./t/../t/c", "t/k/"])
    assert sorted(each.name for each in found.documents) == ["a", "b", "release-name"]


@pytest.mark.usefixtures("root")
def test_files_are_no_alternatives() -> None:
    write({"a.yaml": THING.format("a"), "b.yaml": THING.format("a")})
    found = read_manifests(["a.yaml", "b.yaml"])
    assert found.parts == (found.documents,)


@pytest.mark.usefixtures("root")
def test_a_component_alone_is_refused() -> None:
    write({"c/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"})
    with pytest.raises(Refused, match="c: a component, which changes others: give a kustomization that takes it in"):
        read_manifests(["c"])


@pytest.mark.usefixtures("root", "with_tools")
def test_options_are_for_one_chart() -> None:
    write(below("one", CHART) | below("two", CHART) | {"a.yaml": THING.format("a")})
    assert seen(read_manifests(["one", "a.yaml"], ChartOptions(release="r"))) == [
        "a a.yaml:1",
        "r one/templates/x.yaml:2",
    ]
    with pytest.raises(Refused, match="are for one chart, not 2: name one"):
        read_manifests(["one", "two"], ChartOptions(release="r"))
    with pytest.raises(Refused, match="are for one chart, not 0: name one"):
        read_manifests(["a.yaml"], ChartOptions(release="r"))


@pytest.mark.usefixtures("root", "with_tools")
def test_what_a_template_renders_to_is_named_as_rendered_where_it_is_wrong() -> None:
    write(below("c", CHART) | {"c/templates/x.yaml": "{{ if true }}\na: [\n{{ end }}"})
    with pytest.raises(Refused, match=r"^c/templates/x\.yaml \(rendered\):3: not YAML"):
        read_manifests(["c"])
    write({"c/templates/x.yaml": "a: 1\n"})
    with pytest.raises(Refused, match=r"^c/templates/x\.yaml \(rendered\):1: no apiVersion and no kind"):
        read_manifests(["c"])


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    ("files", "argument", "expected"),
    [
        pytest.param(
            {"a.yaml": "# only\n---\n"}, "a.yaml", r"no Kubernetes documents in a.yaml \(only com", id="comments"
        ),
        pytest.param({"a.yaml": ""}, "a.yaml", "no Kubernetes documents in a.yaml: name", id="empty"),
        pytest.param({"d/readme.md": "x"}, "d", "no Kubernetes documents in d: name", id="directory-without"),
        pytest.param({"d/a.yaml": "a: 1\n"}, "d", "no Kubernetes documents in d: name", id="directory-of-others"),
        pytest.param({"a.yaml": "\n- a\n"}, "a.yaml", "a.yaml:2: a list, not a Kubernetes object", id="list"),
        pytest.param({"a.yaml": "hello\n"}, "a.yaml", "a.yaml:1: a bare value, not a Kubernetes", id="scalar"),
        pytest.param({"a.yaml": "a: 1\n"}, "a.yaml", "a.yaml:1: no apiVersion and no kind", id="another-file"),
        pytest.param({"d/a.yaml": THING.format("a") + "---\na: 1\n"}, "d", "d/a.yaml:6: no apiVersion", id="half"),
        pytest.param({"a.yaml": "apiVersion: v1\nkind: List\nitems: [3]\n"}, "a.yaml", "a.yaml:1: a bare", id="item"),
        pytest.param(
            {"d/Chart.yaml": "a: 1\n"}, "d/Chart.yaml", "give the directory that holds it: d$", id="chart-yaml"
        ),
        pytest.param({"d/kustomization.yaml": ""}, "d/kustomization.yaml", "give the directory", id="kustomization"),
        pytest.param({}, "no/such", "no/such: no such file or directory", id="missing"),
        pytest.param({"a": "x"}, "a/b", "a/b: no such file or directory", id="below-a-file"),
    ],
)
def test_what_holds_no_objects_is_refused(files: dict[str, str], argument: str, expected: str) -> None:
    write(files)
    with pytest.raises(Refused, match=expected) as refused:
        read_manifests([argument])
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("root")
def test_an_object_that_forgot_what_it_is_is_left_to_the_rules() -> None:
    write({"a.yaml": "kind: X\n---\napiVersion: v1\n"})
    assert [each.id for each in read_manifests(["a.yaml"]).documents] == ["X", ""]


def test_a_broken_link_in_a_directory_could_not_be_seen(root: Path) -> None:
    write({"d/a.yaml": THING.format("a")})
    (root / "d/b.yaml").symlink_to("gone")
    with pytest.raises(CannotObserve, match=r"d/b\.yaml: a link to gone"):
        read_manifests(["d"])


@pytest.mark.usefixtures("root")
def test_a_pipe_is_no_packed_chart() -> None:
    os.mkfifo("x.tgz")
    with pytest.raises(Refused, match=r"x\.tgz: no regular file"):
        read_manifests(["x.tgz"])
