"""Lines of paths: those of the text, whatever way it is written, and the nearest ancestor's for what is not in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.observe.manifests import read_manifests

TEXT = """\
# the first line
apiVersion: v1
kind: Pod
metadata:
  name: a
  annotations:
    example.com/a.b: x
    "warmgate/allow": y
spec:
  nodeSelector:
    nvidia.com/gpu: one
    nvidia.com/gpu.present: two
  containers:
    # the engine
    - name: engine
      args:
        - --a

        - --b
    - name: side
      env: [{name: A},
            {name: B}]
  <<: &more
    restartPolicy: Never
  volumes: *more
"""
PATHS = {
    "": 2,
    "kind": 3,
    "metadata.name": 5,
    "metadata.annotations.example.com/a.b": 7,
    'metadata.annotations["example.com/a.b"]': 7,
    'metadata.annotations["warmgate/allow"]': 8,
    'metadata.annotations["no"]': 6,
    "metadata.labels.app": 4,
    "spec.nodeSelector.nvidia.com/gpu": 11,
    "spec.nodeSelector.nvidia.com/gpu.present": 12,
    "spec.containers": 13,
    "spec.containers[0]": 15,
    "spec.containers[0].name": 15,
    "spec.containers[0].args[1]": 19,
    "spec.containers[0].image": 15,
    "spec.containers[1].env[1].name": 22,
    "spec.containers[2].image": 13,
    "spec.restartPolicy": 9,
    "spec.volumes.restartPolicy": 25,
    "spec.con": 9,
    "spec.containers.name": 13,
    "spec..": 9,
    "nothing[": 2,
}


def found(directory: Path, text: str, path: str, name: str = "a.yaml") -> list[int]:
    (directory / name).write_bytes(text.encode())
    documents = read_manifests([str(directory / name)]).documents
    return [int(each.place_of(path).rpartition(":")[2]) for each in documents]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_has_the_line_of_its_key_or_of_what_of_it_is_there(path: str, tmp_path: Path) -> None:
    assert found(tmp_path, TEXT, path) == [PATHS[path]]


@pytest.mark.parametrize("path", PATHS)
def test_documents_before_and_after_change_nothing(path: str, tmp_path: Path) -> None:
    other = "kind: A\nspec:\n  containers: []\n"
    lines = found(tmp_path, f"{other}---\n{TEXT}--- # more\n{other}", path)
    assert lines[1] == PATHS[path] + 4


TEXTS = {
    "list": ("kind: List\nitems:\n- kind: A\n  b:\n    c: 1\n- kind: B\n\n  b:\n    c: 1\nmetadata: {}\n", [5, 9]),
    "indented-list": ("kind: List\nitems:\n  -\n    kind: A\n    b:\n      c: 1\n  - {kind: B, b: {c: 1}}\n", [6, 7]),
    "json": ('{"kind": "A",\n "b": {\n   "c": 1}}\n', [3]),
    "json-list": (
        '{"kind": "List", "items": [\n {"kind": "A",\n "b": {"c": 1}},\n {\n "kind": "B",\n "b":\n {"c": 1}}]}',
        [3, 7],
    ),
    "list-in-one-line": ('{"kind": "List", "items": [{"kind": "A",\n "b": {"c": 1}}]}', [1]),
    "objects-without-commas": ('{"kind": "A",\n"b": {"c": 1}}\n{"kind": "B",\n"b": {"c": 1}}\n', [2, 4]),
    "behind-the-mark": ("--- {kind: A, b: {c: 1}}\n--- !!map\nkind: B\nb:\n  c: 1\n...\n# end\n", [1, 5]),
    "windows": ("kind: A\r\nb:\r\n  c: 1\r\n---\r\nkind: B\r\nb:\r\n  c: 1\r\n", [3, 7]),
    "byte-order-mark": ("\ufeffkind: A\nb:\n  c: 1\n", [3]),
    "line-separator": ("kind: A\na: 'x\u2028  y'\nb:\n  c: 1\n---\nkind: B\nb:\n  c: 1\n", [5, 9]),
    "anchor-of-another": ("kind: List\nitems:\n- kind: A\n  b: &b\n    c: 1\n- kind: B\n  b: *b\n", [5, 7]),
    "keys-of-other-types": ("kind: A\n1: x\n? b\n:\n  c: 1\n", [5]),
}


@pytest.mark.parametrize(("text", "lines"), TEXTS.values(), ids=TEXTS)
def test_every_way_to_write_a_document_has_lines(text: str, lines: list[int], tmp_path: Path) -> None:
    name = "a.json" if text.startswith("{") else "a.yaml"
    assert found(tmp_path, text, "b.c", name) == lines
