"""`warmgate verify` as a person runs it: its arguments, its output, its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from serving.cli.main import main
from serving.facts.model import Engine, State
from tests.fakes.agent_server import AgentServer, agent_server
from tests.fakes.modelz import MIB, gpu, modelz

NOWHERE = "http://127.0.0.1:9"
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "report.schema.json").read_text())
LAYERS = ["WG101", "WG102", "WG103", "WG104", "WG105", "WG106", "WG107"]


class Run:
    """One run of the command line in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["warmgate", "verify", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    def json(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """The exit code and the findings by code; the document is checked against its schema on the way."""
        code, out, _ = self(*arguments, "--output", "json")
        document = json.loads(out)
        jsonschema.validate(document, SCHEMA)
        assert document["exit_code"] == code
        assert [finding["code"] for finding in document["findings"]] == LAYERS
        return code, {finding["code"]: finding for finding in document["findings"]}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in [name for name in os.environ if name.startswith("WARMGATE_")]:
        monkeypatch.delenv(name)
    return Run(capsys, monkeypatch)


@pytest.fixture
def server() -> Iterator[AgentServer]:
    with agent_server() as running:
        yield running


def at(server: AgentServer) -> list[str]:
    return ["--admin", server.url, "--base-url", server.url]


def verdicts(findings: dict[str, Any]) -> dict[str, str]:
    return {code: finding["verdict"] for code, finding in findings.items()}


def test_a_ready_endpoint_passes_with_exit_code_zero(run: Run, server: AgentServer):
    code, out, err = run(*at(server))
    assert code == 0
    assert all(layer in out for layer in LAYERS)
    assert "(n=20)" in out
    assert "n/a      WG106  GPU memory" in out
    assert out.splitlines()[-1] == "PASS: 5 pass, 2 n/a (exit code 0)"
    assert "measuring latency" in err
    assert "\x1b" not in out + err


def test_http_200_without_done_fails(run: Run, server: AgentServer):
    server.script.ending = "no_done"
    code, findings = run.json(*at(server))
    assert code == 1
    assert findings["WG107"]["verdict"] == findings["WG104"]["verdict"] == "fail"
    assert "ended without [DONE]" in findings["WG107"]["why"]
    assert verdicts(findings) | {"WG104": "", "WG107": ""} == {
        "WG101": "pass",
        "WG102": "pass",
        "WG103": "pass",
        "WG104": "",
        "WG105": "not_applicable",
        "WG106": "not_applicable",
        "WG107": "",
    }


def test_a_wrong_model_name_fails_and_says_which_is_served(run: Run, server: AgentServer):
    code, findings = run.json(*at(server), "--model", "qwen")
    assert code == 1
    assert findings["WG102"]["why"] == "the engine serves smollm2, not qwen"
    assert findings["WG103"]["verdict"] == "fail"
    assert "does not exist" in findings["WG107"]["why"]


def test_a_loading_model_fails_with_its_phase_and_its_reason(run: Run, server: AgentServer):
    server.script.modelz = modelz(state=State.LOADING, reason="reading weights, 2 of 4 shards", warmup=None)
    server.script.models_status = server.script.completion_status = 503
    code, findings = run.json(*at(server))
    assert code == 1
    assert findings["WG101"]["verdict"] == "pass"
    assert findings["WG102"]["observed"] == "loading for 12 s"
    assert "reading weights, 2 of 4 shards" in findings["WG102"]["why"]
    assert findings["WG103"]["observed"] == "HTTP 503"


def test_a_dead_agent_leaves_doubt_and_every_layer_is_still_there(run: Run, server: AgentServer):
    code, findings = run.json("--admin", NOWHERE, "--base-url", server.url, "--model", "smollm2")
    assert code == 3
    assert verdicts(findings) == {
        "WG101": "unknown",
        "WG102": "unknown",
        "WG103": "pass",
        "WG104": "pass",
        "WG105": "not_applicable",
        "WG106": "unknown",
        "WG107": "pass",
    }
    assert findings["WG101"]["why"] == "connection refused: nothing listens on 127.0.0.1:9"


def test_when_all_is_dead_all_is_unknown(run: Run):
    code, out, _ = run("--admin", NOWHERE, "--base-url", NOWHERE)
    assert code == 3
    assert all(layer in out for layer in LAYERS)
    assert out.splitlines()[-1] == "UNKNOWN: 6 unknown, 1 n/a (exit code 3)"


def test_targets_are_judged(run: Run, server: AgentServer):
    server.script.modelz = modelz(gpus=(gpu(),), gpus_unseen=None, engine=Engine("0.32.0", 7, None, 1300 * MIB))
    server.script.first_token_s = 0.02
    targets = ["--memory-mib", "1299", "--gpu-free-mib", "9217", "--ttft-ms", "10", "--expect", "London"]
    code, findings = run.json(*at(server), *targets)
    assert code == 1
    assert verdicts(findings) == {
        "WG101": "pass",
        "WG102": "pass",
        "WG103": "pass",
        "WG104": "fail",
        "WG105": "fail",
        "WG106": "fail",
        "WG107": "fail",
    }
    relaxed = ["--memory-mib", "1300", "--gpu-free-mib", "9216", "--ttft-ms", "5000", "--expect", "paris"]
    assert run.json(*at(server), *relaxed)[0] == 0


def test_too_few_samples_never_pass(run: Run, server: AgentServer):
    code, findings = run.json(*at(server), "--samples", "5")
    assert code == 3
    assert findings["WG104"]["verdict"] == "unknown"
    assert "--samples 20" in findings["WG104"]["remedy"]
    assert run.json(*at(server), "--samples", "2", "--percentile", "0.5")[0] == 0


def test_the_gateways_own_view_is_evidence(run: Run, server: AgentServer):
    host = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 8080}}}
    health = {"failed_active_health_check": True, "eds_health_status": "HEALTHY"}
    server.script.clusters = {"cluster_statuses": [{"name": "c", "host_statuses": [host | {"health_status": health}]}]}
    code, findings = run.json(*at(server), "--gateway-admin", server.url)
    assert code == 1
    assert findings["WG103"]["observed"] == "0 of 1 hosts healthy"
    assert "failed_active_health_check" in findings["WG103"]["why"]


