"""The endpoint's own numbers: what the base states alone, and what each way to get a GPU adds to it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from serving.agent.settings import Settings
from serving.cli.serve import command as serve
from tests.manifests.kustomize import MANIFESTS, build, build_at, endpoint_with, only
from tests.manifests.pods import Pods, pods

JOBS = ["jobs/batch-inference", "jobs/fine-tune/job", "jobs/fine-tune/volcano", "jobs/fine-tune/trainjob"]


def _container(group: Pods) -> dict[str, str]:
    return {each["name"]: each["value"] for each in group.containers[0]["env"]}


def _argument(group: Pods, name: str) -> str | None:
    found = [each.partition("=")[2] for each in group.containers[0]["args"] if each.startswith(f"{name}=")]
    return found[0] if found else None


def test_the_base_alone_is_an_endpoint_without_a_gpu():
    objects = build("base")
    assert sorted(each["kind"] for each in objects) == [
        "InferenceService",
        "Namespace",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "ServiceAccount",
        "ServingRuntime",
    ]
    (group,) = pods(objects)
    assert group.owner == "qwen-r1-predictor"
    assert group.replicas == 2
    assert "gpu" not in yaml.safe_dump(group.spec)
    assert group.containers[0]["args"] == ["--model=/mnt/models", "--port=8080", "--served-model-name=qwen"]


def test_the_readme_names_every_folder():
    told = (MANIFESTS / "README.md").read_text()
    folders = [each.name for each in MANIFESTS.iterdir() if each.is_dir()]
    nested = [each.name for above in ("components", "overlays", "jobs") for each in (MANIFESTS / above).iterdir()]
    assert [each for each in folders if f"`{each}/`" not in told] == []
    assert [each for each in nested if f"`{each}`" not in told and f"`{each}/" not in told] == []


@pytest.mark.parametrize("path", ["base", "overlays/gpu-pool", "overlays/canary-rehearsal", "overlays/dev-cpu"])
def test_startup_probe_and_both_timeouts_are_half_as_long_again_as_the_declared_load_time(path: str):
    objects = build(path)
    declared = float(only(objects, "InferenceService")["metadata"]["annotations"]["warmgate/load-seconds"])
    for group in pods(objects):
        probe, env = group.containers[0]["startupProbe"], _container(group)
        budget = probe["periodSeconds"] * probe["failureThreshold"]
        assert budget == float(env["WARMGATE_STARTUP_TIMEOUT"]) == float(env["VLLM_ENGINE_READY_TIMEOUT_S"])
        assert budget == declared * 1.5


@pytest.mark.parametrize("path", ["base", "overlays/canary-rehearsal"])
def test_grace_is_what_the_agent_makes_of_the_same_settings(path: str):
    for group in pods(build(path)):
        env = {key: value for key, value in _container(group).items() if key.startswith("WARMGATE_")}
        told = CliRunner().invoke(serve, ["--print-grace"], env=env, catch_exceptions=False)
        assert int(told.output) == group.spec["terminationGracePeriodSeconds"]


def test_every_variable_of_the_agent_is_an_option_of_it():
    for group in pods(build("overlays/canary-rehearsal")):
        ours = {key.removeprefix("WARMGATE_").lower() for key in _container(group) if key.startswith("WARMGATE_")}
        assert ours <= Settings.model_fields.keys()


def test_the_server_is_never_told_the_drain_twice():
    for group in pods(build("overlays/canary-rehearsal")):
        assert not any("shutdown-timeout" in each for each in group.containers[0]["args"])


@pytest.fixture(scope="module")
def renamed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """These manifests, with another name where the endpoint's stands."""
    folder = tmp_path_factory.mktemp("renamed") / "manifests"
    shutil.copytree(MANIFESTS, folder)
    service = folder / "base" / "inference-service.yaml"
    text = service.read_text()
    assert text.count("metadata:\n  name: qwen\n") == 1
    service.write_text(text.replace("metadata:\n  name: qwen\n", "metadata:\n  name: mistral\n"))
    return folder


@pytest.mark.parametrize("path", ["base", "overlays/gpu-pool", "overlays/canary-rehearsal", "overlays/dev-cpu"])
def test_another_name_is_taken_over_by_all_that_select_or_repeat_it(renamed: Path, path: str):
    objects = build_at(renamed / path)
    for each in objects:  # all that is left of the old one: the path of its weights
        assert "qwen" not in yaml.safe_dump(each).replace("models/qwen3-0.6b/r", "")
    for group in pods(objects):
        assert _argument(group, "--served-model-name") == "mistral"
        assert group.spec["serviceAccountName"] == "mistral"


@pytest.mark.parametrize("component", ["gpu-whole", "gpu-mig", "gpu-time-slicing", "quota"])
def test_a_component_is_for_an_endpoint_of_any_name(renamed: Path, component: str):
    objects = endpoint_with(component, "canary", resources=["base"], manifests=renamed)
    assert {group.owner for group in pods(objects)} == {"mistral-r1-predictor", "mistral-r2-predictor"}


