"""The page report.html: one file that opens from disk and loads nothing. Formatting only.

plotly.js stands in it once. A Content-Security-Policy lets no script run but the page's own two, and no request leave
it, so that no text from a server could do either even if it were not escaped.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from serving.expectations import Slo
from serving.facts.samples import METRICS
from serving.facts.telemetry import Telemetry
from serving.facts.traffic import Traffic

STATISTICS: Final = ("n", "failed", "mean", "p50", "p90", "p95", "p99", "max")
MARKS: Final = {"pass": "✓", "fail": "✗", "unknown": "?", "invalid": "?", "not_applicable": "–"}
SEVERITY: Final = ("fail", "unknown", "pass", "not_applicable")


def page(document: dict[str, Any], traffic: Traffic, slos: Sequence[Slo], telemetry: Telemetry | None = None) -> str:
    """The text of report.html. Imports plotly: call it when the run is over."""
    from plotly.offline import get_plotlyjs

    from loadtest.plots import plots

    environment = Environment(
        loader=PackageLoader("loadtest", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    told = (of, percent, seconds, load_words, worst_first)
    environment.filters |= {function.__name__: function for function in told} | {"ms": milliseconds}
    drawn = plots(traffic, slos, telemetry)
    figures = {plot.name: {**plot.figure(), "wide": plot.wide} for plot in drawn}
    library, script = "\n".join(get_plotlyjs().splitlines()), _asset("report.js")
    return environment.get_template("report.html.j2").render(
        r=document,
        plots=drawn,
        figures=Markup(json.dumps(figures, separators=(",", ":")).replace("<", "\\u003c")),
        library=Markup(library),
        script=Markup(script),
        css=Markup(_asset("report.css")),
        hashes=Markup(" ".join(_hash(text) for text in (library, script))),
        profile=yaml.safe_dump(document["profile"], sort_keys=False, allow_unicode=True, width=100),
        meanings=METRICS,
        statistics=STATISTICS,
        marks=MARKS,
    )


def milliseconds(value: float | None, failed: int = 0) -> str:
    """A latency for people: three figures or so, with its unit; a failed request's has none.

    >>> [milliseconds(value) for value in (0.1234, 12.345, 1234.5, None)], milliseconds(None, failed=2)
    (['0.12 ms', '12.3 ms', '1,234 ms', '–'], 'failed')
    """
    if value is None:
        return "failed" if failed else "–"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms" if value >= 1 else f"{value:.2f} ms"


def of(summary: dict[str, Any] | None, statistic: str) -> str:
    """A statistic of a summary for people.

    >>> of({"p50": None, "failed": 3}, "p50"), of(None, "p50")
    ('failed', '–')
    """
    return milliseconds(None if summary is None else summary[statistic], (summary or {}).get("failed", 0))


def percent(share: float | None) -> str:
    """A share for people; nothing but all is shown as 100 %.

    >>> percent(1.0), percent(0.99996), percent(0.5), percent(None)
    ('100 %', '99.99 %', '50.0 %', '–')
    """
    if share is None:
        return "–"
    if share == 1:
        return "100 %"
    return "99.99 %" if 0.9999 < share < 1 else f"{100 * share:.2f} %" if share > 0.99 else f"{100 * share:.1f} %"


def seconds(value: float) -> str:
    """A duration for people.

    >>> seconds(0.25), seconds(42.4), seconds(3723)
    ('0.2 s', '42 s', '1 h 2 min 3 s')
    """
    if value < 60:
        return f"{value:.1f} s" if value < 10 and value % 1 else f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def load_words(load: dict[str, Any], phases: Sequence[dict[str, Any]] = ()) -> str:
    """The load in a few words.

    >>> load_words({"mode": "poisson", "rate_per_s": 2.5, "streams": None})
    'poisson arrivals at 2.5/s'
    >>> load_words({"mode": "gamma", "rate_per_s": None, "streams": None}, [{"rate_per_s": 2.0}, {"rate_per_s": 8.0}])
    'gamma arrivals at 2 to 8/s'
    >>> load_words({"mode": "closed_loop", "streams": 8}, [{"streams": 2}, {"streams": 8}])
    'closed loop of 2 to 8 streams'
    """
    if load["mode"] == "closed_loop":
        streams = [count for part in (load, *phases) if (count := part["streams"])]
        return f"closed loop of {_range(streams)} streams" if streams else "closed loop"
    words = {"sweep": "sweep to saturation", "trace": "replay of a trace"}.get(load["mode"], f"{load['mode']} arrivals")
    rates = [rate for part in (load, *phases) if (rate := part["rate_per_s"])]
    if not rates:
        return words
    return f"{words} at {_range(rates)}/s"


def _range(numbers: Sequence[float]) -> str:
    low, high = f"{min(numbers):.3g}", f"{max(numbers):.3g}"
    return low if low == high else f"{low} to {high}"


def worst_first(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The findings, those that matter most first, each kind in the order in which it was judged."""
    return sorted(findings, key=lambda found: SEVERITY.index(found["verdict"]))


def _asset(name: str) -> str:
    return (files("loadtest") / "templates" / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
