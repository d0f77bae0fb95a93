"""What KServe makes of an InferenceService, checked against what its controller's code does (main, August 2026)."""

from __future__ import annotations

from typing import Any

import pytest

from serving.facts.kube.kserve import runtime_of
from serving.facts.kube.llm_inference_service import WHOLE
from serving.facts.kube.manifests import Bundle, Document
from serving.facts.kube.pods import Workload
from serving.facts.kube.workloads import workloads

MODEL = {"modelFormat": {"name": "f"}, "runtime": "rt"}


def isvc(predictor: Any, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "qwen", "namespace": "llm", "labels": {"team": "a", "who": "isvc"}}
    return {"kind": "InferenceService", "metadata": metadata, "spec": {"predictor": predictor, **spec}}


def runtime(name: str = "rt", *, kind: str = "ServingRuntime", **spec: Any) -> dict[str, Any]:
    spec = {"supportedModelFormats": [{"name": "f", "autoSelect": True}], **spec}
    return {"kind": kind, "metadata": {"name": name}, "spec": spec}


def made(*bodies: dict[str, Any]) -> tuple[Workload, ...]:
    return workloads(Bundle(tuple(Document("test.yaml", index, 1, body) for index, body in enumerate(bodies))))


def serving(**more: Any) -> dict[str, Any]:
    return {"name": "kserve-container", "image": "i:1", **more}


def names(workload: Workload) -> list[str]:
    return [each.name for each in workload.containers]


@pytest.mark.parametrize(
    ("predictor", "name", "app"),
    [
        pytest.param({}, "qwen-predictor", "isvc.qwen-predictor", id="unnamed"),
        pytest.param({"name": "r1"}, "qwen-r1-predictor", "isvc.qwen-r1-predictor", id="named"),
    ],
)
def test_a_predictor_names_its_deployment(predictor: dict[str, Any], name: str, app: str):
    (found,) = made(isvc({**predictor, "containers": [serving()]}))
    assert found.name == name
    assert found.labels["app"] == app
    assert found.labels["serving.kserve.io/inferenceservice"] == "qwen"
    assert found.labels["component"] == "predictor"


def test_labels_and_annotations_come_from_predictor_before_service_before_runtime():
    bodies = (
        isvc({"model": MODEL, "labels": {"who": "predictor"}, "annotations": {"a": "predictor"}}),
        runtime(
            labels={"who": "runtime", "team": "b", "only": "runtime"}, annotations={"a": "runtime", "b": "runtime"}
        ),
    )
    (found,) = made(*bodies)
    assert {key: found.labels[key] for key in ("who", "team", "only")} == {
        "who": "predictor",
        "team": "a",
        "only": "runtime",
    }
    assert found.annotations == {"a": "predictor", "b": "runtime"}


def test_arguments_are_joined_and_the_rest_is_merged():
    (found,) = made(
        isvc(
            {
                "model": {
                    **MODEL,
                    "args": ["--b"],
                    "command": ["y"],
                    "env": [{"name": "B", "value": "2"}],
                    "image": "i:2",
                }
            }
        ),
        runtime(containers=[serving(args=["--a"], command=["x"], env=[{"name": "A", "value": "1"}], tty=True)]),
    )
    (container,) = found.containers
    assert container.words == ("y", "--a", "--b")
    assert container.env == {"A": "1", "B": "2"}
    assert container.image == "i:2"
    assert container.body["tty"] is True
    assert container.path == "spec.predictor.model"


def test_of_a_runtimes_pod_only_some_members_arrive():
    given: dict[str, Any] = {
        "nodeSelector": {"a": "1"},
        "affinity": {"nodeAffinity": {}},
        "tolerations": [{"key": "a"}],
        "volumes": [{"name": "v"}],
        "imagePullSecrets": [{"name": "s"}],
        "schedulerName": "s",
        "resourceClaims": [{"name": "c"}],
    }
    (found,) = made(isvc({"model": MODEL}), runtime(containers=[serving()], hostIPC=True, **given))
    assert {key: value for key, value in found.spec.items() if key != "containers"} == given


def test_the_predictors_pod_is_merged_over_the_runtimes():
    (found,) = made(
        isvc({"model": MODEL, "nodeSelector": {"b": "2"}, "tolerations": [{"key": "b"}], "volumes": [{"name": "w"}]}),
        runtime(containers=[serving()], nodeSelector={"a": "1"}, tolerations=[{"key": "a"}], volumes=[{"name": "v"}]),
    )
    assert found.node_selector == {"a": "1", "b": "2"}
    assert found.tolerations == [{"key": "b"}]  # no merge key: the list replaces
    assert sorted(each["name"] for each in found.spec["volumes"]) == ["v", "w"]


