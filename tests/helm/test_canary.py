"""The canary is legal for KServe, leaves the stable release alone, and its promotion changes no Pod."""

from __future__ import annotations

import itertools
import re
import shlex
from typing import Any

import helm_python
import pytest

from tests.helm.pods import pods
from tests.helm.scenarios import notes, only, over, render, scenario

VALUES = scenario("canary")
EVERY_OVERRIDE = over(
    VALUES,
    {
        "model": {"env": {"A": "1", "GONE": "1"}, "args": ["--max-num-seqs=64"], "gpuMemoryUtilization": 0.8},
        "canary": {
            "image": {"tag": "0.1.1"},
            "maxModelLen": 16384,
            "gpuMemoryUtilization": 0.85,
            "args": ["--limit-mm-per-prompt", '{"image": 2, "video": 0}'],
            "env": {"A": "2", "B": "x,y"},
            "storageUri": "pvc://models/a,b/r2",
        },
        "image": {"digest": f"sha256:{'a' * 64}"},
    },
)
ONLY_WEIGHTS = over(VALUES, {"canary": {"args": [], "maxModelLen": 0}})
ALL = pytest.mark.parametrize(
    "values",
    [
        pytest.param(VALUES, id="the-scenario"),
        pytest.param(EVERY_OVERRIDE, id="every-override"),
        pytest.param(ONLY_WEIGHTS, id="other-weights-only"),
    ],
)


