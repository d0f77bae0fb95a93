"""What the outside can reach, what the gateway writes down, and how it ends. Real Envoy."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.errors import CannotAct
from serving.rollout.envoy import Gateway, write
from serving.rollout.envoy_process import start_envoy, wait_until_listening
from tests.rollout.gateway import STABLE, Stack, alive, free_port, needs_envoy, until


class TestPaths:
    pytestmark = needs_envoy

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/v1/models", 200),
            ("/v1/models?limit=1", 200),
            ("//v1//models", 200),
            ("/v1", 404),
            ("/", 404),
            ("/metrics", 404),
            ("/health", 404),
            ("/invocations", 404),
            ("/tokenize", 404),
            ("/V1/models", 404),
            ("/v1x/models", 404),
            ("/v1/../metrics", 404),
            ("/v1/./../metrics", 404),
            ("/v1/%2e%2e/metrics", 404),
            ("/v1/.%2E/metrics", 404),
            ("//metrics", 404),
            ("/v1/..//metrics", 404),
            ("/v1%2f..%2fmetrics", 400),
            ("/v1/..%2fmetrics", 400),
            ("/v1/..%5cmetrics", 400),
            ("/v1/%2e%2e%2fmetrics", 400),
            ("/v1/..\\metrics", 404),
        ],
    )
    def test_only_v1_is_reachable(self, path: str, status: int, only: Stack) -> None:
        before = only.replicas["stable-0"].asked
        connection = http.client.HTTPConnection("127.0.0.1", only.gateway.listen_port, timeout=5)
        connection.request("GET", path)  # as it is: httpx would tidy the path
        assert connection.getresponse().status == status
        connection.close()
        assert only.replicas["stable-0"].asked - before == (1 if status == 200 else 0)

    def test_a_path_that_is_not_served_says_so_as_an_openai_error(self, only: Stack) -> None:
        error = only.ask("/metrics").json()["error"]
        assert (error["message"], error["code"]) == ("only /v1/ is served here", 404)

    def test_a_websocket_is_refused(self, only: Stack) -> None:
        answer = only.ask("/v1/realtime", headers={"connection": "upgrade", "upgrade": "websocket"})
        assert answer.status_code == 403


class TestPrivacyAndConnections:
    pytestmark = needs_envoy

    def test_the_access_log_has_no_query_no_header_and_no_body(self, start: Callable[..., Stack]) -> None:
        stack = start("stable-0")
        secrets = {name: f"canary{name}8c1f" for name in ("query", "key", "agent", "id", "body")}
        answer = stack.http.post(
            f"/v1/chat/completions?api_key={secrets['query']}",
            headers={
                "authorization": f"Bearer {secrets['key']}",
                "user-agent": secrets["agent"],
                "x-request-id": secrets["id"],
            },
            json={"prompt": secrets["body"]},
        )
        until(lambda: any(entry["method"] == "POST" for entry in stack.log()))
        (entry,) = (entry for entry in stack.log() if entry["method"] == "POST")
        assert entry["path"] == "/v1/chat/completions"
        assert not [name for name in answer.headers if name.startswith("x-envoy")]
        assert (entry["status"], entry["version"], entry["replica"]) == (200, "stable", "stable-0")
        written = "".join(path.read_text() for path in stack.gateway.directory.parent.rglob("*") if path.is_file())
        assert not [secret for secret in secrets.values() if secret in written]

    def test_an_idle_connection_is_closed_before_vllm_would_close_it(self, start: Callable[..., Stack]) -> None:
        stack = start("stable-0")
        stack.ask()
        begin = time.monotonic()
        until(lambda: stack.replicas["stable-0"].connections == 0)
        assert time.monotonic() - begin < 5

    def test_a_taken_port_is_one_line(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            gateway = Gateway(tmp_path, taken.getsockname()[1], free_port())
            write(gateway, [STABLE])
            process = start_envoy(tmp_path, tmp_path / "envoy.log")
            with pytest.raises(CannotAct, match="Address already in use") as caught:
                wait_until_listening(process, gateway, tmp_path / "envoy.log")
        assert "\n" not in str(caught.value)
        assert process.poll() not in (None, 0)

    def test_a_gateway_dies_with_its_starter(self, tmp_path: Path) -> None:
        write(Gateway(tmp_path, free_port(), free_port()), [STABLE])
        script = (
            "import sys, time; from pathlib import Path; from serving.rollout.envoy_process import start_envoy;"
            "print(start_envoy(Path(sys.argv[1]), Path(sys.argv[1], 'envoy.log')).pid, flush=True); time.sleep(60)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as starter:
            assert starter.stdout is not None
            pid = int(starter.stdout.readline())
            os.kill(pid, 0)
            starter.send_signal(signal.SIGKILL)
        until(lambda: not alive(pid))
