from __future__ import annotations

from typing import Any

import pytest

from tests.judge.lint.asked import asked, deployment, said
from tests.judge.lint.mutate import base, changed

HUB = {"args": ["--model=Qwen/Qwen3-0.6B"]}
VLLM = {"image": "vllm/vllm-openai:v0.32.0", "args": ["--model=Qwen/Qwen3-0.6B"]}
CLAIM = {"name": "hub", "persistentVolumeClaim": {"claimName": "hub"}}
LAYER = "every Pod fetches Qwen/Qwen3-0.6B into its own layer"


def kserve(uri: str, *more: dict[str, Any]) -> list[dict[str, Any]]:
    change = {"in": "InferenceService/qwen", "set": "spec.predictor.model.storageUri", "to": uri}
    return [*changed(base("kserve"), [change]), *more]


@pytest.mark.parametrize(
    "uri",
    ["pvc://models/qwen", "oci://registry/model:r1", "oci+native://registry/model:r1", "/mnt/models", "file:///m"],
)
def test_volumes_and_images_are_shared(uri: str):
    assert said("WG375", *kserve(uri)) == []
    assert asked("WG375", *kserve(uri))


@pytest.mark.parametrize(
    "uri", ["hf://a/b", "s3://b/m", "gs://b/m", "https://h/m.tgz", "oci+fetch://r/m", "hdfs://h/m"]
)
def test_downloads_are_not(uri: str):
    (found,) = said("WG375", *kserve(uri))
    assert found.observed == f"every Pod fetches {uri}"
    assert "spec.predictor.model.storageUri" in found.source


def cache(source: str) -> dict[str, Any]:
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "LocalModelCache",
        "metadata": {"name": "qwen"},
        "spec": {"sourceModelUri": source},
    }


def test_a_cache_on_the_nodes_shares_a_download():
    assert said("WG375", *kserve("hf://a/b", cache("hf://a/b"))) == []
    assert said("WG375", *kserve("s3://b/m/r1", cache("s3://b/m"))) == []
    assert said("WG375", *kserve("hf://a/bc", cache("hf://a/b")))


@pytest.mark.parametrize("value", ["true", "false", ""])  # KServe looks whether the annotation is there
def test_one_who_opted_out_of_the_cache_downloads(value: str):
    documents = kserve("hf://a/b", cache("hf://a/b"))
    documents[2]["metadata"]["annotations"]["serving.kserve.io/disable-localmodel"] = value
    assert said("WG375", *documents)


def test_a_canary_that_downloads_is_named():
    change = {
        "in": "InferenceService/qwen",
        "set": "spec.canary",
        "to": [{"trafficPercent": 10, "predictor": {"name": "r2", "model": {"storageUri": "hf://a/b"}}}],
    }
    (found,) = said("WG375", *changed(base("kserve"), [change]))
    assert "canary" in found.subject
    assert "spec.canary[0].predictor" in found.source


@pytest.mark.parametrize(
    ("container", "pod", "observed"),
    [
        pytest.param(HUB, {}, "every Pod fetches Qwen/Qwen3-0.6B into the emptyDir cache", id="the image's cache"),
        pytest.param(VLLM, {}, LAYER, id="vLLM's image"),
        pytest.param({**VLLM, "args": ["Qwen/Qwen3-0.6B"], "command": ["vllm", "serve"]}, {}, LAYER, id="after serve"),
        pytest.param(
            {**VLLM, "volumeMounts": [{"name": "hub", "mountPath": "/root/.cache/huggingface"}]},
            {"volumes": [CLAIM]},
            "",
            id="a claim at the default cache",
        ),
        pytest.param(
            {
                **VLLM,
                "env": [{"name": "HF_HOME", "value": "/data/hf"}],
                "volumeMounts": [{"name": "hub", "mountPath": "/data"}],
            },
            {"volumes": [CLAIM]},
            "",
            id="a claim at HF_HOME",
        ),
        pytest.param(
            {
                **VLLM,
                "args": [*VLLM["args"], "--download-dir=/w"],
                "volumeMounts": [{"name": "hub", "mountPath": "/w"}],
            },
            {"volumes": [{"name": "hub", "hostPath": {"path": "/var/hub"}}]},
            "",
            id="the node's disk at the download directory",
        ),
        pytest.param(
            {**VLLM, "volumeMounts": [{"name": "hub", "mountPath": "/root/.cache"}]},
            {"volumes": []},
            "",
            id="a StatefulSet's claim template",
        ),
        pytest.param(
            {**VLLM, "volumeMounts": [{"name": "hub", "mountPath": "/root/.cache"}]},
            {"volumes": [{"name": "hub", "ephemeral": {}}]},
            LAYER,
            id="a volume of each Pod's own",
        ),
        pytest.param({"args": ["--model=/models/qwen"], "volumeMounts": []}, {}, "", id="in the image"),
        pytest.param({"args": ["--model=$(MODEL)"]}, {}, "", id="a variable of unknown value"),
        pytest.param({"args": ["--model=s3://b/m"]}, {}, "every Pod fetches s3://b/m", id="streamed from a bucket"),
    ],
)
def test_an_engines_own_model_is_judged_by_where_it_is_kept(container: Any, pod: Any, observed: str):
    assert [each.observed for each in said("WG375", deployment(container, **pod))] == ([observed] if observed else [])


def test_one_replica_for_development_may_download():
    document = deployment(VLLM)
    document["spec"]["replicas"] = 1
    assert said("WG375", document)
    document["metadata"]["annotations"]["warmgate/class"] = "development"
    assert said("WG375", document) == []
    document["spec"]["replicas"] = 2
    assert said("WG375", document)


def test_finite_work_may_download_once():
    document = deployment(VLLM, restartPolicy="Never")
    document |= {"apiVersion": "batch/v1", "kind": "Job"}
    assert not asked("WG375", document)


@pytest.mark.parametrize(("name", "classical"), [("sklearn", True), ("pytorch", True), ("huggingface", False)])
def test_a_model_of_megabytes_may_be_fetched(name: str, classical: bool):
    changes = [
        {"in": "InferenceService/qwen", "set": "spec.predictor.model.modelFormat", "to": {"name": name}},
        {"in": "InferenceService/qwen", "set": "spec.predictor.logger", "to": {"mode": "all"}},
    ]
    documents = changed(kserve("gs://b/iris"), changes)
    assert bool(said("WG375", *documents)) is not classical
    assert bool(said("WG383", *documents)) is not classical
