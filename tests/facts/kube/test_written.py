from __future__ import annotations

from serving.facts.kube.written import written_containers
from tests.judge.lint.mutate import base, bundle


def test_each_container_is_found_once_where_it_was_written():
    found = [(document.kind, each.path) for document, each in written_containers(bundle(base("kserve")))]
    assert found == [("ServingRuntime", "spec.containers[0]"), ("InferenceService", "spec.predictor.model")]


def test_a_pod_template_is_found_with_its_init_containers():
    documents = base("deployment")
    (deployment,) = [one for one in documents if one["kind"] == "Deployment"]
    deployment["spec"]["template"]["spec"]["initContainers"] = [{"name": "fetch"}]
    found = [(each.path, each.init) for _, each in written_containers(bundle(documents))]
    assert found == [
        ("spec.template.spec.initContainers[0]", True),
        ("spec.template.spec.containers[0]", False),
    ]


def test_canaries_workers_and_transformers_are_written_too():
    service = {
        "kind": "InferenceService",
        "metadata": {"name": "a"},
        "spec": {
            "predictor": {"workerSpec": {"containers": [{"name": "worker"}]}},
            "transformer": {"containers": [{"name": "t"}]},
            "canary": [{"predictor": {"containers": [{"name": "c"}], "model": {}}}],
        },
    }
    assert [each.path for _, each in written_containers(bundle([service]))] == [
        "spec.predictor.workerSpec.containers[0]",
        "spec.transformer.containers[0]",
        "spec.canary[0].predictor.containers[0]",
        "spec.canary[0].predictor.model",
    ]


def test_a_model_in_its_older_form_is_written_too():
    service = {
        "kind": "InferenceService",
        "metadata": {"name": "a"},
        "spec": {"predictor": {"huggingface": {"image": "server:latest"}}},
    }
    ((_, container),) = written_containers(bundle([service]))
    assert (container.path, container.image) == ("spec.predictor.huggingface", "server:latest")


def test_what_a_cluster_said_was_not_written():
    assert written_containers(bundle([], live=base("deployment"))) == ()
