from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from serving.judge.lint import judge_manifests
from tests.judge.lint.asked import deployment, said
from tests.judge.lint.mutate import base, bundle

SECRET = "hf_" + "Never0Printed9" * 2  # of a known shape, so that it is found wherever it stands
PLAIN = "plain-horse-battery-7"


def config_map(**data: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "llm"}, "data": data}


def secret(**more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "llm"}} | more


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("MAX_TOKENS", "4096", id="a number of tokens"),
        pytest.param("TOKENIZERS_PARALLELISM", "false", id="tokenizers"),
        pytest.param("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1", id="a switch about tokens"),
        pytest.param("MAX_NUM_BATCHED_TOKEN", "4096", id="a number of tokens without its s"),
        pytest.param("EOS_TOKEN", "<|im_end|>", id="a token that a model reads"),
        pytest.param("PAD_TOKEN", "padpadpadpad", id="another one"),
        pytest.param("VLLM_API_KEY", "$(FROM_ELSEWHERE)", id="a reference to another variable"),
        pytest.param("VLLM_API_KEY", "${API_KEY}", id="what a pipeline fills in"),
        pytest.param("HF_TOKEN", "", id="nothing"),
        pytest.param("HF_TOKEN", "<your token>", id="a placeholder that cannot work"),
        pytest.param("OPENAI_API_KEY", "EMPTY", id="the word for a server without keys"),
        pytest.param("HF_TOKEN_PATH", "/var/run/secrets/hf/token", id="where a token lies"),
        pytest.param("OPENAI_API_KEY", "/run/secrets/key", id="a path in place of a key"),
        pytest.param("IMAGE_PULL_SECRET", "regcred", id="the name of a Secret"),
        pytest.param("SSL_KEYFILE", "/tls/tls.key", id="a key file"),
        pytest.param("CACHE_KEY_PREFIX", "models", id="a key that is none"),
        pytest.param("DOCUMENTATION", "sk-learn-random-forest-regressor", id="words behind sk-"),
        pytest.param("ENDPOINT", "http://user@gateway.llm:8080/v1", id="a URL with a user and a port"),
        pytest.param("GIT_SHA", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", id="a digest under a harmless name"),
    ],
)
def test_what_is_no_secret_is_left_alone(name: str, value: str):
    assert said("WG382", deployment({"env": [{"name": name, "value": value}]})) == []
    assert said("WG382", config_map(**{name: value})) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("HF_TOKEN", PLAIN, id="HF_TOKEN"),
        pytest.param("VLLM_API_KEY", "changeme", id="what should have been changed"),
        pytest.param("OPENAI_API_KEY", PLAIN, id="OPENAI_API_KEY"),
        pytest.param("HUGGING_FACE_HUB_TOKEN", PLAIN, id="the older name"),
        pytest.param("POSTGRES_PASSWORD", "hunter2", id="a short password"),
        pytest.param("AWS_SECRET_ACCESS_KEY", "abcdEFGH/1234+ijklMNOP", id="AWS_SECRET_ACCESS_KEY"),
        pytest.param("OIDC_CLIENT_SECRET", PLAIN, id="a client's secret"),
        pytest.param("SIGN_KEY_V2", "q8Zr1Tt0Wm5Yx2Lb9Kc4", id="a long mixed value under a name with KEY"),
        pytest.param("DATABASE", "postgres://app:hunter22@db.llm:5432/app", id="a password in a URL"),
        pytest.param("ANYTHING", SECRET, id="a token by its shape"),
        pytest.param("ANYTHING", "AKIA" + "ABCDEFGH12345678", id="an access key by its shape"),
    ],
)
def test_a_secret_is_found_by_name_or_by_shape(name: str, value: str):
    (in_pod,) = said("WG382", deployment({"env": [{"name": name, "value": value}]}))
    assert name in in_pod.observed
    assert said("WG382", config_map(**{name: value}))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        pytest.param(["--api-key", PLAIN], True, id="the next word"),
        pytest.param([f"--api-key={PLAIN}"], True, id="behind an equals sign"),
        pytest.param([f"--api_key={PLAIN}"], True, id="with an underscore"),
        pytest.param(["--hf-token", PLAIN], True, id="the token of a hub"),
        pytest.param(["--api-key", "$(VLLM_API_KEY)"], False, id="from a variable"),
        pytest.param(["--hf-token", "--port=8080"], False, id="the token that the hub's own login left"),
        pytest.param(["--tokenizer", "Qwen/Qwen3-0.6B", "--max-num-batched-tokens", "8192"], False, id="tokens"),
        pytest.param(["--ssl-keyfile", "/tls/tls.key"], False, id="a file"),
    ],
)
def test_an_option_with_a_secret_is_found(words: list[str], found: bool):
    assert bool(said("WG382", deployment({"args": ["--model=/mnt/models", *words]}))) is found


