from __future__ import annotations

import re

import pytest

from serving.facts.kube.mig import PROFILES, gpus_called, gpus_with, nearest, profile

SHAPE = re.compile(r"[1-7]g\.\d{1,3}gb(-me|\.me|\.gfx|\.me\.all)?")
MEMORY = {  # GB of the whole GPU, as the largest profile has it
    "A30": 24,
    "A100 40GB": 40,
    "A100 80GB": 80,
    "H100 80GB": 80,
    "H100 94GB": 94,
    "H100 96GB": 96,
    "H20": 96,
    "H200": 141,
    "GH200 96GB": 96,
    "GH200 144GB": 144,
    "B200": 180,
    "GB200": 189,
    "B300": 269,
    "GB300": 278,
    "RTX PRO 5000": 48,
    "RTX PRO 6000": 96,
}


@pytest.mark.parametrize("gpu", PROFILES)
def test_the_table_is_sound(gpu: str):
    names = PROFILES[gpu]
    assert len(names) == len(set(names))
    for name in names:
        assert SHAPE.fullmatch(name)
        slices, memory = (int(part) for part in name.split("gb")[0].split("g."))
        assert slices * MEMORY[gpu] / 8.4 <= memory * 7 / 4 <= MEMORY[gpu] * 7 / 4
    assert max(int(name.split("gb")[0].split("g.")[1]) for name in names) == MEMORY[gpu]


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        ("nvidia.com/mig-1g.10gb", "1g.10gb"),
        ("nvidia.com/mig-1g.10gb.me", "1g.10gb.me"),
        ("nvidia.com/mig-3g.40gb.shared", "3g.40gb"),
        ("nvidia.com/gpu", None),
        ("amd.com/gpu", None),
    ],
)
def test_a_resource_names_its_profile(resource: str, name: str | None):
    assert profile(resource) == name


@pytest.mark.parametrize(
    ("product", "gpus"),
    [
        ("NVIDIA-A100-SXM4-80GB", ["A100 80GB"]),
        ("NVIDIA-A100-PCIE-40GB", ["A100 40GB"]),
        ("NVIDIA-H100-80GB-HBM3", ["H100 80GB"]),
        ("NVIDIA-H200", ["H200"]),
        ("NVIDIA-GB200", ["GB200"]),
        ("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", ["RTX PRO 6000"]),
        ("NVIDIA-RTX-A6000", []),
        ("Tesla-T4", []),
        ("NVIDIA-H100-NVL", ["H100 80GB", "H100 94GB", "H100 96GB"]),
    ],
)
def test_a_product_label_names_its_gpu(product: str, gpus: list[str]):
    assert gpus_called(product) == gpus


def test_a_misspelt_profile_leads_to_the_one_that_was_meant():
    assert nearest("1g-10gb") == "1g.10gb"
    assert nearest("3G.40GB") == "3g.40gb"
    assert nearest("quarter") == ""
    assert gpus_with("7g.141gb") == ["H200"]
