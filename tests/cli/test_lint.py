"""`warmgate lint` as a person runs it: what it takes, what it prints, its exit codes, and one line for every error."""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from serving.cli.main import main
from serving.errors import CannotObserve
from serving.judge.lint import RULES
from serving.observe.kubectl import find_kubectl
from serving.report.json import json_schema
from serving.report.rules import rules_markdown
from tests.fakes.api_server import api_server

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "warmgate"
FAULTY = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: llm}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: engine
          image: vllm/vllm-openai:v0.32.0
          args: [--model=/mnt/models]
          resources: {limits: {nvidia.com/gpu: 1}}
"""
HARMLESS = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


class Run:
    """One run of the command line in this process, in a directory of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: object, stdin: str | None = None) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["warmgate", "lint", *map(str, arguments)])
        if stdin is not None:
            self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    monkeypatch.chdir(tmp_path)
    yield Run(capsys, monkeypatch)
    gc.enable()


def test_a_fault_is_shown_with_its_line_and_remedy_and_what_held_is_only_counted(run: Run) -> None:
    Path("web.yaml").write_text(f"# a comment\n{FAULTY}")
    code, out, err = run("web.yaml")
    assert code == 1
    assert err == ""
    assert out.startswith("lint web.yaml: 1 document\n")
    assert "Deployment/llm/web" in out
    assert "web.yaml:14 spec.template.spec.containers[0].resources" in " ".join(out.split())
    assert "→ " in out
    assert "✓" not in out
    assert out.splitlines()[-1].startswith("FAIL: ")
    assert out.splitlines()[-1].endswith("(exit code 1)")


def test_verbose_shows_what_held_too(run: Run) -> None:
    Path("web.yaml").write_text(FAULTY)
    assert "✓ pass" in run("web.yaml", "-v")[1]


def test_stdin_is_linted(run: Run) -> None:
    code, out, _ = run("-", stdin=FAULTY)
    assert code == 1
    assert "stdin:13 spec.template.spec.containers[0].resources" in " ".join(out.split())


def test_json_keeps_the_schema_of_every_report_and_counts_documents(run: Run) -> None:
    Path("web.yaml").write_text(f"{FAULTY}---\n{HARMLESS}")
    code, out, _ = run("web.yaml", "--output", "json")
    document = json.loads(out)
    jsonschema.validate(document, json.loads(json_schema()))
    assert document["exit_code"] == code == 1
    assert (document["command"], document["documents"]) == ("lint", 2)
    assert {each["verdict"] for each in document["findings"]} >= {"pass", "fail"}


def test_junit_has_a_case_for_every_finding(run: Run) -> None:
    Path("web.yaml").write_text(FAULTY)
    findings = json.loads(run("web.yaml", "--output", "json")[1])["findings"]
    suite = ET.fromstring(run("web.yaml", "--output", "junit")[1])[0]
    assert suite.get("tests") == str(len(findings))
    assert suite.get("failures") == str(sum(each["verdict"] == "fail" for each in findings))


def test_sarif_names_file_and_line(run: Run) -> None:
    Path("a b").mkdir()
    Path("a b/web.yaml").write_text(f"\n{FAULTY}")
    code, out, _ = run("a b", "--output", "sarif")
    assert code == 1
    result = json.loads(out)["runs"][0]["results"][0]
    physical = result["locations"][0]["physicalLocation"]
    assert physical == {"artifactLocation": {"uri": "a%20b/web.yaml"}, "region": {"startLine": 9}}


@pytest.mark.parametrize("output", ["text", "json", "junit", "sarif"])
def test_a_file_may_have_any_name(output: str, run: Run) -> None:
    name = os.fsdecode(b"n\xff e.yaml")
    Path(name).write_text(FAULTY)
    code, out, _ = run(name, "-o", output)
    assert code == 1
    out.encode()
    if output == "sarif":
        places = [each["locations"][0]["physicalLocation"] for each in json.loads(out)["runs"][0]["results"]]
        assert {each["artifactLocation"]["uri"] for each in places} == {"n%FF%20e.yaml"}


