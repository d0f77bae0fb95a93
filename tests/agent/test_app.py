"""The admin routes over a document at hand: status codes, shapes, and KServe's own client against them."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import jsonschema
import pytest
import uvicorn

from serving.agent.app import admin_app
from serving.agent.document import Measured, modelz
from serving.agent.engine_args import read_engine_args
from serving.agent.events import CoreLost, EngineReachable, Event, PhaseSeen, TermRequested, WarmupFinished
from serving.agent.lifecycle import begin, step
from serving.agent.run import AdminServer
from serving.agent.settings import Settings
from serving.facts.model import Modelz, State, Warmup

SETTINGS = Settings()
ENGINE = read_engine_args(["--model", "/m", "--served-model-name", "org/m"], {}, {})
RULES = SETTINGS.rules(ENGINE)
TO_READY: list[Event] = [EngineReachable(10, ("org/m",)), WarmupFinished(12, "warm")]


def document(*events: Event, measured: Measured | None = None) -> Modelz:
    life = begin(0.0)
    for event in events:
        life, _ = step(life, event, RULES)
    return modelz(life, RULES, ENGINE, SETTINGS.budget, measured or Measured(), now=100.0, wall_offset=1_800_000_000)


def get(path: str, now: Modelz) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(admin_app(lambda: now))
        async with httpx.AsyncClient(transport=transport, base_url="http://agent") as client:
            return await client.get(path)

    return asyncio.run(ask())


LOADING = document(PhaseSeen(1, State.LOADING, "loading weights: shard 1 of 4 (25 %)"))
READY = document(*TO_READY)
FAILED = document(*TO_READY, CoreLost(50, "gone"))
DRAINING = document(*TO_READY, TermRequested(50))


@pytest.mark.parametrize(
    ("now", "livez", "readyz", "startupz"),
    [
        pytest.param(LOADING, 200, 503, 503, id="loading"),
        pytest.param(READY, 200, 200, 200, id="ready"),
        pytest.param(FAILED, 503, 503, 200, id="failed"),
        pytest.param(DRAINING, 200, 503, 200, id="draining"),
    ],
)
def test_probes(now: Modelz, livez: int, readyz: int, startupz: int):
    assert get("/livez", now).status_code == livez
    assert get("/readyz", now).status_code == get("/ready", now).status_code == readyz
    assert get("/v2/health/live", now).status_code == livez
    assert get("/v2/health/ready", now).status_code == readyz
    assert get("/v2/models/org/m/ready", now).status_code == readyz
    assert get("/startupz", now).status_code == startupz


def test_a_probe_says_the_phase_and_since_when():
    body = get("/readyz", LOADING).json()
    assert body == {
        "state": "loading",
        "reason": "loading weights: shard 1 of 4 (25 %)",
        "since": "2027-01-15T08:00:01.000Z",
    }


def test_an_unknown_model_is_not_found_and_the_known_one_is_named():
    for path in ("/v2/models/other", "/v2/models/other/ready"):
        answer = get(path, READY)
        assert answer.status_code == 404
        assert answer.json() == {"error": "no model 'other' here, only 'org/m'"}


@pytest.mark.parametrize("now", [LOADING, READY, FAILED, DRAINING], ids=["loading", "ready", "failed", "draining"])
def test_modelz_fits_the_committed_schema(now: Modelz):
    schema = json.loads((Path(__file__).parents[2] / "docs/modelz.schema.json").read_text())
    body = get("/modelz", now).json()
    jsonschema.validate(body, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**body, "state": "fine"}, schema)
    del body["reason"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body, schema)


def test_metrics_agree_with_modelz_and_unseen_values_have_no_sample():
    warm = Measured(resident_bytes=1000, warmup=Warmup(3, (9.0, 8.0, 7.0), 0.25, True, 1.5))
    text = get("/metrics", replace(document(*TO_READY, measured=warm))).text
    assert 'warmgate_state{state="ready"} 1.0' in text
    assert 'warmgate_state{state="loading"} 0.0' in text
    assert "warmgate_ready 1.0" in text
    assert "warmgate_engine_resident_bytes 1000.0" in text
    assert "warmgate_warmup_ttft_seconds 0.007" in text
    assert 'warmgate_state_seconds_total{state="starting"} 10.0' in text
    bare = get("/metrics", LOADING).text
    assert "warmgate_ready 0.0" in bare
    assert "resident" not in bare
    assert "gpu" not in bare


def test_log_lines_are_shown_only_once_the_engine_has_ended():
    told = Measured(last_lines=("ValueError: why",))
    assert document(*TO_READY, measured=told).engine.last_lines == ()
    assert document(*TO_READY, CoreLost(50, "gone"), measured=told).engine.last_lines == ("ValueError: why",)


@pytest.fixture
def served() -> Iterator[tuple[str, list[Modelz]]]:
    """The routes on a real port; the document can be exchanged."""
    now = [LOADING]
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(admin_app(lambda: now[0]), log_config=None, lifespan="off", ws="none")
    server = AdminServer(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", now
    server.should_exit = True
    thread.join(10)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_kserves_own_client_understands_the_open_inference_protocol(served: tuple[str, list[Modelz]]):
    """Its client reads any 200 or 503 of the ready routes, and raises on what is not the protocol's shape."""
    kserve = pytest.importorskip("kserve", reason="needs the kserve extra")
    url, now = served

    async def ask() -> tuple[bool, bool]:
        client = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2"))
        try:
            return await client.is_server_live(url), await client.is_model_ready(url, "org/m")
        finally:
            await client.close()

    assert asyncio.run(ask()) == (True, False)
    now[0] = READY
    assert asyncio.run(ask()) == (True, True)
