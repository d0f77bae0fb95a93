from tests.fakes.nvml.library import fake_nvml, nvml_library

__all__ = ["fake_nvml", "nvml_library"]