def test_errors_alone_can_be_asked_for(run: Run) -> None:
    Path("web.yaml").write_text(FAULTY)
    found = {
        severity: {
            each["code"] for each in json.loads(run("web.yaml", "--severity", severity, "-o", "json")[1])["findings"]
        }
        for severity in ("error", "warning")
    }
    warnings = {rule.code.id for rule in RULES if rule.severity.value == "warning"}
    assert not found["error"] & warnings
    assert found["error"] < found["warning"]


def test_the_rules_are_listed_and_documented(run: Run) -> None:
    code, out, _ = run("--rules")
    assert code == 0
    for rule in RULES:
        assert f"{rule.code.id}  {rule.severity.value}" in out
        assert f"## {rule.code.id}: {rule.code.question}\n\n*{rule.severity.value}*" in rules_markdown(RULES)


def test_the_chart_of_this_project_holds_and_its_values_are_read(run: Run) -> None:
    pytest.importorskip("helm_python", reason="needs the extra lint")
    Path("values.yaml").write_text("fullnameOverride: other\n")
    code, out, err = run(CHART, "--release", "qwen", "--namespace", "llm", "-o", "json")
    assert (code, err) == (0, "")
    assert json.loads(out)["documents"] >= 3


def test_the_whole_tree_of_this_project_holds_overlay_by_overlay(run: Run) -> None:
    need_kubectl()
    code, out, err = run(ROOT / "manifests")
    assert (code, out.splitlines()[-1][:4]) == (0, "PASS")
    assert "alternatives, judged apart: " in err


def test_what_a_directory_holds_beside_manifests_is_told(run: Run) -> None:
    Path("d").mkdir()
    Path("d/a.yaml").write_text(FAULTY)
    Path("d/values.yaml").write_text("a: 1\n")
    code, _, err = run("d")
    assert code == 1
    assert err == "lint: left out d/values.yaml: no Kubernetes documents\n"


def test_the_pool_is_stated_where_no_annotation_does(run: Run) -> None:
    def rooms(gpus: str, pool: str | None = None) -> list[str]:
        text = FAULTY.replace("gpu: 1", f"gpu: {gpus}")
        said = f", annotations: {{warmgate/pool-gpus: {pool!r}}}}}" if pool else "}"
        Path("a.yaml").write_text(text.replace("namespace: llm}", f"namespace: llm{said}"))
        findings = json.loads(run("a.yaml", "--pool-gpus", "3", "-o", "json")[1])["findings"]
        return [each["verdict"] for each in findings if each["code"] == "WG341"]

    assert rooms("1") == ["pass"]
    assert rooms("4") == ["fail"]
    assert rooms("4", pool="16") == ["pass"]


WRONG: dict[str, tuple[dict[str, str | bytes], list[str], int, str]] = {
    "no-path": ({}, [], 2, "name a file, a directory, a chart"),
    "missing": ({}, ["no.yaml"], 2, "no.yaml: no such file"),
    "bad-yaml": ({"a.yaml": "a: b: c\n"}, ["a.yaml"], 2, "a.yaml:1: not YAML"),
    "tab": ({"a.yaml": "a:\n\tb: 1\n"}, ["a.yaml"], 2, "indent with spaces"),
    "twice": ({"a.yaml": "kind: A\nkind: B\n"}, ["a.yaml"], 2, "a.yaml:2: kind is given twice"),
    "recursive": ({"a.yaml": "a: &a [*a]\n"}, ["a.yaml"], 2, "stands inside what it stands for"),
    "not-utf-8": ({"a.yaml": b"a: \xff\n"}, ["a.yaml"], 2, "save it as UTF-8"),
    "template": ({"a.yaml": "a: {{ .Values.a }}\n"}, ["a.yaml"], 2, "give the chart's directory"),
    "comments": ({"a.yaml": "# a\n"}, ["a.yaml"], 2, "no Kubernetes documents in a.yaml"),
    "no-manifests": ({"d/readme.md": "a"}, ["d"], 2, "no Kubernetes documents in d"),
    "device": ({}, ["/dev/zero"], 2, "no regular file"),
    "values-without-chart": ({"a.yaml": HARMLESS}, ["a.yaml", "--set", "a=b"], 2, "are for one chart, not 0"),
    "context-without-cluster": ({"a.yaml": HARMLESS}, ["a.yaml", "--context", "x"], 2, "add --cluster"),
    "severity": ({"a.yaml": HARMLESS}, ["a.yaml", "--severity", "high"], 2, "is not one of 'error', 'warning'"),
    "no-kubeconfig": ({"a.yaml": HARMLESS}, ["a.yaml", "--cluster", "--kubeconfig", "no"], 3, "kubectl cannot ask"),
}


