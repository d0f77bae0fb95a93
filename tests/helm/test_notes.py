"""NOTES.txt tells the truth: its numbers are those of the manifests, its commands exist and name what is there."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest

from serving.cli.verify import command as verify
from tests.helm.pods import pods
from tests.helm.scenarios import SCENARIOS, chart, only, over, render, scenario
from tests.helm.scenarios import notes as rendered_notes

EVERY = pytest.mark.parametrize("name", SCENARIOS)


def notes(values: dict[str, Any], **release: Any) -> str:
    """NOTES.txt without its indentation, one blank between words."""
    return "\n".join(" ".join(line.split()) for line in rendered_notes(values, **release).splitlines())


def numbers(pattern: str, text: str) -> list[int]:
    found = re.search(pattern, text)
    assert found is not None, (pattern, text)
    return [int(each) for each in found.groups()]


@EVERY
def test_the_gpus_are_those_of_the_manifests(name: str) -> None:
    values = over(chart().values, scenario(name))
    if not values["gpu"]["enabled"]:
        assert "none: this endpoint serves on CPU" in notes(scenario(name))
        return
    objects = render(scenario(name))
    per_pod = values["gpu"]["count"]
    per_replica = per_pod * (2 if name == "multi-node" else 1)
    if name == "no-kserve":
        replicas, canaries = only(objects, "Deployment")["spec"]["replicas"], 0
    else:
        spec = only(objects, "InferenceService")["spec"]
        replicas = spec["predictor"]["minReplicas"]
        canaries = sum(each["predictor"]["minReplicas"] for each in spec.get("canary", []))
    text = notes(scenario(name))
    (steady,) = numbers(rf"x {per_replica} \S+ = (\d+) GPU", text)
    assert steady == (replicas + canaries) * per_replica
    surge, each, peak = numbers(r"a rollout adds (\d+) x (\d+) of surge: (\d+) GPU", text)
    assert each == per_replica
    assert peak == steady + surge * per_replica
    (left,) = numbers(rf"the pool has {values['gpu']['poolSize']}: (\d+) are left", text)
    assert left == values["gpu"]["poolSize"] - peak


@EVERY
def test_the_times_are_those_of_the_manifests(name: str) -> None:
    text = notes(scenario(name))
    pod = pods(render(scenario(name)))[0]
    startup = pod.container["startupProbe"]
    assert numbers(r"not ready after (\d+) s", text) == [startup["failureThreshold"] * startup["periodSeconds"]]
    duck, drain, grace = numbers(r"(\d+) s lame duck \+ (\d+) s drain \+ 10 s to leave = (\d+) s", text)
    assert grace == pod.spec["terminationGracePeriodSeconds"] == duck + drain + 10
    assert [str(duck), str(drain)] == [pod.env["WARMGATE_LAME_DUCK"], pod.env["WARMGATE_DRAIN_TIMEOUT"]]
    if name == "no-kserve":
        deadline = only(render(scenario(name)), "Deployment")["spec"]["progressDeadlineSeconds"]
        assert numbers(r"counts as failed after (\d+) s", text) == [deadline]
    else:
        budget = startup["failureThreshold"] * startup["periodSeconds"]
        assert numbers(r"gives a rollout 600 s without progress: (\d+) s are left", text) == [600 - budget]


@EVERY
def test_what_is_named_is_what_is_rendered(name: str) -> None:
    text = notes(scenario(name))
    objects = render(scenario(name))
    for kind in ("InferenceService", "ServingRuntime", "Deployment", "ResourceClaimTemplate"):
        mine = [each["metadata"]["name"] for each in objects if each["kind"] == kind]
        if mine and name != "canary":
            assert f"{kind} {mine[0]}" in text
    assert pods(objects)[0].container["image"] in text
    for service in re.findall(r"port-forward service/(\S+)", text):
        assert service in {pod.owner for pod in pods(objects)}
    for deployment in re.findall(r" deployment/(\S+)", text):
        assert deployment in {pod.owner for pod in pods(objects)}
    assert set(re.findall(r"kubectl -n (\S+)", text)) == {"llm"}


def test_kubectl_waits_without_a_look_at_the_generation() -> None:
    """KServe reports its Deployment's generation, which lags behind the InferenceService's for as long as it lives."""
    (line,) = (line for line in notes(scenario("canary")).splitlines() if "inferenceservice/qwen" in line)
    ready = '--for=jsonpath={.status.conditions[?(@.type=="Ready")].status}=True'
    assert shlex.split(line) == f"kubectl -n llm wait {ready} inferenceservice/qwen --timeout=600s".split()


def test_a_model_cache_that_kserve_did_not_see_is_told_of() -> None:
    cache = {"enabled": True, "modelSize": "2Gi", "nodeGroups": ["gpu"]}
    values = {"kserve": {"localModelCache": cache}, "model": {"storageUri": "hf://Qwen/Qwen3-0.6B"}}
    name = only(render(values), "LocalModelCache")["metadata"]["name"]
    assert f"LocalModelCache {name} " in notes(values)
    assert "kubectl -n llm patch inferenceservice/qwen --type=merge --patch='{}'" in notes(values)
    assert "LocalModelCache" not in notes({})


@EVERY
def test_the_line_of_verify_is_one_that_warmgate_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = (line for line in notes(scenario(name)).splitlines() if line.startswith("warmgate verify"))
    forwarded = re.search(r"port-forward \S+ (\d+):80 (\d+):8081", notes(scenario(name)))
    assert forwarded is not None
    given = verify.make_context("verify", shlex.split(line)[2:]).params
    assert given["base_url"] == f"http://127.0.0.1:{forwarded[1]}"
    assert given["admin"] == f"http://127.0.0.1:{forwarded[2]}"
    assert f"--served-model-name={given['model']}" in pods(render(scenario(name)))[0].container["args"]


@EVERY
def test_the_line_of_curl_asks_for_the_served_model(name: str) -> None:
    (line,) = (line for line in notes(scenario(name)).splitlines() if "chat/completions" in line)
    words = shlex.split(line)
    assert json.loads(words[words.index("-d") + 1])["model"] == "qwen"


def test_with_an_api_key_every_line_uses_it() -> None:
    text = notes(scenario("air-gapped"))
    assert """get secret qwen-api-key -o go-template='{{index .data "api-key" | base64decode}}'""" in text
    (line,) = (line for line in text.splitlines() if line.startswith("warmgate verify"))
    (variable,) = re.findall(r"export (\w+)=", text)
    assert f"--api-key-env {variable}" in line
    assert f'"Authorization: Bearer ${variable}"' in text
    assert "--api-key-env" not in notes({})


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        pytest.param(
            {"endpoint": {"loadSeconds": 500}},
            "KServe gives up on a rollout after 600 s without progress",
            id="slow-load",
        ),
        pytest.param(
            {"endpoint": {"strategy": {"maxSurge": 2}}, "gpu": {"poolSize": 3}},
            "the pool has 3, so not all of the surge fits",
            id="half-a-surge",
        ),
        pytest.param(
            over(scenario("canary"), {"canary": {"trafficPercent": 50}}),
            "50 % of the traffic would meet 25 % of the Pods",
            id="a-canary-with-too-much-traffic",
        ),
        pytest.param(
            scenario("canary"), "3 stable Pods would serve 80 % of what 4 serve now", id="a-stable-that-shrinks-too-far"
        ),
    ],
)
def test_what_is_unwise_is_a_warning(values: dict[str, Any], warning: str) -> None:
    assert f"WARNING: {warning}" in notes(values)


def test_the_defaults_warn_of_nothing_and_ask_for_the_pool() -> None:
    text = notes({})
    assert "WARNING" not in text
    assert "WARNING" not in notes(over(scenario("canary"), {"canary": {"trafficPercent": 25}}))
    kept = notes(over(scenario("canary"), {"canary": {"keepStable": True}}))
    assert "KServe keeps 4 of 4 stable Pods" in kept
    assert "WARNING" not in kept
    assert "state gpu.poolSize" in text


def test_keda_is_told_with_its_most_gpus() -> None:
    assert "KEDA may go up to 6 replicas: 6 GPUs" in notes(scenario("keda"))


def test_the_canarys_commands_render_and_name_its_release() -> None:
    text = notes(scenario("canary"), name="chat")
    assert text.count("helm upgrade chat CHART -n llm --reset-then-reuse-values") == 4
    assert "KServe keeps 3 of 4 stable Pods" in text
    assert "--set canary.replicas=4,canary.keepStable=true" in text
    warm = "wait --for=jsonpath={.status.availableReplicas}=4 deployment/chat-r2-predictor"
    assert any(warm in " ".join(shlex.split(line)) for line in text.splitlines() if "availableReplicas" in line)
    assert "(that takes 8 GPUs)" in text
    assert "Canary" not in notes({})


def test_ray_is_asked_for_where_it_is_needed() -> None:
    assert "the image must contain Ray" in notes(scenario("multi-node"))
    assert "Ray" not in notes({})
