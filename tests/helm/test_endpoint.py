"""The endpoint itself: the Pod, its numbers, its placement, and what reaches it."""

from __future__ import annotations

import math
from typing import Any

import pytest

import serving
from serving.agent.engine_args import read_engine_args
from serving.agent.settings import Settings, check_combination
from tests.helm.pods import Pod, pods
from tests.helm.scenarios import SCENARIOS, chart, only, over, render, scenario, texts

ON_GPU = [name for name in SCENARIOS if name != "cpu-demo"]
BOTH = pytest.mark.parametrize("kserve", [True, False], ids=["kserve", "deployment"])


def stable_pod(values: dict[str, Any], **release: Any) -> Pod:
    return pods(render(values, **release))[0]


def agent_settings(pod: Pod) -> Settings:
    """What the agent in the Pod will read; an unknown variable is an error here."""
    prefix = "WARMGATE_"
    given = {name.removeprefix(prefix).lower(): value for name, value in pod.env.items() if name.startswith(prefix)}
    return Settings.model_validate(given)


def test_chart_version_and_app_version_are_the_projects() -> None:
    about = chart().metadata
    assert about["version"] == about["appVersion"] == serving.__version__


@BOTH
def test_the_reference_endpoint(kserve: bool) -> None:
    objects = render(over(scenario("single-gpu"), {"kserve": {"enabled": kserve}}))
    (pod,) = pods(objects)
    container = pod.container
    assert container["name"] == "kserve-container"
    assert container["image"] == "warmgate:0.1.0"
    assert "command" not in container
    assert container["args"] == ["--model=/mnt/models", "--port=8080", "--served-model-name=qwen"]
    assert [(each["name"], each["containerPort"], each["protocol"]) for each in container["ports"]] == [
        ("http", 8080, "TCP"),
        ("admin", 8081, "TCP"),
    ]
    probe = {"httpGet": {"path": "/readyz", "port": "admin"}}
    assert container["startupProbe"] == probe | {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 45}
    assert container["readinessProbe"] == probe | {"periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 2}
    probe = {"httpGet": {"path": "/livez", "port": "admin"}}
    assert container["livenessProbe"] == probe | {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6}
    assert pod.env == {
        "WARMGATE_STARTUP_TIMEOUT": "450",
        "VLLM_ENGINE_READY_TIMEOUT_S": "450",
        "WARMGATE_LAME_DUCK": "10",
        "WARMGATE_DRAIN_TIMEOUT": "60",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
    assert container["resources"] == {
        "requests": {"cpu": "4", "memory": "24Gi", "nvidia.com/gpu": "1"},
        "limits": {"cpu": "8", "memory": "24Gi", "nvidia.com/gpu": "1"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert {"cache": "/cache", "shm": "/dev/shm", "tmp": "/tmp"}.items() <= {
        each["name"]: each["mountPath"] for each in container["volumeMounts"]
    }.items()
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}} in pod.spec["volumes"]
    assert pod.spec["terminationGracePeriodSeconds"] == 80
    assert pod.spec["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert pod.spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod.spec["enableServiceLinks"] is False
    assert pod.spec["automountServiceAccountToken"] is False
    assert only(objects, "ServiceAccount")["automountServiceAccountToken"] is False
    assert pod.spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 0,
        "fsGroup": 10001,
        "fsGroupChangePolicy": "OnRootMismatch",  # the claim of all models is not walked through by every Pod
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    selected = {"serving.kserve.io/inferenceservice": "qwen", "component": "predictor"}
    if not kserve:
        prefix = "app.kubernetes.io"
        selected = {f"{prefix}/name": "warmgate", f"{prefix}/instance": "qwen", f"{prefix}/component": "endpoint"}
    assert only(objects, "PodDisruptionBudget")["spec"] == {
        "maxUnavailable": 1,
        "selector": {"matchLabels": selected},
    }


def test_the_inference_service_says_everything_that_kserve_would_guess() -> None:
    service = only(render(scenario("single-gpu")), "InferenceService")
    assert service["metadata"]["annotations"] == {
        "serving.kserve.io/deploymentMode": "Standard",
        "serving.kserve.io/autoscalerClass": "none",
        "warmgate/class": "production",
        "warmgate/load-seconds": "300",
        "warmgate/pool-gpus": "8",
    }
    predictor = service["spec"]["predictor"]
    assert predictor["name"] == "r1"
    assert predictor["minReplicas"] == 2
    assert predictor["timeout"] == 600
    assert predictor["deploymentStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    assert predictor["model"]["modelFormat"] == {"name": "warmgate-vllm", "version": "1"}
    assert predictor["model"]["storageUri"] == "pvc://models/qwen3-0.6b/r1"
    assert "name" not in predictor["model"]  # KServe's webhook refuses one in the stable predictor


def test_the_runtime_is_its_own_and_selects_nothing_by_itself() -> None:
    runtime = only(render({}), "ServingRuntime")
    assert "annotations" not in runtime["metadata"]  # above all no server-type: KServe rewrites its image to a CPU one
    assert runtime["spec"]["supportedModelFormats"] == [{"name": "warmgate-vllm", "version": "1", "autoSelect": False}]
    assert "multiModel" not in runtime["spec"]


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in ("canary", "multi-node")])
def test_kserve_and_deployment_run_the_same_pod(name: str) -> None:
    values = over(scenario(name), {"kserve": {"enabled": True}})
    theirs = stable_pod(values)
    ours = stable_pod(over(values, {"kserve": {"enabled": False}}))
    mounts = [each for each in ours.container["volumeMounts"] if each["mountPath"] != "/mnt/models"]
    volumes = [each for each in ours.spec["volumes"] if each["name"] != "model"]
    assert len(mounts) == len(ours.container["volumeMounts"]) - 1
    assert ours.container | {"volumeMounts": mounts} == theirs.container
    ours_spec = ours.spec | {"containers": [], "volumes": volumes, "topologySpreadConstraints": []}
    assert ours_spec == theirs.spec | {"containers": [], "topologySpreadConstraints": []}


@pytest.mark.parametrize("name", [*SCENARIOS, "defaults"])
def test_the_agent_takes_its_settings_and_vllms_arguments(name: str) -> None:
    for pod in pods(render({} if name == "defaults" else scenario(name))):
        if pod.container["name"] == "worker-container":
            continue
        settings = agent_settings(pod)
        engine = read_engine_args(pod.container["args"], {}, pod.env)
        check_combination(settings, engine)
        assert engine.port == 8080
        assert settings.admin_port == 8081
        assert engine.served_names == ("qwen",)


@BOTH
@pytest.mark.parametrize(
    ("load", "margin", "duck", "drain"),
    [
        pytest.param(300, 1.5, 10, 60, id="reference"),
        pytest.param(300, 1.1, 0, 1, id="a-margin-that-floats-badly"),
        pytest.param(7, 1, 5, 600, id="shorter-than-a-period"),
        pytest.param(1234, 1.37, 33, 120, id="odd-numbers"),
        pytest.param(1_000_000, 2, 10, 1_000_000, id="millions-are-written-out"),
    ],
)
def test_probes_timeouts_and_grace_come_from_one_set_of_numbers(
    load: int, margin: float, duck: int, drain: int, kserve: bool
) -> None:
    numbers = {"loadSeconds": load, "loadMargin": margin, "lameDuckSeconds": duck, "drainSeconds": drain}
    objects = render({"endpoint": numbers, "kserve": {"enabled": kserve}})
    (pod,) = pods(objects)
    startup = pod.container["startupProbe"]
    window = startup["periodSeconds"] * startup["failureThreshold"]
    wanted = math.ceil(round(load * margin, 6))
    assert wanted <= window < wanted + startup["periodSeconds"]
    assert int(pod.env["VLLM_ENGINE_READY_TIMEOUT_S"]) == window
    settings = agent_settings(pod)
    assert settings.startup_timeout == window
    assert pod.spec["terminationGracePeriodSeconds"] == settings.budget.grace_s == duck + drain + 10
    assert pod.annotations.get("warmgate/load-seconds", str(load)) == str(load)
    if not kserve:
        assert only(objects, "Deployment")["spec"]["progressDeadlineSeconds"] >= window + 600


@pytest.mark.parametrize("name", ON_GPU)
def test_limit_selector_and_toleration_go_together(name: str) -> None:
    values = over(chart().values, scenario(name))
    for pod in pods(render(scenario(name))):
        resources = pod.container["resources"]
        gpu = values["gpu"]
        if gpu["claim"]["enabled"]:
            assert resources["claims"] == [{"name": each["name"]} for each in pod.spec["resourceClaims"]]
            assert gpu["resource"] not in resources["limits"]
        else:
            assert resources["limits"][gpu["resource"]] == resources["requests"][gpu["resource"]] == str(gpu["count"])
            assert "claims" not in resources
        assert gpu["nodeSelector"].items() <= pod.spec["nodeSelector"].items()
        assert pod.spec["nodeSelector"].get("nvidia.com/gpu.product", "") == gpu["product"]
        assert all(each in pod.spec["tolerations"] for each in gpu["tolerations"])


@BOTH
def test_without_gpu_there_is_no_limit_no_selector_no_toleration(kserve: bool) -> None:
    text = "".join(
        body
        for path, body in texts(over(scenario("cpu-demo"), {"kserve": {"enabled": kserve}})).items()
        if path in ("inferenceservice.yaml", "servingruntime.yaml", "deployment.yaml")
    )
    assert "nvidia.com" not in text
    assert "nodeSelector" not in text
    assert "tolerations" not in text


def test_a_product_and_a_zone_join_the_selector() -> None:
    values = {"gpu": {"product": "NVIDIA-L4"}, "pod": {"nodeSelector": {"topology.kubernetes.io/zone": "a"}}}
    assert stable_pod(values).spec["nodeSelector"] == {
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": "NVIDIA-L4",
        "topology.kubernetes.io/zone": "a",
    }


@BOTH
def test_what_is_stated_of_the_pod_reaches_it(kserve: bool) -> None:
    toleration = {"key": "pool", "operator": "Equal", "value": "llm", "effect": "NoSchedule"}
    affinity: dict[str, Any] = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    values = {
        "kserve": {"enabled": kserve},
        "pod": {
            "labels": {"team": "llm"},
            "annotations": {"example.com/note": "seen"},
            "tolerations": [toleration],
            "affinity": affinity,
            "runtimeClassName": "nvidia",
            "sharedMemory": "7Gi",
            "cacheSizeLimit": "20Gi",
        },
        "priorityClass": {"create": True},
        "serviceAccount": {"name": "reader"},
        "image": {"pullSecrets": ["registry"]},
    }
    objects = render(values)
    (pod,) = pods(objects)
    assert pod.labels["team"] == "llm"
    assert pod.annotations["example.com/note"] == "seen"
    assert pod.spec["tolerations"][1:] == [toleration]
    assert pod.spec["affinity"] == affinity
    assert pod.spec["runtimeClassName"] == "nvidia"
    assert pod.spec["imagePullSecrets"] == [{"name": "registry"}]
    assert pod.spec["priorityClassName"] == only(objects, "PriorityClass")["metadata"]["name"] == "warmgate-inference"
    assert pod.spec["serviceAccountName"] == only(objects, "ServiceAccount")["metadata"]["name"] == "reader"
    volumes = {each["name"]: each for each in pod.spec["volumes"]}
    assert volumes["cache"]["emptyDir"] == {"sizeLimit": "20Gi"}
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "7Gi"}


def test_tensor_parallel_size_is_the_number_of_gpus() -> None:
    container = stable_pod(scenario("multi-gpu")).container
    assert f"--tensor-parallel-size={container['resources']['limits']['nvidia.com/gpu']}" in container["args"]


def test_a_multi_node_endpoint_counts_its_gpus_as_kserve_does() -> None:
    service = only(render(scenario("multi-node")), "InferenceService")
    head, worker = pods(render(scenario("multi-node")))
    sizes = service["spec"]["predictor"]["workerSpec"]
    per_node = int(worker.container["resources"]["requests"]["nvidia.com/gpu"])
    nodes = math.ceil(sizes["tensorParallelSize"] * sizes["pipelineParallelSize"] / per_node)
    assert nodes == scenario("multi-node")["multiNode"]["nodes"]
    assert f"--tensor-parallel-size={sizes['tensorParallelSize']}" in head.container["args"]
    assert f"--pipeline-parallel-size={sizes['pipelineParallelSize']}" in head.container["args"]
    # KServe names the head's Service after the predictor but tells the workers a name without it
    assert "name" not in service["spec"]["predictor"]
    assert head.owner == "qwen-predictor"


def test_workers_outlive_the_streams_of_their_head() -> None:
    head, worker = pods(render(scenario("multi-node")))
    stays = int(worker.container["lifecycle"]["preStop"]["exec"]["command"][-1])
    settings = agent_settings(head)
    assert settings.lame_duck + settings.drain_timeout <= stays < worker.spec["terminationGracePeriodSeconds"]


def test_the_api_key_comes_from_the_secret_alone() -> None:
    values = {"model": {"apiKey": {"secretName": "keys", "key": "qwen"}}}
    pod = stable_pod(values)
    reference = {"name": "VLLM_API_KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "qwen"}}}
    assert reference in pod.container["env"]
    assert not [each for each in pod.container["args"] if "key" in each]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param({}, "warmgate:0.1.0", id="app-version"),
        pytest.param({"tag": "7"}, "warmgate:7", id="tag"),
        pytest.param({"registry": "example.com/llm/"}, "example.com/llm/warmgate:0.1.0", id="registry"),
        pytest.param({"tag": "7", "digest": f"sha256:{'a' * 64}"}, f"warmgate@sha256:{'a' * 64}", id="digest-wins"),
    ],
)
def test_the_image(image: dict[str, str], expected: str) -> None:
    assert stable_pod({"image": image}).container["image"] == expected


