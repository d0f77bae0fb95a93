"""The ground truth as tests use it: the harness's own server, in a thread of the test's process."""

from __future__ import annotations

from loadtest.truth.program import Fault, Program
from loadtest.truth.served import Served
from loadtest.truth.server import SseServer, sse_server

__all__ = ["Fault", "Program", "Served", "SseServer", "sse_server"]
