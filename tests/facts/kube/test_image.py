from __future__ import annotations

import pytest

from serving.facts.kube.image import Image, read_image


@pytest.mark.parametrize(
    ("reference", "image", "name"),
    [
        ("vllm", Image("vllm", "", ""), "vllm"),
        ("vllm/vllm-openai:v0.32.0", Image("vllm/vllm-openai", "v0.32.0", ""), "vllm-openai"),
        ("registry:5000/a/b", Image("registry:5000/a/b", "", ""), "b"),
        ("registry:5000/a/b:c@sha256:d", Image("registry:5000/a/b", "c", "sha256:d"), "b"),
        ("a/b@sha256:d", Image("a/b", "", "sha256:d"), "b"),
        ("", Image("", "", ""), ""),
    ],
)
def test_a_reference_is_taken_apart(reference: str, image: Image, name: str):
    assert read_image(reference) == image
    assert image.name == name