@pytest.mark.parametrize(
    ("uri", "volume", "mount", "arguments"),
    [
        pytest.param(
            "pvc://claim/a/b/",
            {"persistentVolumeClaim": {"claimName": "claim", "readOnly": True}},
            {"mountPath": "/mnt/models", "readOnly": True, "subPath": "a/b"},
            ["--model=/mnt/models"],
            id="pvc",
        ),
        pytest.param(
            "pvc://claim",
            {"persistentVolumeClaim": {"claimName": "claim", "readOnly": True}},
            {"mountPath": "/mnt/models", "readOnly": True},
            ["--model=/mnt/models"],
            id="a-whole-pvc",
        ),
        pytest.param(
            "oci://example.com/qwen:r1",
            {"image": {"reference": "example.com/qwen:r1", "pullPolicy": "IfNotPresent"}},
            {"mountPath": "/mnt/models", "readOnly": True, "subPath": "models"},
            ["--model=/mnt/models"],
            id="oci",
        ),
        pytest.param("hf://Qwen/Qwen3:abc", None, None, ["--model=Qwen/Qwen3", "--revision=abc"], id="hugging-face"),
    ],
)
def test_without_kserve_the_deployment_mounts_the_weights(
    uri: str, volume: dict[str, Any] | None, mount: dict[str, Any] | None, arguments: list[str]
) -> None:
    store = {"modelStore": [{"cidr": "10.0.0.0/8", "ports": [443]}]}
    pod = stable_pod({"kserve": {"enabled": False}, "model": {"storageUri": uri}, "networkPolicy": store})
    assert [each for each in pod.spec["volumes"] if each["name"] == "model"] == (
        [{"name": "model"} | volume] if volume else []
    )
    assert [each for each in pod.container["volumeMounts"] if each["name"] == "model"] == (
        [{"name": "model"} | mount] if mount else []
    )
    assert set(arguments) <= set(pod.container["args"])