@pytest.mark.parametrize("gpu", ["gpu-whole", "gpu-mig", "gpu-time-slicing"])
def test_components_may_stand_in_any_order_but_the_canary_behind_its_gpu(gpu: str):
    orders = (
        (gpu, "canary", "monitoring", "quota"),
        ("quota", "monitoring", gpu, "canary"),
        ("monitoring", gpu, "canary", "quota"),
    )
    made = {
        yaml.safe_dump(sorted(endpoint_with(*order), key=lambda each: (each["kind"], each["metadata"]["name"])))
        for order in orders
    }
    assert len(made) == 1


def test_a_mig_slice_is_one_that_the_nodes_layout_has():
    (group,) = pods(endpoint_with("gpu-mig"))
    layouts = yaml.safe_load((MANIFESTS / "gpu-operator" / "mig" / "config.yaml").read_text())["mig-configs"]
    (devices,) = layouts[group.spec["nodeSelector"]["nvidia.com/mig.config"]]
    (resource,) = [key for key in group.containers[0]["resources"]["limits"] if key.startswith("nvidia.com/")]
    assert resource.removeprefix("nvidia.com/mig-") in devices["mig-devices"]
    policy = only(build("gpu-operator"), "ClusterPolicy")["spec"]
    assert policy["mig"]["strategy"] == "mixed"  # with "single" every slice would be called nvidia.com/gpu


def test_turns_on_one_gpu_leave_room_for_each_other_and_are_never_production():
    objects = endpoint_with("gpu-time-slicing")
    (group,) = pods(objects)
    sharing = yaml.safe_load((MANIFESTS / "gpu-operator" / "device-plugin" / "time-slicing.yaml").read_text())[
        "sharing"
    ]
    (shared,) = sharing["timeSlicing"]["resources"]
    assert sharing["timeSlicing"]["renameByDefault"] is True
    assert sharing["timeSlicing"]["failRequestsGreaterThanOne"] is True
    assert group.asks("limits", f"{shared['name']}.shared") == "1"
    assert float(_argument(group, "--gpu-memory-utilization") or 1) * shared["replicas"] < 1
    assert only(objects, "InferenceService")["metadata"]["annotations"]["warmgate/class"] == "development"


@pytest.mark.parametrize("component", ["gpu-whole", "gpu-mig", "gpu-time-slicing"])
def test_a_canary_gets_the_same_gpu_as_the_stable_release(component: str):
    stable, canary = pods(endpoint_with(component, "canary"))
    assert canary.owner == "qwen-r2-predictor"
    for key in ("nodeSelector", "tolerations", "terminationGracePeriodSeconds", "serviceAccountName"):
        assert canary.spec[key] == stable.spec[key]
    assert canary.containers[0]["resources"] == stable.containers[0]["resources"]
    assert canary.containers[0]["startupProbe"] == stable.containers[0]["startupProbe"]


def test_a_promotion_as_it_is_described_makes_the_very_pods_of_the_canary(tmp_path: Path):
    folder = tmp_path / "manifests"
    shutil.copytree(MANIFESTS, folder)
    _, canary = pods(build_at(folder / "overlays" / "canary-rehearsal"))
    service = folder / "base" / "inference-service.yaml"
    stable = yaml.safe_load(service.read_text())
    told = yaml.safe_load((folder / "components" / "canary" / "canary.yaml").read_text())["spec"]["canary"][0][
        "predictor"
    ]
    stable["spec"]["predictor"]["name"] = told["name"]
    stable["spec"]["predictor"]["model"] |= {key: told["model"][key] for key in ("storageUri", "args")}
    service.write_text(yaml.safe_dump(stable))
    overlay = folder / "overlays" / "canary-rehearsal" / "kustomization.yaml"
    rehearsal = yaml.safe_load(overlay.read_text())
    rehearsal["components"].remove("../../components/canary")
    rehearsal["patches"] = [each for each in rehearsal["patches"] if each["path"] != "engine.yaml"]
    overlay.write_text(yaml.safe_dump(rehearsal))
    (promoted,) = pods(build_at(overlay.parent))
    assert promoted.owner == canary.owner
    assert promoted.labels == canary.labels
    assert promoted.spec == canary.spec
    assert promoted.replicas == 4


@pytest.mark.parametrize("path", ["overlays/gpu-pool", "overlays/canary-rehearsal", "gpu-smoke-test", *JOBS])
def test_an_overlays_image_by_digest_goes_everywhere(tmp_path: Path, path: str):
    digest = "sha256:" + "0" * 64
    overlay = {
        "resources": [os.path.relpath(MANIFESTS / path, tmp_path)],
        "images": [{"name": "warmgate", "digest": digest}],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    images = {container["image"] for group in pods(build_at(tmp_path)) for container in group.containers}
    assert images == {f"warmgate@{digest}"}


def test_monitoring_scrapes_the_ports_that_the_pods_have():
    objects = endpoint_with("gpu-whole", "monitoring")
    (group,) = pods(objects)
    scraped = {each["port"] for each in only(objects, "PodMonitor")["spec"]["podMetricsEndpoints"]}
    assert scraped == {each["name"] for each in group.containers[0]["ports"]} == {"http", "admin"}