def test_containers_stand_in_the_controllers_order():
    (found,) = made(
        isvc({"model": MODEL, "containers": [{"name": "mine"}, {"name": "transformer-container", "args": ["--b"]}]}),
        runtime(containers=[{"name": "theirs"}, {"name": "transformer-container", "args": ["--a"]}, serving()]),
    )
    assert names(found) == ["kserve-container", "transformer-container", "theirs", "mine"]
    assert found.containers[1].words == ("--a", "--b")


def test_placeholders_and_the_runtimes_version_are_filled_in():
    (found,) = made(
        isvc({"model": {**MODEL, "runtimeVersion": "v2"}}),
        runtime(containers=[serving(image="r:5000/i:v1", args=["--n={{.Name}}", "--t={{ .Labels.team }}", "{{.X}}"])]),
    )
    assert found.containers[0].image == "r:5000/i:v2"
    assert found.containers[0].words == ("--n=qwen", "--t=a", "{{.X}}")


def test_a_digest_keeps_its_image():
    (found,) = made(
        isvc({"model": {**MODEL, "runtimeVersion": "v2"}}), runtime(containers=[serving(image="i@sha256:ab")])
    )
    assert found.containers[0].image == "i@sha256:ab"


def test_a_runtime_that_is_not_there_is_said():
    (found,) = made(isvc({"model": {**MODEL, "args": ["--a"]}}))
    assert found.missing_runtime
    assert found.runtime is None
    assert found.containers[0].words == ("--a",)


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        pytest.param([{"name": "engine"}], ["kserve-container"], id="one-is-renamed"),
        pytest.param([{}], ["kserve-container"], id="one-unnamed"),
        pytest.param([{}, {"name": "b"}], ["kserve-container", "b"], id="first-unnamed"),
        pytest.param([{"name": "a"}, {"name": "b"}], ["a", "b"], id="several-keep-their-names"),
    ],
)
def test_the_webhook_names_a_custom_container(containers: list[dict[str, Any]], expected: list[str]):
    (found,) = made(isvc({"containers": containers}))
    assert names(found) == expected
    assert not found.missing_runtime


@pytest.mark.parametrize(
    ("model", "runtimes", "expected"),
    [
        pytest.param({"runtime": "rt"}, [runtime()], "rt", id="by-name"),
        pytest.param({"runtime": "no"}, [runtime()], None, id="by-name-missing"),
        pytest.param({"runtime": "rt"}, [runtime(kind="ClusterServingRuntime")], "rt", id="cluster-scoped"),
        pytest.param({}, [runtime()], "rt", id="by-format"),
        pytest.param({}, [runtime(supportedModelFormats=[{"name": "f"}])], None, id="selects-not-itself"),
        pytest.param({}, [runtime(disabled=True)], None, id="disabled"),
        pytest.param({}, [runtime("a", kind="ClusterServingRuntime"), runtime("z")], "z", id="namespace-first"),
        pytest.param(
            {},
            [runtime("a"), runtime("b", supportedModelFormats=[{"name": "f", "autoSelect": True, "priority": 2}])],
            "b",
            id="priority",
        ),
        pytest.param({}, [runtime("b"), runtime("a")], "a", id="else-by-name"),
        pytest.param({}, [runtime(workerSpec={})], None, id="multi-node-only"),
        pytest.param({"modelFormat": {"name": "f", "version": "2"}}, [runtime()], None, id="version"),
    ],
)
def test_the_runtime_is_chosen_as_the_controller_does(model: Any, runtimes: list[Any], expected: str | None):
    predictor = {"model": {"modelFormat": {"name": "f"}, **model}}
    documents = tuple(Document("t", n, 1, body) for n, body in enumerate([isvc(predictor), *runtimes]))
    found = runtime_of(Bundle(documents), documents[0], predictor)
    assert (found.name if found else None) == expected


def test_the_older_form_of_a_model_chooses_by_its_framework():
    own = runtime(
        supportedModelFormats=[{"name": "huggingface", "autoSelect": True}], containers=[serving(args=["--a"])]
    )
    (found,) = made(isvc({"huggingface": {"args": ["--b"]}}), own)
    assert found.containers[0].words == ("--a", "--b")
    assert found.containers[0].path == "spec.predictor.huggingface"


