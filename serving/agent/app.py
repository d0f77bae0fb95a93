"""The admin port's routes: probes, /modelz, the Open Inference Protocol, /metrics. Renders the document only.

Probes answer from memory: no route here ever asks the engine, so a busy engine cannot make a probe time out.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serving import __version__
from serving.agent.document import to_json
from serving.agent.metrics import ModelzCollector
from serving.facts.model import Modelz, State

STARTED = frozenset({State.READY, State.SLEEPING, State.STALLED, State.OVER_BUDGET, State.DRAINING})


def admin_app(read: Callable[[], Modelz]) -> Starlette:
    """The application; `read` returns the document of this moment."""
    registry = CollectorRegistry()
    registry.register(ModelzCollector(read))

    def probe(passed: bool, now: Modelz) -> JSONResponse:
        body = {"state": now.state, "reason": now.reason, "since": now.since}
        return JSONResponse(body, 200 if passed else 503)

    async def livez(request: Request) -> Response:
        now = read()
        return probe(now.live, now)

    async def readyz(request: Request) -> Response:
        now = read()
        return probe(now.ready, now)

    async def startupz(request: Request) -> Response:
        now = read()
        return probe(now.state in STARTED or State.READY in now.phases, now)

    async def modelz(request: Request) -> Response:
        return Response(to_json(read()), media_type="application/json")

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def server_metadata(request: Request) -> Response:
        return JSONResponse({"name": "warmgate", "version": __version__, "extensions": []})

    async def server_live(request: Request) -> Response:
        now = read()
        return JSONResponse({"live": now.live}, 200 if now.live else 503)

    async def server_ready(request: Request) -> Response:
        now = read()
        return JSONResponse({"ready": now.ready}, 200 if now.ready else 503)

    def unknown(name: str) -> Response:
        return JSONResponse({"error": f"no model {name!r} here, only {read().identity.expected_name!r}"}, 404)

    async def model_metadata(request: Request) -> Response:
        name, now = request.path_params["name"], read()
        if name != now.identity.expected_name:
            return unknown(name)
        return JSONResponse({"name": name, "versions": [], "platform": "vllm", "inputs": [], "outputs": []})

    async def model_ready(request: Request) -> Response:
        name, now = request.path_params["name"], read()
        if name != now.identity.expected_name:
            return unknown(name)
        return JSONResponse({"name": name, "ready": now.ready}, 200 if now.ready else 503)

    return Starlette(
        routes=[
            Route("/livez", livez),
            Route("/readyz", readyz),
            Route("/ready", readyz),
            Route("/startupz", startupz),
            Route("/modelz", modelz),
            Route("/metrics", metrics),
            Route("/v2", server_metadata),
            Route("/v2/health/live", server_live),
            Route("/v2/health/ready", server_ready),
            Route("/v2/models/{name:path}/ready", model_ready),
            Route("/v2/models/{name:path}", model_metadata),
        ]
    )
