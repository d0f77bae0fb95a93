"""GPU memory through the real nvidia-ml-py, on a stand-in for NVML's C library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.facts.gpu import NO_DRIVER, none_here
from tests.fakes.nvml.library import GIB, H100, FakeNvml

READ = """
import dataclasses, json, sys
from pathlib import Path
from serving.observe.gpu import Nvml
with Nvml(Path(sys.argv[1])) as nvml:
    fact = nvml.read()
print(json.dumps({"seen": type(fact).__name__ == "Seen"} | dataclasses.asdict(fact)))
"""

# Reads, changes the world as told by each further argument, reads again: one session, as the agent keeps it.
READ_AGAIN = """
import dataclasses, json, os, sys
from pathlib import Path
from serving.observe.gpu import Nvml
nvml, facts = Nvml(), []
for world in [None, *sys.argv[1:]]:
    if world is not None:
        Path(os.environ["FAKE_NVML"]).write_text(world)
    facts.append(dataclasses.asdict(nvml.read()))
nvml.close(); nvml.close()
print(json.dumps(facts))
"""

NO_PERMISSION, NOT_SUPPORTED, DRIVER_NOT_LOADED, TIMEOUT, LOST, RESET, MISMATCH = 4, 3, 9, 10, 15, 16, 18


def read(fake: FakeNvml, devices: Path | None = None) -> dict[str, Any]:
    fact: dict[str, Any] = fake.run(READ, str(devices or "/dev"))
    assert fact["source"] == "NVML"
    return fact


def unseen(fake: FakeNvml, devices: Path | None = None) -> str:
    fact = read(fake, devices)
    assert not fact["seen"]
    assert "\n" not in fact["why"]
    return str(fact["why"])


def test_a_healthy_gpu_tells_reserved_from_used(fake_nvml: FakeNvml):
    fake_nvml.show(H100)
    assert read(fake_nvml)["value"] == [
        {
            "index": 0,
            "uuid": "GPU-0",
            "name": "NVIDIA H100 80GB HBM3",
            "total_bytes": 80 * GIB,
            "used_bytes": 60 * GIB,
            "free_bytes": 19 * GIB,
            "reserved_bytes": 1 * GIB,
        }
    ]


def test_a_driver_that_knows_only_version_one_counts_reserved_as_used(fake_nvml: FakeNvml):
    fake_nvml.show("old", H100)
    (gpu,) = read(fake_nvml)["value"]
    assert (gpu["used_bytes"], gpu["free_bytes"], gpu["reserved_bytes"]) == (61 * GIB, 19 * GIB, None)


def test_every_gpu_is_read_in_order(fake_nvml: FakeNvml):
    fake_nvml.show(*(H100.replace("GPU-0", f"GPU-{index}") for index in range(8)))
    gpus = read(fake_nvml)["value"]
    assert [(gpu["index"], gpu["uuid"]) for gpu in gpus] == [(index, f"GPU-{index}") for index in range(8)]


def test_a_driver_without_gpus_sees_none(fake_nvml: FakeNvml):
    assert read(fake_nvml)["value"] == []


def test_mig_slices_are_read_and_their_parent_is_not(fake_nvml: FakeNvml):
    parent = f"gpu uuid=GPU-0 total={80 * GIB} used={1 * GIB} error={NO_PERMISSION} mig=1 slots=7 name=NVIDIA H100"
    slice_of = "mig gpu={} slot={} uuid=MIG-{} total={} used={} free={} name=NVIDIA H100 MIG 1g.10gb"
    fake_nvml.show(
        parent,
        slice_of.format(0, 2, "a", 10 * GIB, 4 * GIB, 6 * GIB),
        slice_of.format(0, 5, "b", 20 * GIB, 1 * GIB, 19 * GIB),
        H100.replace("GPU-0", "GPU-1"),
    )
    gpus = read(fake_nvml)["value"]
    assert [(gpu["index"], gpu["uuid"], gpu["total_bytes"] // GIB) for gpu in gpus] == [
        (0, "MIG-a", 10),
        (0, "MIG-b", 20),
        (1, "GPU-1", 80),
    ]


def test_the_slices_of_others_are_passed_over(fake_nvml: FakeNvml):
    fake_nvml.show(
        f"gpu uuid=GPU-0 total={80 * GIB} mig=1 slots=7 name=NVIDIA H100",
        f"mig gpu=0 slot=0 uuid=MIG-theirs handle_error={NO_PERMISSION} name=X",
        "mig gpu=0 slot=1 uuid=MIG-ours total=10 used=4 free=6 name=X",
    )
    assert [gpu["uuid"] for gpu in read(fake_nvml)["value"]] == ["MIG-ours"]


def test_mig_without_a_visible_slice_is_unseen_for_the_parent_is_not_ours(fake_nvml: FakeNvml):
    fake_nvml.show(f"gpu uuid=GPU-0 total={80 * GIB} used=1 free=1 mig=1 slots=7 name=NVIDIA H100")
    assert "GPU 0: MIG is enabled, but no slice is visible" in unseen(fake_nvml)


def test_a_gpu_with_mig_switched_off_is_read_whole(fake_nvml: FakeNvml):
    fake_nvml.show(H100.replace(" name=", " mig=0 slots=7 name="))
    assert [gpu["uuid"] for gpu in read(fake_nvml)["value"]] == ["GPU-0"]


REFUSALS = {
    "no-permission": (f"error={NO_PERMISSION}", "no permission"),
    "no-permission-for-the-handle": (f"handle_error={NO_PERMISSION}", "no permission"),
    "lost": (f"handle_error={LOST}", "lost (fell off the bus)"),
    "lost-while-reading": (f"error={LOST}", "lost (fell off the bus)"),
    "reset-required": (f"error={RESET}", "needs a reset"),
    "timeout": (f"error={TIMEOUT}", "did not answer in time"),
    "no-figures": (f"error={NOT_SUPPORTED}", "no memory figures"),
    "an-error-without-a-name": ("error=999", "Unknown Error"),
}


@pytest.mark.parametrize(("fault", "words"), [pytest.param(*case, id=name) for name, case in REFUSALS.items()])
def test_a_gpu_that_cannot_be_read_is_unseen_and_named(fake_nvml: FakeNvml, fault: str, words: str):
    healthy = H100
    fake_nvml.show(healthy, healthy.replace("GPU-0", "GPU-1").replace(" name=", f" {fault} name="))
    why = unseen(fake_nvml)
    assert why.startswith("GPU 1: ")
    assert words in why
    assert not none_here(why)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(DRIVER_NOT_LOADED, "not loaded", id="driver-not-loaded"),
        pytest.param(NO_PERMISSION, "no permission", id="no-permission"),
        pytest.param(MISMATCH, "driver and library differ", id="driver-library-mismatch"),
    ],
)
def test_a_session_that_cannot_start_says_why_and_is_not_the_absence_of_gpus(
    fake_nvml: FakeNvml, error: int, words: str
):
    fake_nvml.show(f"init error={error}", H100)
    why = unseen(fake_nvml)
    assert words in why
    assert not none_here(why)


@pytest.fixture
def host_without_library(fake_nvml: FakeNvml, tmp_path: Path) -> FakeNvml:
    broken = tmp_path / "lib" / "libnvidia-ml.so.1"
    broken.parent.mkdir()
    broken.write_text("not a library")
    return FakeNvml(broken, fake_nvml.script)


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    directory = tmp_path / "dev"
    directory.mkdir()
    return directory


def test_without_library_and_without_devices_the_host_has_no_gpu(host_without_library: FakeNvml, devices: Path):
    why = unseen(host_without_library, devices)
    assert why.startswith(NO_DRIVER)
    assert none_here(why)


@pytest.mark.parametrize("device", ["nvidia0", "nvidia12", "nvidiactl"])
def test_without_library_but_with_devices_nobody_could_look(host_without_library: FakeNvml, devices: Path, device: str):
    (devices / device).touch()
    why = unseen(host_without_library, devices)
    assert "libnvidia-ml.so.1" in why
    assert not none_here(why)


@pytest.mark.parametrize("device", [None, "nvidia0"])
def test_a_missing_package_matters_only_where_a_device_is(fake_nvml: FakeNvml, devices: Path, device: str | None):
    if device:
        (devices / device).touch()
    fact = fake_nvml.run("import sys\nsys.modules['pynvml'] = None\n" + READ, str(devices))
    assert none_here(fact["why"]) == (device is None)
    assert ("nvidia-ml-py" in fact["why"]) == (device is not None)


def test_one_session_sees_a_leak_a_lost_gpu_and_its_return(fake_nvml: FakeNvml):
    fake_nvml.show(H100)
    fuller = H100.replace(f"used={60 * GIB} free={19 * GIB}", f"used={70 * GIB} free={9 * GIB}")
    lost = H100.replace(" name=", f" error={LOST} name=")
    first, leaked, gone, back = fake_nvml.run(READ_AGAIN, fuller, lost, H100)
    assert first["value"][0]["used_bytes"] == 60 * GIB
    assert leaked["value"][0]["used_bytes"] == 70 * GIB
    assert "lost" in gone["why"]
    assert back["value"] == first["value"]


def test_a_driver_that_comes_late_is_seen_by_the_same_session(fake_nvml: FakeNvml):
    fake_nvml.show(f"init error={DRIVER_NOT_LOADED}")
    before, after = fake_nvml.run(READ_AGAIN, H100)
    assert "not loaded" in before["why"]
    assert [gpu["uuid"] for gpu in after["value"]] == ["GPU-0"]


def test_a_driver_that_was_loaded_anew_is_read_again_by_a_new_session_of_its_own(fake_nvml: FakeNvml):
    fake_nvml.show("driver boot=1", H100)
    first, stale, fresh = fake_nvml.run(READ_AGAIN, f"driver boot=2\n{H100}\n", f"driver boot=2\n{H100}\n")
    assert [gpu["uuid"] for gpu in first["value"]] == ["GPU-0"]
    assert "why" in stale
    assert fresh["value"] == first["value"]


def test_a_gpu_that_turns_to_mig_between_two_readings_is_not_read_as_a_whole_any_more(fake_nvml: FakeNvml):
    fake_nvml.show(H100)
    parent = H100.replace(" name=", " mig=1 slots=7 name=")
    before, split = fake_nvml.run(READ_AGAIN, f"{parent}\nmig gpu=0 slot=0 uuid=MIG-a total=10 used=4 free=6 name=X\n")
    assert [gpu["uuid"] for gpu in before["value"]] == ["GPU-0"]
    assert [gpu["uuid"] for gpu in split["value"]] == ["MIG-a"]
