"""A tab of Locust's web UI with the figures of the run: the UI's own statistics are rounded, and know no tokens.

Locust's UI draws the tab from plain rows that come with its own statistics. The finished report is served beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, Final

from flask import Blueprint, Response, redirect, request, send_file

from loadtest.live import Looker
from loadtest.session import Session

KEY: Final = "streams"
REPORT: Final = "/warmgate/report"
STATISTICS: Final = "/stats/requests"
COLUMNS: Final = ({"key": "figure", "title": "Figure"}, {"key": "value", "title": "Value"})


def add_tab(web_ui: Any, session: Callable[[], Session | None]) -> None:
    """Add the tab to a web UI that has not started yet. `session` gives the run at hand."""
    pages = Blueprint("warmgate", __name__)
    lookers: dict[Session, Looker] = {}

    @pages.route(REPORT)
    @web_ui.auth_required_if_enabled
    def report() -> Any:
        found = session()
        path = None if found is None or found.directory is None else found.directory / "report.html"
        if path is None or not path.exists():
            return Response("there is no report yet: it is written at the end of the run", 404, mimetype="text/plain")
        return send_file(path.absolute(), mimetype="text/html")

    @pages.route("/warmgate")
    @web_ui.auth_required_if_enabled
    def tab() -> Any:
        return redirect(f"{web_ui.environment.parsed_options.web_base_path or ''}/?tab={KEY}")

    def add_rows(response: Response) -> Response:
        if not request.path.endswith(STATISTICS) or response.status_code != 200:
            return response
        found = session()
        if found is not None and found.run is not None and found not in lookers:
            lookers.clear()
            lookers[found] = Looker(found.run)
        shown = [
            {"figure": figure, "value": value} for figure, value in rows(found, lookers.get(found) if found else None)
        ]
        body = response.get_json()  # which Locust keeps for a while, with what we added the last time
        others = [table for table in body.get("extended_stats", []) if table["key"] != KEY]
        body["extended_stats"] = [*others, {"key": KEY, "data": shown}]
        response.set_data(json.dumps(body))
        return response

    web_ui.app.after_request(add_rows)
    web_ui.app.register_blueprint(pages, url_prefix=web_ui.environment.parsed_options.web_base_path or None)
    web_ui.template_args.setdefault("extended_tabs", []).append({"title": "Streams", "key": KEY})
    web_ui.template_args.setdefault("extended_tables", []).append({"key": KEY, "structure": list(COLUMNS)})


def rows(session: Session | None, looker: Looker | None) -> list[tuple[str, str]]:
    """What the tab shows, in its order."""
    if session is None or session.run is None or looker is None:
        return [("Run", (session and session.error) or "none yet")]
    run, figures, recent = session.run, looker.look(), session.run.recent
    shown = [("Run", session.verdict or session.error or ("running" if figures is not None else "preparing"))]
    if session.verdict is not None:
        shown.append(("Report", f"open {REPORT} of this server; files are in {session.directory}"))
    if figures is not None:
        planned = "" if figures.planned is None else f" of {figures.planned}"
        shown.append(("Requests started", f"{figures.started}{planned}"))
    if figures is not None and not session.over:
        shown += [
            ("Phase", figures.phase),
            ("Elapsed", f"{figures.elapsed_s:.0f} s" + (f" of {figures.end_s:.0f} s" if figures.end_s else "")),
            ("Offered", _per_s(figures.offered_per_s)),
            ("Achieved", _per_s(figures.achieved_per_s)),
            ("In flight", str(figures.in_flight)),
        ]
    shown.append(("Goodput, of the latest", "" if recent.goodput is None else f"{recent.goodput:.2%}"))
    shown.append(("TTFT p50 / p95 / p99, of the latest", _quantiles(recent.ttft_ms(0.5, 0.95, 0.99))))
    shown.append(("ITL p50 / p95 / p99, of the latest", _quantiles(recent.itl_ms(0.5, 0.95, 0.99))))
    shown += [(f"Requests that ended {outcome}", str(n)) for outcome, n in sorted(recent.outcomes.items())]
    shown.append(
        ("Gates", f"{len(run.profile.gates)}, judged at the end by exact samples, not by Locust's percentiles")
    )
    return shown


def _per_s(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.2f}/s"


def _quantiles(found: list[float] | None) -> str:
    return "" if found is None else " / ".join("never" if math.isinf(value) else f"{value:.1f} ms" for value in found)
