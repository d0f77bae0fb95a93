"""Load tests and verifications in the cluster: their Pods, and that the commands in them do what they are for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

import loadtest
from loadtest.profile import Profile, load_profile, shipped
from tests.fakes.agent_server import agent_server
from tests.fakes.sse_server import Program, sse_server
from tests.helm.scenarios import CHART, render
from tests.loadtest.test_command import closed_port

REPOSITORY = CHART.parents[1]
LOCUSTFILE = Path(loadtest.__file__).with_name("locustfile.py")
STEADY = {
    "load": {"arrivals": "constant", "rate_rps": 10, "duration_s": 2},
    "prompts": {"words": 8},
    "max_tokens": 8,
    "confidence": "none",
    "harness": {"schedule_lag_p99_ms": 60_000},
    "slos": [{"metric": "error_rate", "at_most_share": 0.1}],
}
SCHEMA = json.loads((CHART / "values.schema.json").read_text())["properties"]["loadtest"]["properties"]


def with_loadtest(**values: Any) -> list[dict[str, Any]]:
    return render({"loadtest": {"enabled": True, **values}})


def one(documents: list[dict[str, Any]], kind: str, ending: str = "") -> dict[str, Any]:
    """The only document of a kind whose name ends so."""
    (found,) = (each for each in documents if each["kind"] == kind and each["metadata"]["name"].endswith(ending))
    return found


def pod_of(document: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = document["spec"] if document["kind"] == "Pod" else document["spec"]["template"]["spec"]
    return spec


def container_of(document: dict[str, Any], kind: str = "containers") -> dict[str, Any]:
    (container,) = pod_of(document)[kind]
    found: dict[str, Any] = container
    return found


def option(arguments: Sequence[str], name: str) -> str:
    (found,) = (each.partition("=")[2] for each in arguments if each.startswith(f"--{name}="))
    return found


def test_only_the_hook_of_helm_test_is_there_by_default():
    documents = render({})
    assert not [document for document in documents if document["kind"] == "Job"]
    hook = one(documents, "Pod", "-verify")["metadata"]["annotations"]
    assert hook["helm.sh/hook"] == "test"
    assert hook["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"


class TestPods:
    @pytest.fixture(params=["-master", "-worker", "-verify"])
    def document(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        documents = render({"loadtest": {"enabled": True}, "model": {"apiKey": {"secretName": "the-key"}}})
        return one(documents, "Pod" if request.param == "-verify" else "Job", request.param)

    def test_they_run_once_with_nothing_that_they_do_not_need(self, document: dict[str, Any]):
        pod = pod_of(document)
        assert pod["restartPolicy"] == "Never"
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False, "a Service named warmgate would set options"
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"] + pod.get("initContainers", []):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            for bound in ("requests", "limits"):
                assert set(container["resources"][bound]) == {"cpu", "memory"}, "and no GPU"

    def test_a_key_is_read_from_its_secret_and_only_named_in_the_arguments(self, document: dict[str, Any]):
        pod = pod_of(document)
        for container in pod["containers"] + pod.get("initContainers", []):
            (variable,) = container["env"]
            assert variable["valueFrom"]["secretKeyRef"] == {"name": "the-key", "key": "api-key"}
            if "--worker" not in container["args"]:  # its master tells it the name
                assert option(container["args"], "api-key-env") == variable["name"]

    def test_they_end_in_time(self, document: dict[str, Any]):
        spec = document["spec"]
        assert spec["activeDeadlineSeconds"] > 0
        if document["kind"] == "Job":
            assert spec["backoffLimit"] == 0
            assert spec["ttlSecondsAfterFinished"] == 86400
        else:
            arguments = container_of(document)["args"]
            assert spec["activeDeadlineSeconds"] > int(option(arguments, "wait")) + int(option(arguments, "timeout"))

    def test_the_network_policy_lets_them_through(self, document: dict[str, Any]):
        labels = document["metadata"]["labels"]
        if document["kind"] == "Job":
            labels = document["spec"]["template"]["metadata"]["labels"]
        peers = [peer for rule in one(render({}), "NetworkPolicy")["spec"]["ingress"] for peer in rule["from"]]
        (ours,) = (peer["podSelector"] for peer in peers if "podSelector" in peer)
        (listed,) = ours["matchExpressions"]
        assert ours["matchLabels"].items() <= labels.items()
        assert labels[listed["key"]] in listed["values"]


class TestLoadTest:
    def test_the_workers_find_the_master_and_nobody_else(self):
        documents = with_loadtest()
        service = one([document for document in documents if "-load-" in document["metadata"]["name"]], "Service")
        master, worker = one(documents, "Job", "-master"), one(documents, "Job", "-worker")
        selector = service["spec"]["selector"].items()
        assert selector <= master["spec"]["template"]["metadata"]["labels"].items()
        assert not selector <= worker["spec"]["template"]["metadata"]["labels"].items()
        assert option(container_of(worker)["args"], "master-host") == f"{service['metadata']['name']}.llm.svc"
        (port,) = service["spec"]["ports"]
        assert port["targetPort"] in {port["name"] for port in container_of(master)["ports"]}

    def test_all_workers_run_at_once_and_all_are_expected(self):
        documents = with_loadtest(workers=5)
        spec = one(documents, "Job", "-worker")["spec"]
        assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 5, 5)
        assert option(container_of(one(documents, "Job", "-master"))["args"], "expect-workers") == "5"

    def test_a_master_without_workers_ends_by_its_deadline_and_not_with_a_verdict(self):
        arguments = container_of(one(with_loadtest(), "Job", "-master"))["args"]
        assert not [argument for argument in arguments if argument.startswith("--expect-workers-max-wait")]

    def test_the_workers_wait_for_longer_than_the_verification_before_the_load(self):
        asked = "from locust import runners as r; print(r.CONNECT_TIMEOUT * r.CONNECT_RETRY_COUNT)"
        done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
        assert SCHEMA["waitSeconds"]["maximum"] <= int(done.stdout) - 60
        verify = container_of(one(with_loadtest(), "Job", "-master"), "initContainers")
        assert int(option(verify["args"], "wait")) == SCHEMA["waitSeconds"]["maximum"]
        assert "initContainers" not in pod_of(one(with_loadtest(waitSeconds=0), "Job", "-master"))

    def test_another_test_has_another_name_and_the_same_has_the_same(self):
        def name(**values: Any) -> str:
            found: str = one(with_loadtest(**values), "Job", "-master")["metadata"]["name"]
            return found

        secret = {"loadtest": {"enabled": True}, "image": {"pullSecrets": ["registry"]}}
        assert one(render(secret), "Job", "-master")["metadata"]["name"] != name(), "its Pods have changed"
        assert name() == name()
        assert len({name(), name(run="2"), name(workers=3), name(args=["--rate=1"]), name(baseUrl="http://gw")}) == 5

    def test_the_longest_name_of_an_endpoint_makes_no_name_too_long(self):
        longest = "q" * 40
        documents = render({"loadtest": {"enabled": True, "profile": {"body": STEADY}}}, name=longest)
        for document in documents:
            assert len(document["metadata"]["name"]) <= 63 - len("-256"), document["metadata"]["name"]

    def test_its_report_may_go_to_a_claim(self):
        def volumes(**values: Any) -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = pod_of(one(with_loadtest(**values), "Job", "-master"))["volumes"]
            return found

        assert {"name": "reports", "persistentVolumeClaim": {"claimName": "reports"}} in volumes(reportClaim="reports")
        assert {"name": "reports", "emptyDir": {"sizeLimit": "2Gi"}} in volumes()

    def test_a_canary_can_be_compared_with_the_stable_release(self):
        documents = with_loadtest(profile={"name": "canary"}, candidate="http://qwen-r2-predictor.llm.svc")
        arguments = container_of(one(documents, "Job", "-master"))["args"]
        assert option(arguments, "host") == "http://qwen-r1-predictor.llm.svc"
        assert option(arguments, "candidate") == "http://qwen-r2-predictor.llm.svc"


class TestProfile:
    def test_the_schema_knows_the_shipped_ones_and_the_keys_of_ones_own(self):
        profile = SCHEMA["profile"]["properties"]
        assert profile["name"]["enum"] == shipped()
        assert set(profile["body"]["propertyNames"]["enum"]) == set(Profile.model_fields)

    def test_a_shipped_one_needs_no_config_map(self):
        documents = with_loadtest(profile={"name": "soak"})
        assert option(container_of(one(documents, "Job", "-master"))["args"], "profile") == "soak"
        assert not [document for document in documents if document["kind"] == "ConfigMap"]

    def test_ones_own_arrives_as_it_was_written(self, tmp_path: Path):
        documents = with_loadtest(profile={"body": STEADY})
        text = one(documents, "ConfigMap")["data"]["profile.yaml"]
        (tmp_path / "profile.yaml").write_text(text)
        assert yaml.safe_load(text) == STEADY
        assert load_profile(str(tmp_path / "profile.yaml")).max_tokens == 8

    def test_a_key_that_no_profile_has_is_refused(self):
        with pytest.raises(helm_python.HelmError, match="warmup"):
            with_loadtest(profile={"body": {**STEADY, "warmup": 1}})


def started(container: dict[str, Any], directory: Path, put: dict[str, str], *more: str) -> subprocess.Popen[str]:
    """A container's command, run here, with what the cluster would have provided in its place."""
    assert container["command"] == ["locust"]
    arguments = list(container["args"])
    for name, here in put.items():
        arguments = [argument.replace(name, here) for argument in arguments]
    directory.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "locust", *arguments, *more],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory), "ENDPOINT_API_KEY": "sk-secret"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("program", "code"),
    [
        pytest.param(Program(), 0, id="a-good-server"),
        pytest.param(Program(fault="truncate"), 1, id="truncated-streams"),
    ],
)
def test_master_and_workers_carry_out_the_load_with_the_very_arguments(tmp_path: Path, program: Program, code: int):
    (tmp_path / "profile.yaml").write_text(yaml.safe_dump(STEADY))
    port = str(closed_port())
    with sse_server(program) as server:
        values = {
            "model": {"apiKey": {"secretName": "the-key"}, "servedName": server.model},
            "loadtest": {"enabled": True, "profile": {"body": STEADY}, "engines": [server.url]},
        }
        documents = render(values)
        worker = container_of(one(documents, "Job", "-worker"))
        put = {
            "/opt/warmgate/locustfile.py": str(LOCUSTFILE),
            "/etc/warmgate/profile.yaml": str(tmp_path / "profile.yaml"),
            "http://qwen-r1-predictor.llm.svc": server.url,
            option(worker["args"], "master-host"): "127.0.0.1",
            "--master-port=5557": f"--master-port={port}",
        }
        bound = ("--master-bind-host=127.0.0.1", f"--master-bind-port={port}")
        workers = [started(worker, tmp_path / f"worker-{number}", put) for number in range(2)]
        master = started(container_of(one(documents, "Job", "-master")), tmp_path / "master", put, *bound)
        try:
            out, err = master.communicate(timeout=240)
            codes = [each.wait(timeout=30) for each in workers]
        finally:
            for process in (master, *workers):
                process.kill()
                process.communicate()
        assert {served.headers["authorization"] for served in server.served} == {"Bearer sk-secret"}
    assert master.returncode == code, err
    assert codes == [0, 0]
    assert ("PASS" if code == 0 else "FAIL") in out
    assert "sk-secret" not in out + err
    report = json.loads((tmp_path / "master" / "reports" / "latest" / "report.json").read_text())
    assert report["verdict"] == ("pass" if code == 0 else "fail")
    assert len(server.served) == 20
    written = {path.name: [each.name for each in path.iterdir()] for path in tmp_path.iterdir() if path.is_dir()}
    assert written == {"master": ["reports"], "worker-0": [], "worker-1": []}, "the root is read-only"