def test_the_v1_that_clients_write_behind_the_base_url_is_understood(run: Run, server: AgentServer):
    assert run("--admin", f"{server.url}/", "--base-url", f"{server.url}/v1/")[0] == 0


def test_the_key_is_read_from_its_variable_and_never_shown(
    run: Run, server: AgentServer, monkeypatch: pytest.MonkeyPatch
):
    server.script.api_key = "sk-very-secret"
    assert run(*at(server))[0] == 3
    monkeypatch.setenv("LLM_KEY", "sk-very-secret")
    code, out, err = run(*at(server), "--api-key-env", "LLM_KEY")
    assert code == 0
    assert "sk-very-secret" not in out + err


def test_options_are_read_from_the_environment(run: Run, server: AgentServer, monkeypatch: pytest.MonkeyPatch):
    for name, value in {"ADMIN": server.url, "BASE_URL": server.url, "MODEL": "smollm2", "OUTPUT": "json"}.items():
        monkeypatch.setenv(f"WARMGATE_{name}", value)
    code, out, _ = run()
    assert code == 0
    assert json.loads(out)["verdict"] == "pass"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param([], "--admin", id="nothing"),
        pytest.param(["--admin", NOWHERE], "--base-url", id="no-base-url"),
        pytest.param(["--admin", "127.0.0.1:8081", "--base-url", NOWHERE], "http://HOST:PORT", id="no-scheme"),
        pytest.param(["--admin", "ftp://127.0.0.1", "--base-url", NOWHERE], "http://HOST:PORT", id="ftp"),
        pytest.param(["--admin", "http://", "--base-url", NOWHERE], "http://HOST:PORT", id="no-host"),
        pytest.param(["--admin", "http://h:99999", "--base-url", NOWHERE], "65535", id="port-too-high"),
        pytest.param(["--admin", "http://h:eighty", "--base-url", NOWHERE], "not a URL", id="port-is-a-word"),
        pytest.param(["--admin", "http://h:0", "--base-url", NOWHERE], "port 0", id="port-zero"),
        pytest.param(["--admin", "http://[::1", "--base-url", NOWHERE], "not a URL", id="broken-ipv6"),
        pytest.param(["--admin", "http://u:pw-xyz@h", "--base-url", NOWHERE], "--api-key-env", id="credentials"),
        pytest.param(["--admin", "http://h?a=b", "--base-url", NOWHERE], "http://HOST:PORT", id="query"),
        pytest.param(["--admin", "http://a b", "--base-url", NOWHERE], "http://HOST:PORT", id="space"),
        pytest.param(["--admin", "http://h\x00", "--base-url", NOWHERE], "not a URL", id="control-character"),
        pytest.param(["--percentile", "95"], "--percentile 95", id="percentile-as-percent"),
        pytest.param(["--percentile", "0"], "--percentile 0", id="percentile-zero"),
        pytest.param(["--percentile", "nan"], "--percentile nan", id="percentile-nan"),
        pytest.param(["--ttft-ms", "inf"], "--ttft-ms inf", id="endless-target"),
        pytest.param(["--ttft-ms", "0"], "--ttft-ms 0", id="zero-target"),
        pytest.param(["--samples", "0"], "--samples 0", id="no-samples"),
        pytest.param(["--samples", "1.5"], "--samples", id="half-a-sample"),
        pytest.param(["--memory-mib", "-1"], "--memory-mib -1", id="negative-memory"),
        pytest.param(["--gpu-free-mib", "-1"], "--gpu-free-mib -1", id="negative-gpu-memory"),
        pytest.param(["--expect", ""], "--expect", id="expect-nothing"),
        pytest.param(["--model", ""], "--model", id="empty-name"),
        pytest.param(["--timeout", "0"], "--timeout", id="no-time"),
        pytest.param(["--output", "xml"], "--output", id="unknown-output"),
        pytest.param(["--ca-cert", "/nowhere.pem"], "--ca-cert", id="no-such-file"),
        pytest.param(["--ca-cert", __file__], "--ca-cert", id="not-a-certificate"),
        pytest.param(["--api-key-env", "NOT_SET_AT_ALL"], "NOT_SET_AT_ALL", id="key-not-set"),
        pytest.param(["--api-key", "x"], "--api-key", id="key-on-the-command-line"),
    ],
)
def test_a_wrong_request_is_a_usage_error_before_anything_is_asked(run: Run, arguments: list[str], words: str):
    if arguments and arguments[0] != "--admin":
        arguments = ["--admin", NOWHERE, "--base-url", NOWHERE, *arguments]
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert "Traceback" not in err
    assert "pw-xyz" not in err