@BOTH
def test_keda_asks_with_the_label_that_vllm_has(kserve: bool) -> None:
    values = over(scenario("keda"), {"kserve": {"enabled": kserve}, "model": {"servedName": "chat"}})
    objects = render(values)
    query = 'sum(vllm:num_requests_waiting{namespace="llm",model_name="chat"})'
    if kserve:
        service = only(objects, "InferenceService")
        assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "keda"
        predictor = service["spec"]["predictor"]
        assert (predictor["minReplicas"], predictor["maxReplicas"]) == (2, 6)
        (metric,) = predictor["autoScaling"]["metrics"]
        assert metric["external"]["metric"]["query"] == query
        assert metric["external"]["target"] == {"type": "Value", "value": "4"}
        assert "scaleMetric" not in predictor
    else:
        scaled = only(objects, "ScaledObject")["spec"]
        assert scaled["scaleTargetRef"]["name"] == only(objects, "Deployment")["metadata"]["name"]
        assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (2, 6)
        assert scaled["triggers"][0]["metadata"]["query"] == query
        assert "replicas" not in only(objects, "Deployment")["spec"]  # an upgrade would undo what KEDA did


def test_findings_to_accept_are_visible_on_the_object() -> None:
    values = {"lint": {"allow": {"WG302": "a second reason", "WG301": "a reason: with a colon"}}}
    annotations = only(render(values), "InferenceService")["metadata"]["annotations"]
    assert annotations["warmgate/allow"] == "WG301: a reason: with a colon; WG302: a second reason"