class TestVerify:
    def arguments(self, **verify: Any) -> list[str]:
        values = {"verify": {"waitSeconds": 0, **verify}, "model": {"servedName": "smollm2"}}
        found: list[str] = container_of(one(render(values), "Pod", "-verify"))["args"]
        return found

    @pytest.mark.parametrize(
        ("verify", "code", "said"),
        [
            pytest.param({}, 0, "PASS", id="ready"),
            pytest.param({"expect": "Paris, France"}, 1, "FAIL", id="a-wrong-answer"),
            pytest.param({"gpuFreeMib": 2048}, 1, "FAIL", id="no-gpu"),
        ],
    )
    def test_the_very_arguments_verify_an_endpoint(self, verify: dict[str, Any], code: int, said: str):
        with agent_server() as server:
            here = [re.sub(r"http://[^:]*?\.svc(:8081)?$", server.url, each) for each in self.arguments(**verify)]
            done = subprocess.run(
                [sys.executable, "-m", "serving.cli.main", *here],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        assert done.returncode == code, done.stderr
        assert said in done.stdout

    def test_it_asks_the_agent_and_the_service_or_the_gateway_that_was_named(self):
        assert option(self.arguments(), "admin") == "http://qwen-r1-predictor.llm.svc:8081"
        assert option(self.arguments(), "base-url") == "http://qwen-r1-predictor.llm.svc"
        assert option(self.arguments(baseUrl="https://llm.example.com"), "base-url") == "https://llm.example.com"

    def test_without_kserve_it_asks_the_ports_of_our_own_service(self):
        documents = render({"kserve": {"enabled": False}})
        arguments = container_of(one(documents, "Pod", "-verify"))["args"]
        ports = {port["port"] for port in one(documents, "Service")["spec"]["ports"]}
        assert option(arguments, "admin") == "http://qwen.llm.svc:8081"
        assert ports == {80, 8081}


class TestImage:
    STAGES = re.split(r"^FROM ", (REPOSITORY / "Dockerfile").read_text(), flags=re.MULTILINE)

    def test_it_is_a_target_and_the_serving_image_is_what_is_built_by_default(self):
        assert self.STAGES[-1].startswith("${ENGINE_IMAGE}")
        assert [stage for stage in self.STAGES if " AS tools" in stage.splitlines()[0]]

    def test_it_has_the_locustfile_where_the_jobs_look_for_it_and_runs_as_their_user(self):
        (tools,) = (stage for stage in self.STAGES if " AS tools" in stage.splitlines()[0])
        documents = with_loadtest()
        for role in ("-master", "-worker"):
            job = one(documents, "Job", role)
            assert option(container_of(job)["args"], "locustfile") in tools
            assert f"USER {pod_of(job)['securityContext']['runAsUser']}\n" in tools
            assert container_of(job)["workingDir"] in re.findall(r"^WORKDIR (\S+)$", tools, re.MULTILINE)

    def test_a_digest_wins_over_a_tag_and_a_registry_goes_in_front(self):
        image = {"registry": "r.example.com/llm", "tag": "1", "digest": f"sha256:{'0' * 64}"}
        (container,) = one(render({"tools": {"image": image}}), "Pod", "-verify")["spec"]["containers"]
        assert container["image"] == f"r.example.com/llm/warmgate-tools@sha256:{'0' * 64}"

    def test_it_comes_from_the_registry_of_the_serving_image_unless_told_otherwise(self):
        values = {"image": {"registry": "r.example.com"}}
        (container,) = one(render(values), "Pod", "-verify")["spec"]["containers"]
        assert container["image"] == "r.example.com/warmgate-tools:0.1.0"
