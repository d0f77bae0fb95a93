from __future__ import annotations

from typing import Any

import pytest

from serving.facts.kube.container import Container


def container(**body: Any) -> Container:
    return Container({"name": "main", **body}, "spec.containers[0]")


@pytest.mark.parametrize(
    ("command", "args", "words"),
    [
        pytest.param(["vllm"], ["serve", "m"], ("vllm", "serve", "m"), id="command-then-args"),
        pytest.param(None, ["--port", 8080, True], ("--port", "8080", "true"), id="yaml-scalars"),
        pytest.param(["sh", "-c"], ["exec vllm serve m"], ("sh", "-c", "exec", "vllm", "serve", "m"), id="script"),
        pytest.param(["/bin/bash", "-euxc", "a b"], None, ("/bin/bash", "-euxc", "a", "b"), id="clustered-flags"),
        pytest.param(["/tini", "--", "bash", "-c", "a b"], None, ("/tini", "--", "bash", "-c", "a", "b"), id="tini"),
        pytest.param(["sh", "-c", "a \\\n  --b 1\n"], None, ("sh", "-c", "a", "--b", "1", ";"), id="continued-line"),
        pytest.param(["sh", "-c", "a\nb && c"], None, ("sh", "-c", "a", ";", "b", "&&", "c"), id="several-commands"),
        pytest.param(["sh", "-c", "a;b"], None, ("sh", "-c", "a", ";", "b"), id="semicolon-without-space"),
        pytest.param(
            ["sh", "-c", "a &\nb\n\n; c"], None, ("sh", "-c", "a", "&", "b", ";", "c"), id="in-the-background"
        ),
        pytest.param(["sh", "-c", "a # no\nb"], None, ("sh", "-c", "a", ";", "b"), id="comment"),
        pytest.param(["sh", "-c", "a x#y"], None, ("sh", "-c", "a", "x#y"), id="hash-within-a-word"),
        pytest.param(["sh", "-c", "a 'b c'"], None, ("sh", "-c", "a", "b c"), id="quoted"),
        pytest.param(["sh", "-c", "a 'b"], None, ("sh", "-c", "a", "'b"), id="open-quote"),
        pytest.param(["python", "-c", "import vllm"], None, ("python", "-c", "import vllm"), id="no-shell"),
        pytest.param("vllm serve", {"a": 1}, (), id="malformed"),
    ],
)
def test_words_are_what_the_process_gets(command: Any, args: Any, words: tuple[str, ...]):
    assert container(command=command, args=args).words == words


def test_literal_variables_are_replaced_as_the_kubelet_does():
    env = [{"name": "PORT", "value": "8000"}, {"name": "KEY", "valueFrom": {"secretKeyRef": {}}}]
    made = container(args=["--port=$(PORT)", "--key=$(KEY)", "--a=$(NONE)", "--b=$$(PORT)"], env=env)
    assert made.words == ("--port=8000", "--key=$(KEY)", "--a=$(NONE)", "--b=$(PORT)")


@pytest.mark.parametrize(
    ("args", "name", "value"),
    [
        pytest.param(["--max-model-len=8"], "max-model-len", "8", id="equals"),
        pytest.param(["--max-model-len", "8"], "max-model-len", "8", id="space"),
        pytest.param(["--max_model_len=8"], "max-model-len", "8", id="underscores"),
        pytest.param(["--port=1", "--port=2"], "port", "2", id="the-last-counts"),
        pytest.param(["--served-model-name", "a", "b"], "served-model-name", "b", id="several-values"),
        pytest.param(["--trust-remote-code", "--port=1"], "trust-remote-code", "", id="switch"),
        pytest.param(["-tp", "4"], "tensor-parallel-size", "4", id="short"),
        pytest.param(["-dp=2"], "data-parallel-size", "2", id="short-equals"),
        pytest.param(["--seed", "-1"], "seed", "-1", id="negative-number"),
        pytest.param(["--a", "--", "b"], "a", "", id="two-dashes-end-an-option"),
        pytest.param(["--port=1"], "host", None, id="not-given"),
        pytest.param(["--compilation-config", '{"level": 3}'], "compilation-config", '{"level": 3}', id="json"),
    ],
)
def test_options_are_read_as_vllm_reads_them(args: list[str], name: str, value: str | None):
    assert container(args=args).option(name) == value


def test_an_option_ends_with_its_command():
    made = container(command=["sh", "-c", "vllm serve m --enable-x\nsleep 5 && echo --port 9"])
    assert made.option("enable-x") == ""
    assert made.option("port") == "9"


def test_all_values_of_an_option_are_kept():
    assert container(args=["--api-key", "a", "b", "--api-key=c"]).options["api-key"] == ("a", "b", "c")