def test_a_key_that_no_header_may_carry_is_a_usage_error(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LLM_KEY", "geheim\nnis")
    code, _, err = run("--admin", NOWHERE, "--base-url", NOWHERE, "--api-key-env", "LLM_KEY")
    assert code == 2
    assert "geheim" not in err


def test_waiting_shows_state_phase_and_time_until_it_passes(run: Run, server: AgentServer):
    start = time.monotonic()
    loading = modelz(state=State.LOADING, reason="reading weights", phases={State.LOADING: 7.0}, warmup=None)
    server.script.modelz = lambda: loading if time.monotonic() - start < 1.2 else modelz()
    code, out, err = run(*at(server), "--wait", "20")
    assert code == 0
    assert out.splitlines()[-1].startswith("PASS")
    assert "loading: reading weights (7 s in this state)" in err
    assert err.count("reading weights") == 1
    assert 1.2 <= time.monotonic() - start < 15


def test_waiting_puts_no_load_on_a_model_that_is_not_ready(run: Run, server: AgentServer):
    server.script.modelz = modelz(state=State.WARMING)
    code, _, _ = run(*at(server), "--wait", "1.5", "--timeout", "5")
    assert code == 1
    before_the_verification = [request.path for request in server.requests].index("/v1/models")
    assert "/v1/chat/completions" not in [request.path for request in server.requests[:before_the_verification]]
    assert before_the_verification > 1


def test_waiting_for_an_agent_that_does_not_come_ends_at_the_bound(run: Run):
    start = time.monotonic()
    code, out, err = run("--admin", NOWHERE, "--base-url", NOWHERE, "--wait", "1")
    assert code == 3
    assert "WG107" in out
    assert "waiting for the agent: connection refused" in err
    assert 1 <= time.monotonic() - start < 10


def test_waiting_ends_early_when_the_engine_has_failed(run: Run, server: AgentServer):
    server.script.modelz = modelz(state=State.FAILED, reason="out of memory", live=False)
    start = time.monotonic()
    code, out, _ = run(*at(server), "--wait", "600")
    assert code == 1
    assert "out of memory" in out
    assert time.monotonic() - start < 15


def test_waiting_goes_on_when_the_gateway_is_behind(run: Run, server: AgentServer):
    start = time.monotonic()
    server.script.models = ()

    def follow() -> Any:
        if time.monotonic() - start > 1:
            server.script.models = ("smollm2",)
        return modelz()

    server.script.modelz = follow
    code, _, err = run(*at(server), "--wait", "20")
    assert code == 0
    assert "not yet: endpoint fail" in err


@pytest.mark.e2e
def test_ctrl_c_ends_a_wait_at_once_without_a_traceback(server: AgentServer):
    server.script.modelz = modelz(state=State.LOADING)
    command = [sys.executable, "-c", "from serving.cli.main import main; main()", "verify", *at(server), "--wait", "60"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not server.requests and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.rstrip().endswith("interrupted")


def test_help_shows_examples_and_the_exit_codes(run: Run):
    code, out, _ = run("--help")
    assert code == 0
    assert "warmgate verify --admin http://127.0.0.1:8081" in out
    assert "Exit code 0 pass" in out