def test_a_secret_in_a_shells_script_is_found():
    script = f"export HF_TOKEN={PLAIN} && exec vllm serve /mnt/models --port 8080"
    (finding,) = said("WG382", deployment({"command": ["sh", "-c"], "args": [script]}))
    assert finding.observed == "HF_TOKEN is assigned a literal value"


@pytest.mark.parametrize(
    ("document", "found"),
    [
        pytest.param(secret(stringData={"api-key": PLAIN}), True, id="as text"),
        pytest.param(secret(data={"api-key": base64.b64encode(PLAIN.encode()).decode()}), True, id="in base64"),
        pytest.param(secret(), False, id="without data"),
        pytest.param(secret(data={"api-key": ""}), False, id="empty"),
        pytest.param(secret(stringData={"api-key": "${API_KEY}"}), False, id="filled in by a pipeline"),
        pytest.param(secret(data={"ca.crt": "LS0tLS1CRUdJTg=="}), False, id="a certificate"),
        pytest.param(secret(stringData={"key": "ENC[AES256_GCM,data:x]"}), False, id="encrypted by SOPS"),
        pytest.param(
            secret(type="kubernetes.io/service-account-token", data={"token": "eA=="}), False, id="filled by Kubernetes"
        ),
        pytest.param(
            {"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "metadata": {"name": "s"}}
            | {"spec": {"encryptedData": {"password": SECRET}}},
            False,
            id="sealed",
        ),
    ],
)
def test_a_secret_with_literal_data_is_found(document: dict[str, Any], found: bool):
    assert bool(said("WG382", document)) is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(f"db:\n  user: app\n  password: {PLAIN}\n", True, id="a password in YAML"),
        pytest.param(f"# settings\nexport HF_TOKEN={PLAIN}\n", True, id="a token in a script"),
        pytest.param(f"first\ncurl -H 'Authorization: Bearer {PLAIN}0123'\n", True, id="a bearer token"),
        pytest.param("a: b\n-----BEGIN RSA PRIVATE KEY-----\nMII\n", True, id="a private key"),
        pytest.param("db:\n  password: ${DB_PASSWORD}\n  auth_token: required\n", False, id="references and words"),
        pytest.param('{\n"bos_token": "<s>",\n"max_token": "4096"\n}', False, id="a tokenizer's settings"),
    ],
)
def test_the_text_of_a_config_map_is_read(text: str, found: bool):
    assert bool(said("WG382", config_map(settings=text))) is found


PLACES = [
    pytest.param(lambda value: [deployment({"env": [{"name": "HF_TOKEN", "value": value}]})], id="a variable"),
    pytest.param(lambda value: [deployment({"args": ["--model=/m", f"--api-key={value}"]})], id="an argument"),
    pytest.param(lambda value: [deployment({"command": ["sh", "-c", f"HF_TOKEN={value} vllm serve"]})], id="a script"),
    pytest.param(
        lambda value: [
            deployment(
                {
                    "readinessProbe": {
                        "httpGet": {"httpHeaders": [{"name": "Authorization", "value": f"Bearer {value}"}]}
                    }
                }
            )
        ],
        id="a probe's header",
    ),
    pytest.param(lambda value: [config_map(HF_TOKEN=value)], id="a ConfigMap"),
    pytest.param(lambda value: [config_map(env=f"A=b\nHF_TOKEN={value}\n")], id="a ConfigMap's text"),
    pytest.param(lambda value: [secret(stringData={"token": value})], id="a Secret"),
    pytest.param(
        lambda value: [secret(data={"token": base64.b64encode(value.encode()).decode()})], id="a Secret's base64"
    ),
    pytest.param(lambda value: [deployment({"image": f"https://app:{value}@registry/vllm"})], id="an image"),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", [SECRET, PLAIN])
def test_no_finding_prints_a_secret(place: Any, value: str):
    report = judge_manifests(bundle([*base("kserve"), *place(value)]), "test")
    assert [each for each in report.findings if each.code.id == "WG382" and each.remedy]
    told = json.dumps([repr(each) for each in report.findings])
    assert value not in told
    assert base64.b64encode(value.encode()).decode() not in told