@pytest.mark.parametrize(("files", "arguments", "expected", "said"), WRONG.values(), ids=WRONG)
def test_every_error_is_one_line_with_its_exit_code(
    files: dict[str, str | bytes], arguments: list[str], expected: int, said: str, run: Run
) -> None:
    if expected == 3:
        need_kubectl()
    for name, text in files.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    code, out, err = run(*arguments)
    assert (code, out) == (expected, "")
    assert said in err
    lines = err.strip().splitlines()
    assert len(lines) == (1 if err.startswith("warmgate: ") else len(lines))
    assert "Traceback" not in err


def test_no_file_can_write_to_the_terminal(run: Run) -> None:
    Path("\x1b[31m\n.yaml").write_text('"\\e[1m\\n": 1\n"\\e[1m\\n": 2\n')
    code, _, err = run("\x1b[31m\n.yaml")
    assert code == 2
    assert "is given twice" in err
    assert "\x1b" not in err
    assert err.count("\n") == 1


def need_kubectl() -> None:
    try:
        find_kubectl()
    except CannotObserve:
        pytest.skip("kubectl is not installed (extra lint)")


def test_a_cluster_is_judged_against(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_kubectl()
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("web.yaml").write_text(FAULTY)
    with api_server() as server:
        server.serve("v1", "nodes", "Node", {"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "4"}}})
        code, out, err = run("web.yaml", "--cluster", "--kubeconfig", server.kubeconfig(tmp_path / "config"))
    assert code == 1, err
    assert out.startswith("lint web.yaml: 1 document and the cluster\n")
    assert {method for method, _ in server.requests} == {"GET"}


def test_50_megabytes_are_refused_quickly_with_little_memory(tmp_path: Path) -> None:
    big = tmp_path / "big.yaml"
    with big.open("w") as stream:
        for number in range(50):
            stream.write(f"k{number}: {'x' * 1_000_000}\n")
    done = subprocess.run(
        [sys.executable, "-m", "serving.cli.main", "lint", big], capture_output=True, timeout=20, check=False
    )
    assert done.returncode == 2
    assert done.stderr.decode() == (
        f"warmgate: {big}: over 32 MiB, which is no set of manifests: split it, or name the right file\n"
    )


def test_ctrl_c_is_130_and_one_line(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.cli.main", "lint", "-"], stdin=reader, stderr=subprocess.PIPE, cwd=tmp_path
    )
    os.close(reader)
    os.write(writer, b"#" * 200_000)  # more than a pipe holds: it reads its stdin by now,
    time.sleep(0.5)  # and waits for more
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    os.close(writer)
    assert (process.returncode, err.strip().splitlines()[-1:]) == (130, [b"interrupted"])


def test_it_starts_without_what_it_does_not_need() -> None:
    needless = ("asyncio", "httpx", "pydantic", "helm_python", "numpy")
    code = f"import sys, serving.cli.lint; print([name for name in {needless} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == "[]\n"
