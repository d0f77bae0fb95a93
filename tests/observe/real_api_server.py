"""A real API server with its etcd on loopback, from the binaries that KUBEBUILDER_ASSETS names; nothing runs in it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from serving.child import die_with_parent

TOKEN = "only-for-this-test"
START_SECONDS = 60


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def running(program: str, *options: str, log: Path) -> Iterator[None]:
    path = Path(os.environ["KUBEBUILDER_ASSETS"]) / program
    with log.open("wb") as out:
        process = subprocess.Popen([path, *options], stdout=out, stderr=out, preexec_fn=partial(die_with_parent, 9))
        try:
            yield
        finally:
            process.kill()
            process.wait()


@contextmanager
def real_api_server(directory: Path) -> Iterator[Path]:
    """Its kubeconfig, once it is ready. The user may do everything."""
    key = directory / "sa.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True, timeout=60)
    (directory / "tokens").write_text(f'{TOKEN},tester,1,"system:masters"\n')
    etcd, peer, port = free_port(), free_port(), free_port()
    user = {"name": "u", "user": {"token": TOKEN}}
    cluster = {"name": "c", "cluster": {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    config = directory / "kubeconfig"
    lists = {"users": [user], "clusters": [cluster], "contexts": [context]}
    config.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "c", **lists}))
    with ExitStack() as stack:
        clients = f"http://127.0.0.1:{etcd}"
        stack.enter_context(
            running(
                "etcd",
                f"--data-dir={directory / 'etcd'}",
                f"--listen-client-urls={clients}",
                f"--advertise-client-urls={clients}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
                "--unsafe-no-fsync",
                log=directory / "etcd.log",
            )
        )
        stack.enter_context(
            running(
                "kube-apiserver",
                f"--etcd-servers={clients}",
                f"--secure-port={port}",
                "--bind-address=127.0.0.1",
                f"--cert-dir={directory / 'certs'}",
                f"--token-auth-file={directory / 'tokens'}",
                "--authorization-mode=RBAC",
                "--service-account-issuer=https://localhost",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                "--service-cluster-ip-range=10.0.0.0/24",
                log=directory / "apiserver.log",
            )
        )
        _wait(config)
        yield config


def _wait(config: Path) -> None:
    kubectl = Path(os.environ["KUBEBUILDER_ASSETS"]) / "kubectl"
    asked: list[str | Path] = [kubectl, f"--kubeconfig={config}", "get", "--raw=/readyz"]
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run(asked, capture_output=True, timeout=20, check=False).returncode:
        assert time.monotonic() < deadline, (config.parent / "apiserver.log").read_text()[-2000:]
        time.sleep(0.5)