STABLE = {
    "name": "r1",
    "minReplicas": 4,
    "maxReplicas": 9,
    "deploymentStrategy": {"type": "Recreate"},
    "terminationGracePeriodSeconds": 80,
    "nodeSelector": {"a": "1"},
    "tolerations": [{"key": "a"}],
    "model": {
        **MODEL,
        "args": ["--len=1"],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "resources": {"limits": {"cpu": "1", "memory": "2Gi"}},
    },
}


def canary(**predictor: Any) -> Workload:
    entry = {"trafficPercent": 30, "predictor": {"name": "r2", **predictor}}
    return made(isvc(STABLE, canary=[entry]), runtime(containers=[serving(args=["--rt"])]))[1]


def test_a_canary_inherits_what_it_does_not_say():
    found = canary()
    assert (found.name, found.role, found.path) == ("qwen-r2-predictor", "canary", "spec.canary[0].predictor")
    assert found.grace_s == 80
    assert found.containers[0].words == ("--rt", "--len=1")


def test_a_canarys_lists_replace_and_its_maps_merge():
    found = canary(
        nodeSelector={"b": "2"},
        tolerations=[{"key": "b"}],
        model={"args": ["--len=2"], "env": [{"name": "A", "value": "3"}], "resources": {"limits": {"cpu": "8"}}},
    )
    (container,) = found.containers
    assert container.words == ("--rt", "--len=2")
    assert container.env == {"A": "3"}
    assert container.limits == {"cpu": "8", "memory": "2Gi"}
    assert found.node_selector == {"a": "1", "b": "2"}
    assert found.tolerations == [{"key": "b"}]


def test_a_canary_cannot_override_with_nothing():
    found = canary(terminationGracePeriodSeconds=0, tolerations=[], model={"args": []})
    assert found.grace_s == 80
    assert found.tolerations == [{"key": "a"}]
    assert found.containers[0].words == ("--rt", "--len=1")


def test_a_canary_rolls_as_kubernetes_does_by_default():
    found = canary(deploymentStrategy={"type": "Recreate"})
    assert found.strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}


@pytest.mark.parametrize(
    ("stable", "percent", "given", "replicas"),
    [
        pytest.param(4, 25, None, 1, id="exact-share"),
        pytest.param(4, 26, None, 2, id="rounded-up"),
        pytest.param(4, 0, None, 0, id="nothing-of-nothing"),
        pytest.param(None, 1, None, 1, id="stable-by-default"),
        pytest.param(4, 100, 1, 1, id="stated"),
        pytest.param(4, 50, 0, 0, id="stated-as-none"),
    ],
)
def test_a_canarys_replicas(stable: int | None, percent: int, given: int | None, replicas: int):
    predictor = {"containers": [serving()]} | ({} if stable is None else {"minReplicas": stable})
    entry = {"name": "r2"} | ({} if given is None else {"minReplicas": given})
    found = made(isvc(predictor, canary=[{"trafficPercent": percent, "predictor": entry}]))
    assert found[1].replicas == replicas


def test_the_name_of_a_canarys_model_renames_its_container():
    assert names(canary(model={"name": "kserve-container"})) == ["kserve-container"]
    assert names(canary(model={"name": "m"})) == ["m"]


def test_nobody_names_a_canarys_custom_container():
    predictor = {"containers": [serving()]}
    entry = {"trafficPercent": 1, "predictor": {"name": "r2", "containers": [{"name": "engine"}]}}
    assert [names(each) for each in made(isvc(predictor, canary=[entry]))] == [["kserve-container"], ["engine"]]


def gpu(number: int) -> dict[str, Any]:
    return {"resources": {"limits": {"nvidia.com/gpu": str(number)}}} if number else {}


@pytest.mark.parametrize(
    ("depth", "width", "worker", "head", "backend", "workers"),
    [
        pytest.param(2, 4, 4, 4, "", 1, id="ray-one-worker-each-stage"),
        pytest.param(1, 8, 2, 0, "", 3, id="ray-by-the-worker's-GPUs"),
        pytest.param(1, 5, 2, 0, "", 2, id="ray-rounded-up"),
        pytest.param(1, 4, 2, 4, "", 0, id="ray-head-alone"),
        pytest.param(1, 4, 0, 1, "", 3, id="ray-only-the-head-says"),
        pytest.param(3, 1, 0, 0, "", 2, id="ray-nobody-says"),
        pytest.param(3, 4, 1, 1, "mp", 2, id="mp-by-depth"),
    ],
)
def test_the_number_of_workers(depth: int, width: int, worker: int, head: int, backend: str, workers: int):
    sizes = {"pipelineParallelSize": depth, "tensorParallelSize": width}
    _, found = made(
        isvc({"model": {**MODEL, **gpu(head)}, "workerSpec": sizes}),
        runtime(
            containers=[serving()],
            workerSpec={"pipelineParallelSize": 9, "containers": [{"name": "worker-container", **gpu(worker)}]},
            annotations={"multinode/executor-backend": backend},
        ),
    )
    assert (found.role, found.replicas) == ("worker", workers)


