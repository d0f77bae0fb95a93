"""Telemetry on the run's own time axis: servers, GPUs and the harness itself, sampled beside the load.

A process of its own asks and writes, so that no parsing ever delays the load's event loop; what is imported here is
what the load process needs, and none of it is an HTTP client.
"""

from loadtest.telemetry.files import HARNESS_FILE, SAMPLES_FILE, HarnessRows, open_telemetry
from loadtest.telemetry.options import TelemetryOptions, asks_of
from loadtest.telemetry.sampler import FirstLook, Sampler

__all__ = [
    "HARNESS_FILE",
    "SAMPLES_FILE",
    "FirstLook",
    "HarnessRows",
    "Sampler",
    "TelemetryOptions",
    "asks_of",
    "open_telemetry",
]
