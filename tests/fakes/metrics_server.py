"""A scriptable server of Prometheus text on loopback, and what vLLM 0.32 and a dcgm-exporter say in it.

vLLM's lines are written after its own logger's output: help and type lines, `_created` twins, buckets, two label sets,
and a histogram whose name ends in `_total`.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

ZERO: dict[str, float] = {
    "vllm:num_requests_running": 0,
    "vllm:num_requests_waiting": 0,
    "vllm:kv_cache_usage_perc": 0,
    "vllm:prefix_cache_queries_total": 0,
    "vllm:prefix_cache_hits_total": 0,
    "vllm:num_preemptions_total": 0,
    "vllm:prompt_tokens_total": 0,
    "vllm:generation_tokens_total": 0,
    "vllm:time_to_first_token_seconds_sum": 0,
    "vllm:time_to_first_token_seconds_count": 0,
    "vllm:request_queue_time_seconds_sum": 0,
    "vllm:request_queue_time_seconds_count": 0,
}
ELSEWHERE = """\
# HELP python_info Python platform information
# TYPE python_info gauge
python_info{implementation="CPython",major="3",minor="11",patchlevel="9",version="3.11.9"} 1.0
# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.79545036216e+09
# HELP vllm:iteration_tokens_total Histogram of number of tokens per engine_step.
# TYPE vllm:iteration_tokens_total histogram
vllm:iteration_tokens_total_bucket{engine="0",le="1.0",model_name="smollm2"} 90.0
vllm:iteration_tokens_total_bucket{engine="0",le="+Inf",model_name="smollm2"} 99.0
vllm:iteration_tokens_total_count{engine="0",model_name="smollm2"} 99.0
vllm:iteration_tokens_total_sum{engine="0",model_name="smollm2"} 1234.0
# HELP vllm:num_requests_waiting_by_reason Number of waiting requests by reason.
# TYPE vllm:num_requests_waiting_by_reason gauge
vllm:num_requests_waiting_by_reason{engine="0",model_name="smollm2",reason="capacity"} 77.0
# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="2912",path="a \\"b\\" {c}"} 1.0
"""


def vllm_text(*cores: dict[str, float], rejected: float | None = 0.0) -> str:
    """A vLLM server with one engine core for each argument, which names what differs from an idle one."""
    lines = [ELSEWHERE.rstrip("\n")]
    for name in ZERO:
        base = name.removesuffix("_sum").removesuffix("_count")
        kind = "counter" if name.endswith("_total") else "gauge" if base == name else "histogram"
        if not name.endswith("_count"):
            lines += [f'# HELP {base} Some words: {{with}} "marks".', f"# TYPE {base} {kind}"]
        for engine, core in enumerate(cores or ({},)):
            labels = f'engine="{engine}",model_name="smollm2"'
            if name.endswith("_sum"):
                lines.append(f'{base}_bucket{{engine="{engine}",le="+Inf",model_name="smollm2"}} 5.0')
            lines.append(f"{name}{{{labels}}} {float((ZERO | core)[name])}")
        if kind == "counter":
            created = name.removesuffix("_total") + "_created"
            lines += [f"# HELP {created} Some words.", f"# TYPE {created} gauge"]
            lines.append(f'{created}{{engine="0",model_name="smollm2"}} 1.795450377911288e+09')
    if rejected is not None:
        lines += ["# HELP vllm:admission_rejections_total By reason.", "# TYPE vllm:admission_rejections_total counter"]
        for reason, value in (("max_num_queued_reqs", rejected), ("max_num_queued_tokens", 0.0)):
            lines.append(f'vllm:admission_rejections_total{{model_name="smollm2",reason="{reason}"}} {float(value)}')
    return "\n".join(lines) + "\n"


def dcgm_text(*gpus: dict[str, Any]) -> str:
    """A dcgm-exporter with one line for each GPU (or Pod of a shared one), e.g. {"UUID": "GPU-0", "FB_USED": 70000}."""
    fields = ("FB_USED", "FB_FREE", "GPU_UTIL", "POWER_USAGE", "XID_ERRORS")
    lines = []
    for name in fields:
        lines += [f"# HELP DCGM_FI_DEV_{name} Some words (in MiB).", f"# TYPE DCGM_FI_DEV_{name} gauge"]
        for number, gpu in enumerate(gpus):
            labels = {"gpu": str(number), "device": f"nvidia{number}", "modelName": "NVIDIA H100 80GB HBM3"}
            labels |= {key: value for key, value in gpu.items() if key not in fields}
            if name in gpu:
                inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
                lines.append(f"DCGM_FI_DEV_{name}{{{inside}}} {gpu[name]}")
    return "\n".join(lines) + "\n"


@dataclass
class MetricsServer:
    """A running server. Tests change what it says at any time, and read in `asked` what it was asked."""

    url: str
    text: str | Callable[[], str] = ""
    status: int = 200
    hang: bool = False
    knows: tuple[str, ...] = ("/metrics", "/metrics/")
    filters: bool = True
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, str]:
        """What it says at this path. Like vLLM, it gives only what `name[]` asks for, but only at `/metrics/`."""
        self.asked.append(path)
        parts = urlsplit(path)
        if parts.path not in self.knows:
            return 404, "Not Found"
        text = self.text if isinstance(self.text, str) else self.text()
        wanted = parse_qs(parts.query).get("name[]")
        if wanted and self.filters and parts.path.endswith("/"):
            kept = [line for line in text.splitlines() if line.startswith("#") or line.partition("{")[0] in wanted]
            text = "\n".join(kept) + "\n"
        return self.status, text


@contextmanager
def metrics_server(text: str | Callable[[], str] = "", port: int = 0, **script: Any) -> Iterator[MetricsServer]:
    """Serve on loopback until the block ends; `port` 0 is a free one."""
    closing = threading.Event()
    taken: set[socket.socket] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            taken.add(self.request)
            super().setup()

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            if server.hang:
                closing.wait(30)
            status, said = server.answer(self.path)
            body = said.encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that leaves early is part of the tests."""

    listener = Quiet(("127.0.0.1", port), Handler)
    server = MetricsServer(f"http://127.0.0.1:{listener.server_address[1]}", text, **script)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        closing.set()
        listener.shutdown()
        listener.server_close()
        for connection in taken:  # a server that is gone answers on no old connection either
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join(5)