def stable_and_canary(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    spec = only(render(values), "InferenceService")["spec"]
    return spec["predictor"], spec["canary"][0]["predictor"]


@ALL
def test_kserves_validation_and_its_crd_take_the_canary(values: dict[str, Any]) -> None:
    service = only(render(values), "InferenceService")
    assert service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "none"
    stable, canary = stable_and_canary(values)
    assert service["spec"]["canary"][0]["trafficPercent"] == 20
    assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", canary["name"])
    assert canary["name"] != stable["name"]
    assert canary["model"]["storageUri"] != stable["model"]["storageUri"]
    assert canary["model"]["name"]  # the CRD requires it here, and KServe refuses it in the stable predictor
    assert "name" not in stable["model"]
    assert 1 <= canary["minReplicas"] <= stable["minReplicas"]
    assert not {"workerSpec", "maxReplicas", "scaleTarget", "scaleMetric", "autoScaling"} & set(canary)


@ALL
def test_the_canary_inherits_nothing(values: dict[str, Any]) -> None:
    """KServe fills what is unset, empty, zero or false from stable, so all of the Pod is stated, and not empty."""
    stable, canary = stable_and_canary(values)
    assert set(canary) == set(stable) - {"timeout", "deploymentStrategy"}
    assert set(canary["model"]) == set(stable["model"]) | {"name"}
    assert canary["model"]["args"]


def test_a_canary_leaves_the_stable_release_alone() -> None:
    without, beside = render(over(EVERY_OVERRIDE, {"canary": {"enabled": False}})), render(EVERY_OVERRIDE)
    before, after = only(without, "InferenceService"), only(beside, "InferenceService")
    assert before["metadata"] == after["metadata"]
    assert before["spec"] == {"predictor": after["spec"]["predictor"]}
    assert only(without, "ServingRuntime") in beside


def test_another_image_is_another_runtime_beside_the_stable_one() -> None:
    runtimes = [each for each in render(EVERY_OVERRIDE) if each["kind"] == "ServingRuntime"]
    assert {each["metadata"]["name"] for each in runtimes} == {
        each["model"]["runtime"] for each in stable_and_canary(EVERY_OVERRIDE)
    }
    images = {each["spec"]["containers"][0]["image"] for each in runtimes}
    assert images == {f"warmgate@sha256:{'a' * 64}", "warmgate:0.1.1"}


def promoted(values: dict[str, Any]) -> dict[str, Any]:
    """The values after the command that NOTES.txt gives for a promotion, read as a shell and Helm read it."""
    (line,) = (line for line in notes(values).splitlines() if line.strip().startswith("promote "))
    words = shlex.split(line.split("--reset-then-reuse-values")[1])
    readers = {
        "--set": helm_python.parse_set_string,
        "--set-string": helm_python.parse_set_string_values,
        "--set-json": helm_python.parse_set_json,
    }
    for option, expression in zip(words[::2], words[1::2], strict=True):
        values = over(values, readers[option](expression))
    return values


@ALL
def test_the_promotion_that_notes_tell_changes_no_pod_of_the_canary(values: dict[str, Any]) -> None:
    _, canary = pods(render(values))
    after = render(promoted(values))
    (stable,) = pods(after)
    assert stable == canary
    assert "canary" not in only(after, "InferenceService")["spec"]
    assert only(after, "InferenceService")["metadata"] == only(render(values), "InferenceService")["metadata"]


@pytest.mark.parametrize(
    ("values", "stable"),
    [
        pytest.param({}, 3, id="as-kserve-has-it"),
        pytest.param({"keepStable": True}, 4, id="kept"),
        pytest.param({"keepStable": True, "replicas": 4}, 4, id="kept-before-a-promotion"),
        pytest.param({"replicas": 4}, 1, id="all-replaced"),
    ],
)
def test_stable_keeps_its_replicas_beside_a_ready_canary_if_told_to(values: dict[str, Any], stable: int) -> None:
    """KServe subtracts the canary's replicas, warm or not, once one of them is ready, and leaves at least one."""
    predictor, canary = stable_and_canary(over(VALUES, {"canary": values}))
    assert max(predictor["minReplicas"] - canary["minReplicas"], 1) == stable
    alone = only(render(over(VALUES, {"canary": {**values, "enabled": False}})), "InferenceService")
    assert alone["spec"]["predictor"]["minReplicas"] == 4


def test_no_step_of_a_release_changes_a_pod_that_stays() -> None:
    """From the stable release alone over canary, weights, replicas and promotion to the next canary, and back."""
    full = over(EVERY_OVERRIDE, {"canary": {"replicas": 4, "trafficPercent": 50, "keepStable": True}})
    after = promoted(full)
    assert (after["canary"]["replicas"], after["canary"]["keepStable"]) == (1, False)  # the next one begins small
    following = {"enabled": True, "release": "r3", "storageUri": "pvc://models/qwen3-0.6b/r3"}
    steps = [
        over(EVERY_OVERRIDE, {"canary": {"enabled": False}}),
        over(EVERY_OVERRIDE, {"canary": {"trafficPercent": 0}}),
        EVERY_OVERRIDE,
        over(EVERY_OVERRIDE, {"canary": {"enabled": False}}),
        EVERY_OVERRIDE,
        over(EVERY_OVERRIDE, {"endpoint": {"replicas": 5}}),
        full,
        after,
        over(after, {"canary": following}),
        over(after, {"endpoint": {"timeoutSeconds": 900, "strategy": {"maxSurge": 2}}}),
    ]
    seen = [{pod.owner: pod for pod in pods(render(step))} for step in steps]
    assert [sorted(each) for each in seen][-3:] == [
        ["qwen-r2-predictor"],
        ["qwen-r2-predictor", "qwen-r3-predictor"],
        ["qwen-r2-predictor"],
    ]
    for before, then in itertools.pairwise(seen):
        for owner in before.keys() & then.keys():
            assert before[owner] == then[owner]


def test_the_promotion_moves_every_member_of_the_canary() -> None:
    """If nothing had to be moved, the test above would show nothing."""
    stable, canary = pods(render(EVERY_OVERRIDE))
    assert stable.container["image"] != canary.container["image"]
    assert stable.container["args"] != canary.container["args"]
    assert stable.env != canary.env
    assert "GONE" in stable.env
    assert "GONE" not in canary.env
