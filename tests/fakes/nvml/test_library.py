"""The stand-in keeps NVML's own promises, as the real nvidia-ml-py sees them."""

from __future__ import annotations

import pytest

from tests.fakes.nvml.library import GIB, H100, FakeNvml

SESSION = """
import json, pynvml as n
def code(call, *arguments, **named):
    try:
        call(*arguments, **named)
        return 0
    except n.NVMLError as error:
        return error.value
seen = []
n._LoadNvmlLibrary()
seen.append(code(n.nvmlDeviceGetCount))
n.nvmlInit(); n.nvmlInit(); n.nvmlShutdown()
seen.append(code(n.nvmlDeviceGetCount))
n.nvmlShutdown()
seen.append(code(n.nvmlShutdown))
print(json.dumps(seen))
"""

FIGURES = """
import json, pynvml as n
n.nvmlInit()
handle = n.nvmlDeviceGetHandleByIndex(0)
one, two = n.nvmlDeviceGetMemoryInfo(handle), n.nvmlDeviceGetMemoryInfo(handle, version=n.nvmlMemory_v2)
print(json.dumps([[one.total, one.used, one.free], [two.total, two.used, two.free, two.reserved],
                  n.nvmlDeviceGetName(handle), n.nvmlDeviceGetUUID(handle), n.nvmlSystemGetDriverVersion()]))
"""


def test_a_session_is_counted_and_reading_outside_of_one_is_refused(fake_nvml: FakeNvml):
    uninitialized = 1
    assert fake_nvml.run(SESSION) == [uninitialized, 0, uninitialized]


def test_version_one_counts_reserved_as_used_and_version_two_tells_it_apart(fake_nvml: FakeNvml):
    fake_nvml.show(H100)
    one, two, name, uuid, driver = fake_nvml.run(FIGURES)
    assert one == [80 * GIB, 61 * GIB, 19 * GIB]
    assert two == [80 * GIB, 60 * GIB, 19 * GIB, 1 * GIB]
    assert (name, uuid, driver) == ("NVIDIA H100 80GB HBM3", "GPU-0", "580.00.fake")


@pytest.mark.parametrize("error", [4, 15, 999])
def test_a_scripted_error_reaches_the_caller_as_that_error(fake_nvml: FakeNvml, error: int):
    fake_nvml.show(f"gpu uuid=GPU-0 total=1 handle_error={error} name=X")
    code = "import json, pynvml as n\nn.nvmlInit()\ntry: n.nvmlDeviceGetHandleByIndex(0)\n"
    assert fake_nvml.run(code + "except n.NVMLError as error: print(json.dumps(error.value))") == error
