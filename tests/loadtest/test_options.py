"""The command line's contract: each option does what it says, a run needs no profile file, two endpoints make A/B."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from loadtest.cli import command
from loadtest.load import ClosedLoop, OpenLoop
from loadtest.options import OPTIONS, Asked
from serving.errors import Refused
from tests.fakes.sse_server import Program, SseServer, sse_server
from tests.loadtest.harness import Harness, profile_file, run


def test_the_help_shows_every_option_and_examples():
    told = CliRunner().invoke(command, ["--help"]).output
    for option in OPTIONS:
        assert f"--{option.name}" in told
    assert "Examples:" in told
    assert "--self-check" in told


def test_every_option_is_a_variable_too(monkeypatch: pytest.MonkeyPatch):
    parameters = {parameter.name: parameter for parameter in command.params}
    for option in OPTIONS:
        assert parameters[option.name.replace("-", "_")].envvar == option.variable


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        pytest.param({"streams": 3, "requests": 9}, (3, 9, None), id="a-closed-loop-of-requests"),
        pytest.param({"streams": 3, "duration": 7.0}, (3, None, 7.0), id="a-closed-loop-of-seconds"),
    ],
)
def test_streams_make_a_closed_loop(asked: dict[str, Any], said: tuple[Any, ...]):
    load = Asked(profile="demo", no_gates=True, **asked).load_profile().load
    assert isinstance(load, ClosedLoop)
    loop = load.closed_loop
    assert (loop.concurrency, loop.requests, loop.duration_s) == said


def test_a_rate_makes_an_open_loop_by_the_law_that_was_asked():
    load = Asked(profile="smoke", rate=7, duration=3, arrivals="gamma", burstiness=0.5, seed=9, no_gates=True)
    found = load.load_profile().load
    assert isinstance(found, OpenLoop)
    assert (found.rate_rps, found.duration_s, found.arrivals, found.burstiness, found.seed) == (7, 3, "gamma", 0.5, 9)


def test_lengths_workers_and_sources_are_overridden():
    asked = Asked(
        prompt_tokens=64, output_tokens=5, workers=2, engines="http://a:1, http://b:2/metrics", agents="http://a:3"
    )
    profile = asked.load_profile()
    assert (profile.max_tokens, profile.workers) == (5, 2)
    assert profile.telemetry.engines == ("http://a:1", "http://b:2")
    assert profile.telemetry.agents == ("http://a:3",)


def test_a_key_comes_from_a_file_or_a_variable_but_not_from_both(tmp_path: Path):
    key = tmp_path / "key"
    key.write_text("sk-from-file\n")
    with sse_server() as server:
        done = run(tmp_path, "--profile", "smoke", "--base-url", server.url, "--api-key-file", key)
        assert done.code == 0, done.err
        assert {served.headers["authorization"] for served in server.served} == {"Bearer sk-from-file"}
    both = Asked(api_key_env="HOME", api_key_file=key)
    with pytest.raises(Refused, match="give one of them"):
        both.target("http://127.0.0.1:1")
    with pytest.raises(Refused, match="No such file"):
        Asked(api_key_file=tmp_path / "none").target("http://127.0.0.1:1")


def test_a_document_on_stdout_has_the_members_that_scripts_rely_on(tmp_path: Path):
    with sse_server(Program(ttft_ms=20, itl_ms=4, tokens=8)) as server:
        arguments = ("--streams", "4", "--requests", "12", "--no-gates", "--output", "json")
        done = run(tmp_path, *arguments, "--base-url", server.url)
    assert done.code == 0, done.err
    body = json.loads(done.out)
    assert (body["schema"], body["command"], body["verdict"], body["exit_code"]) == (
        "warmgate.loadtest/v1",
        "loadtest",
        "pass",
        0,
    )
    assert (body["load"]["streams"], body["outcomes"]["ok"]) == (4, 12)
    assert body["load"]["achieved_per_s"] > 0
    assert (body["tokens"]["prompt"], body["tokens"]["output"]) == (12 * 7, 12 * 8)
    for metric in ("ttft", "ttft_wire", "itl", "tpot", "e2e", "stall", "schedule_lag", "client_lag"):
        assert {"n", "mean", "p50", "p90", "p95", "p99", "max"} <= set(body["metrics"][f"{metric}_ms"]), metric
    assert body["goodput"] == 1.0
    assert body["measurement"]["kernel_timestamps"] is True
    assert body["measurement"]["cpu_us_per_chunk"] > 0
    assert "environment" in body
    assert body["findings"]


def ab_profile(directory: Path) -> Path:
    return profile_file(
        directory,
        {"arrivals": "constant", "rate_rps": 60, "duration_s": 8, "seed": 3},
        confidence=0.95,
        margins=[{"metric": "ttft", "statistic": "p50", "at_most_worse_share": 0.5}],
    )


@pytest.mark.parametrize(
    ("ttft_ms", "code"), [pytest.param(40, 0, id="equal"), pytest.param(80, 1, id="twice-as-slow")]
)
def test_a_candidate_is_interleaved_with_the_baseline_and_compared(tmp_path: Path, ttft_ms: float, code: int):
    with sse_server(Program(ttft_ms=40)) as stable, sse_server(Program(ttft_ms=ttft_ms)) as canary:
        done = run(tmp_path, "--profile", ab_profile(tmp_path), "--base-url", stable.url, "--candidate", canary.url)
        asked = [[served.body["messages"] for served in server.served] for server in (stable, canary)]
    assert done.code == code, done.out + done.err
    assert [len(messages) for messages in asked] == [240, 240]
    assert sorted(map(str, asked[0])) == sorted(map(str, asked[1])), "both sides are asked the same"
    arms = [seen.arm for seen in sorted(done.ledger.requests, key=lambda seen: seen.index)]
    pairs = [arms[at : at + 2] for at in range(0, len(arms), 2)]
    assert {tuple(sorted(pair)) for pair in pairs} == {("baseline", "candidate")}
    assert 0.3 < sum(pair[0] == "baseline" for pair in pairs) / len(pairs) < 0.7, "neither is always first"
    assert done.report["environment"]["candidate_url"] == canary.url


def test_a_sweep_finds_between_which_rates_the_server_gives_up(tmp_path: Path):
    """It answers 40 requests in a second and refuses the rest: the rate that meets the gate lies near that."""
    profile = tmp_path / "sweep.yaml"
    sweep = {"start_rps": 10, "max_rps": 160, "probe_s": 2, "longest_probe_s": 4, "resolution_share": 0.5}
    body = {
        "load": {"arrivals": "constant", "sweep": sweep},
        "warmup_s": 0.5,
        "max_tokens": 4,
        "confidence": "none",
        "harness": {"schedule_lag_p99_ms": 2000, "cpu_share": 1.0, "rate_error_share": 0.5},
        "slos": [{"metric": "error_rate", "at_most_share": 0.1}],
    }
    profile.write_text(yaml.safe_dump(body))
    with sse_server(Limited(40)) as server:
        done = Harness(tmp_path, "--profile", profile, "--base-url", server.url).wait(60)
    assert done.code == 0, done.out + done.err
    answer = done.report["sweep"]
    assert 20 <= answer["capacity_per_s"] <= 48
    assert answer["capacity_per_s"] < answer["ceiling_per_s"] <= 80
    assert "warm capacity" in done.out


class Limited:
    """Answers so many requests in a second and refuses the others."""

    def __init__(self, per_second: int) -> None:
        import time

        self._now, self._per_second, self._second, self._count = time.monotonic, per_second, 0, 0

    def __call__(self, number: int) -> Program:
        second = int(self._now())
        self._count = self._count + 1 if second == self._second else 1
        self._second = second
        return Program(ttft_ms=5, tokens=2) if self._count <= self._per_second else Program(status=429)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a CA, and certificates of a server and of a client that it signed."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make certificates")
    directory = tmp_path_factory.mktemp("ca")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca")
    for name, subject in (("server", "/CN=127.0.0.1"), ("client", "/CN=harness")):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        (directory / f"{name}.ext").write_text("subjectAltName=IP:127.0.0.1\n")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signing)
    return directory


@pytest.mark.parametrize("shown", [True, False], ids=["certificate-shown", "no-certificate"])
def test_a_server_that_wants_a_certificate_gets_it(tmp_path: Path, authority: Path, shown: bool):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    context.load_verify_locations(authority / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    own = ("--client-cert", authority / "client.pem", "--client-key", authority / "client.key")
    server = SseServer(Program(), tls=context)
    try:
        arguments = ("--profile", "smoke", "--base-url", server.url, "--ca-cert", authority / "ca.pem")
        done = run(tmp_path, *arguments, *(own if shown else ()))
    finally:
        server.close()
    assert done.code == (0 if shown else 3), done.out + done.err
    if shown:
        assert done.ledger.end.kernel_stamps == 1.0, "TLS is decrypted above reads that the kernel stamped"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({"client_key": Path("k")}, "--client-key goes with --client-cert", id="key-alone"),
        pytest.param({"client_cert": Path("none.pem")}, "--client-cert none.pem", id="no-such-file"),
    ],
)
def test_a_certificate_that_is_not_good_is_refused_in_one_line(options: dict[str, Any], said: str):
    with pytest.raises(Refused, match=said):
        Asked(**options).target("https://127.0.0.1:1")
    with pytest.raises(Refused, match="for https:// only"):
        Asked(**options).target("http://127.0.0.1:1")