SERVES = (True, True)
RUNS = (True, False)
NEITHER = (False, False)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param({"image": "vllm/vllm-openai:v0.32.0"}, SERVES, id="by-image"),
        pytest.param({"image": "vllm/vllm-openai:v0.32.0", "args": ["--model=m"]}, SERVES, id="by-image-with-args"),
        pytest.param({"image": "a:5000/x/vllm-cpu@sha256:00"}, SERVES, id="by-image-with-digest"),
        pytest.param({"image": "ghcr.io/llm-d/llm-d-xpu:v0.5.0", "args": ["--model", "m"]}, SERVES, id="llm-d's-image"),
        pytest.param({"image": "ghcr.io/llm-d/llm-d-routing-sidecar:v0.5.0"}, NEITHER, id="llm-d's-sidecar"),
        pytest.param(
            {"image": "vllm/vllm-openai:1", "command": ["sh", "-c", "bash /w/multi-node-serving.sh worker -a"]},
            RUNS,
            id="ray-worker-by-vllm's-script",
        ),
        pytest.param({"image": "x", "command": ["vllm", "serve", "m"]}, SERVES, id="by-command"),
        pytest.param({"image": "x", "command": ["/opt/v/bin/vllm", "serve"]}, SERVES, id="by-path"),
        pytest.param(
            {"image": "x", "command": ["python3", "-m", "vllm.entrypoints.openai.api_server"]}, SERVES, id="m"
        ),
        pytest.param({"image": "x", "command": ["python", "/w/vllm/entrypoints/api_server.py"]}, SERVES, id="file"),
        pytest.param({"image": "x", "command": ["bash", "-c", "ulimit -n 9; exec vllm serve m"]}, SERVES, id="script"),
        pytest.param({"image": "r/warmgate:0.1.0", "args": ["--model=m"]}, SERVES, id="the-agent's-image"),
        pytest.param({"image": "x", "command": ["warmgate", "serve", "--"]}, SERVES, id="the-agent's-command"),
        pytest.param({"image": "vllm/vllm-openai:1", "command": ["vllm", "run-batch"]}, RUNS, id="batch"),
        pytest.param({"image": "x", "command": ["python", "-m", "vllm.entrypoints.openai.run_batch"]}, RUNS, id="b"),
        pytest.param({"image": "x", "command": ["vllm", "bench", "serve"]}, RUNS, id="bench"),
        pytest.param({"image": "vllm/vllm-openai:1", "command": ["ray", "start", "--block"]}, RUNS, id="ray-worker"),
        pytest.param(
            {"image": "vllm/vllm-openai:1", "command": ["sh", "-c", "ray start --head; vllm serve m"]},
            SERVES,
            id="ray-head",
        ),
        pytest.param({"image": "r/warmgate:0.1.0", "command": ["warmgate", "loadtest"]}, NEITHER, id="load-test"),
        pytest.param({"image": "r/warmgate-tools:0.1.0", "args": ["verify"]}, NEITHER, id="tools"),
        pytest.param({"image": "vllm/vllm-openai:1", "command": ["sleep", "1"]}, NEITHER, id="another-command"),
        pytest.param({"image": "lmcache/vllm-router:1"}, NEITHER, id="router"),
        pytest.param({"image": "x/llm-d-inference-vllm-sim:1"}, NEITHER, id="simulator"),
        pytest.param({"image": "curl", "command": ["curl", "http://vllm.llm.svc/health"]}, NEITHER, id="host-name"),
        pytest.param(
            {"image": "kubectl", "command": ["kubectl", "-n", "vllm", "get", "pods"]}, NEITHER, id="namespace"
        ),
        pytest.param({"image": "busybox", "command": ["mkdir", "/cache/vllm"]}, NEITHER, id="directory"),
        pytest.param({}, NEITHER, id="nothing"),
        pytest.param({"image": {}, "command": 3}, NEITHER, id="malformed"),
    ],
)
def test_vllm_is_found_by_its_command_and_else_by_its_image(body: dict[str, Any], expected: tuple[bool, bool]):
    assert (container(**body).runs_vllm, container(**body).serves) == expected


def test_an_init_container_runs_vllm_but_serves_nobody():
    made = Container({"image": "vllm/vllm-openai:1"}, "spec.initContainers[0]", init=True)
    assert (made.runs_vllm, made.serves) == (True, False)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        pytest.param("vllm/vllm-openai:v1", "vllm-openai", id="tag"),
        pytest.param("host:5000/a/vllm", "vllm", id="registry-port"),
        pytest.param("vllm@sha256:abc", "vllm", id="digest"),
        pytest.param("a/b:1@sha256:abc", "b", id="tag-and-digest"),
    ],
)
def test_the_name_of_an_image_is_the_end_of_its_repository(image: str, name: str):
    assert container(image=image).image_name == name


def test_only_literal_variables_have_a_value():
    made = container(env=[{"name": "A", "value": 1}, {"name": "B", "valueFrom": {}}, {"name": "C"}, "junk"])
    assert made.env == {"A": "1", "C": ""}
    assert made.env_names == {"A", "B", "C"}