def test_workers_are_named_and_labelled_by_the_controller():
    head, found = made(
        isvc(
            {
                "name": "r1",
                "model": MODEL,
                "labels": {"a": "predictor"},
                "workerSpec": {"containers": [{"args": ["b"]}]},
            }
        ),
        runtime(
            containers=[serving()],
            labels={"a": "head"},
            workerSpec={"labels": {"a": "w", "w": "w"}, "containers": [{"name": "worker-container", "args": ["a"]}]},
        ),
    )
    assert head.name == "qwen-r1-predictor"
    assert found.name == "qwen-predictor-worker"
    assert found.labels["app"] == "isvc.qwen-r1-predictor-worker"
    assert found.labels["component"] == "predictor"
    assert (found.labels["a"], found.labels["w"]) == ("predictor", "w")
    assert names(found) == ["worker-container"]
    assert found.containers[0].words == ("a", "b")
    assert found.strategy["rollingUpdate"] == {"maxUnavailable": "0%", "maxSurge": "100%"}


def test_transformers_and_explainers_are_pods_too():
    found = made(isvc({"containers": [serving()]}, transformer={"minReplicas": 3, "containers": [{"name": "t"}]}))
    assert [(each.name, each.role, each.replicas) for each in found] == [
        ("qwen-predictor", "main", 1),
        ("qwen-transformer", "transformer", 3),
    ]
    assert found[1].labels["component"] == "transformer"


def test_an_llm_service_has_pods_for_each_role():
    spec = {
        "template": {"containers": [{"name": "main"} | {member: {"said": "here"} for member in WHOLE}]},
        "labels": {"team": "a"},
        "prefill": {"replicas": 2, "template": {"containers": [{"name": "main"}]}},
    }
    decode, prefill = made({"kind": "LLMInferenceService", "metadata": {"name": "q"}, "spec": spec})
    assert (decode.name, prefill.name) == ("q-kserve", "q-kserve-prefill")
    assert (decode.missing_runtime, prefill.missing_runtime) == (False, True)
    assert (decode.replicas, prefill.replicas) == (1, 2)
    assert decode.labels == {
        "app.kubernetes.io/name": "q",
        "app.kubernetes.io/part-of": "llminferenceservice",
        "app.kubernetes.io/component": "llminferenceservice-workload",
        "kserve.io/component": "workload",
        "llm-d.ai/role": "decode",
        "team": "a",
    }
    assert prefill.labels["llm-d.ai/role"] == "prefill"


def test_what_an_llm_service_leaves_out_is_in_a_preset():
    for left_out in WHOLE:
        main = {"name": "main"} | {member: "said" for member in WHOLE if member != left_out}
        spec = {"scaling": {"minReplicas": 3}, "template": {"containers": [main]}}
        (found,) = made({"kind": "LLMInferenceService", "metadata": {"name": "q"}, "spec": spec})
        assert (found.missing_runtime, found.replicas) == (True, 3)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param("junk", id="spec"),
        pytest.param({"predictor": ["junk"], "canary": "junk"}, id="members"),
        pytest.param({"predictor": {"model": "x", "containers": {"a": 1}, "labels": [1]}}, id="predictor"),
        pytest.param({"predictor": {"model": {"modelFormat": 3, "args": "x"}, "minReplicas": "2"}}, id="model"),
        pytest.param({"predictor": {"workerSpec": {"containers": 3}}, "canary": [3, {"predictor": 4}]}, id="entries"),
        pytest.param({"predictor": {}, "transformer": [], "explainer": {"containers": [1]}}, id="components"),
    ],
)
def test_malformed_documents_are_read_as_far_as_they_go(spec: Any):
    body = {"kind": "InferenceService", "metadata": {"name": "q"}, "spec": spec}
    broken = {"kind": "ServingRuntime", "metadata": "x", "spec": {"supportedModelFormats": 1, "containers": "x"}}
    for each in made(body, broken):
        assert isinstance(each.containers, tuple)
        assert each.replicas is not None
