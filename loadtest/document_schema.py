"""The JSON Schema of a load test's document, `warmgate.loadtest/v1`, generated into docs/loadtest.schema.json.

Every object that this project owns is closed: an unknown member is an error. The profile, the attached reports and the
maps keyed by names from outside stay open. The findings are those of `serving.report.json`.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, Final

from serving.facts.samples import METRICS, Summary
from serving.facts.traffic import Outcome
from serving.report.json import json_schema as report_schema

SCHEMA: Final = "warmgate.loadtest/v1"
COUNT: Final = {"type": "integer", "minimum": 0}
TEXT: Final = {"type": "string"}
NUMBER: Final = {"type": "number"}
MAYBE: Final = {"type": ["number", "null"]}
SHARE: Final = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
VERDICT: Final = {"enum": ["pass", "fail", "invalid"], "description": "invalid: it could not be judged; never a pass."}
Member = dict[str, Any]


def json_schema() -> str:
    """The text of docs/loadtest.schema.json (JSON Schema, draft 2020-12)."""
    report = json.loads(report_schema())["properties"]
    finding = report["findings"]["items"] | {"additionalProperties": False}
    body = _closed(
        schema={"const": SCHEMA},
        command={"const": "loadtest"},
        title=TEXT,
        verdict=VERDICT,
        exit_code={
            "enum": [0, 1, 3],
            "description": "0 pass, 1 fail, 3 invalid. A process ends with 130 after Ctrl-C.",
        },
        findings={"type": "array", "items": finding},
        load=_load(),
        outcomes=_closed(**{outcome.value: COUNT for outcome in Outcome})
        | {"description": "How the requests of the window ended; only ok is good."},
        reasons={
            "type": "object",
            "additionalProperties": COUNT,
            "description": "Why requests did not end well, the most frequent first.",
        },
        tokens=_tokens(),
        metrics=_closed(
            **{f"{metric}_ms": _maybe("summary") | {"description": said} for metric, said in METRICS.items()},
            schedule_lag_ms=_maybe("summary") | {"description": "How late the harness itself sent."},
            client_lag_ms=_maybe("summary")
            | {"description": "How long received bytes waited in the kernel before the harness read them."},
        ),
        goodput=SHARE | {"description": "Share of all scheduled requests that met every per-request limit."},
        error_rate=SHARE,
        golden={"anyOf": [_closed(asked=COUNT, sane=COUNT), {"type": "null"}]},
        cold={"anyOf": [_cold(), {"type": "null"}]},
        phases={"type": "array", "items": _part(**_phase())},
        arms={"type": "array", "items": _part(name=TEXT), "description": "The sides of an A/B run."},
        replicas={"type": "array", "items": _part(name=TEXT), "description": "The window by who answered."},
        sweep={
            "anyOf": [_sweep(), {"type": "null"}],
            "description": "Its probes; elsewhere they are all taken together.",
        },
        telemetry={"anyOf": [_telemetry(), {"type": "null"}]},
        other_tools={"type": "array", "items": _other_tool()},
        measurement=_measurement(),
        environment=_closed(
            started_at=TEXT,
            elapsed_s=NUMBER,
            interrupted={"type": ["string", "null"], "description": "What cut the run short."},
            profile=TEXT,
            base_url=TEXT,
            candidate_url={"type": ["string", "null"], "description": "The other side of an A/B run."},
            model=TEXT,
            seed={"type": "integer"},
            workers=COUNT,
            prompts={
                "type": ["object", "null"],
                "description": "How well the lengths of prompts that were asked for in tokens could be set.",
            },
            versions={"type": "object", "additionalProperties": TEXT},
        ),
        profile={"type": "object", "description": "The profile as typed, with its defaults and overrides."},
        attached={"type": "array", "items": {"type": "object"}, "description": "Other reports, not judged again."},
    )
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A load test of warmgate",
        **body,
        "$defs": {"summary": _summary()},
    }
    return json.dumps(schema, indent=2) + "\n"


def _closed(**members: Member) -> Member:
    return {"type": "object", "required": list(members), "additionalProperties": False, "properties": members}


def _maybe(name: str) -> Member:
    return {"anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]}


def _summary() -> Member:
    counts = {"n", "failed"}
    members = {item.name: COUNT if item.name in counts else MAYBE for item in fields(Summary)}
    said = "Milliseconds; null lies among the `failed`, which were never answered."
    return _closed(**members) | {"description": said}


def _load() -> Member:
    return _closed(
        mode=TEXT,
        rate_per_s=MAYBE,
        streams={"type": ["integer", "null"]},
        window_s=NUMBER | {"description": "Seconds of the schedule that count."},
        warmup_s=NUMBER,
        warmup_requests=COUNT | {"description": "Requests that were made and do not count."},
        scheduled=COUNT,
        sent=COUNT,
        offered_per_s=MAYBE | {"description": "null in a closed loop."},
        achieved_per_s=MAYBE | {"description": "Sent within the window."},
        good_per_s=MAYBE,
        interarrival_cv=MAYBE | {"description": "Of what left the harness: 1 for Poisson, 0 for constant."},
        index_of_dispersion=MAYBE | {"description": "Variance of the counts over their mean: 1 for Poisson."},
        peak_in_flight=COUNT,
    )


def _tokens() -> Member:
    return _closed(
        prompt=COUNT,
        cached=COUNT,
        cached_share=SHARE | {"description": "Of the prompt tokens of requests whose server told."},
        output=COUNT,
        output_per_s=MAYBE,
        chunks=COUNT,
        uncounted_requests=COUNT | {"description": "Good requests whose server told no token count."},
        exact_per_chunk_requests=COUNT,
    )


def _cold() -> Member:
    members = ("first_ms", "first_wave_ms", "steady_ms", "first_penalty", "first_wave_penalty")
    said = "TTFT of the first request and the first wave, beside the steady median; null where one failed."
    return _closed(**dict.fromkeys(members, MAYBE), wave=COUNT) | {"description": said}


def _other_tool() -> Member:
    figures = dict.fromkeys(("mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms"), MAYBE)
    said = "What another tool would have printed, by its own definition and with its faults; never judged."
    return _closed(tool=TEXT, name=TEXT, formula=TEXT, n=COUNT, **figures) | {"description": said}


def _phase() -> dict[str, Member]:
    return {
        "name": TEXT,
        "start_s": NUMBER,
        "end_s": NUMBER,
        "counts": {"type": "boolean", "description": "false: warm-up and the like, not judged."},
        "rate_per_s": MAYBE,
        "streams": {"type": ["integer", "null"]},
        "offered_per_s": MAYBE,
        "achieved_per_s": MAYBE,
    }


def _part(**members: Member) -> Member:
    metrics = {"type": "object", "additionalProperties": _maybe("summary")}
    return _closed(**members, scheduled=COUNT, ok=COUNT, goodput=SHARE, error_rate=SHARE, metrics=metrics)


def _sweep() -> Member:
    probe = _part(
        rate_per_s=NUMBER,
        counted_s=NUMBER,
        verdict=VERDICT,
        why=TEXT,
        offered_per_s=MAYBE,
        achieved_per_s=MAYBE | {"description": "Requests that ended well within the part that counts."},
    )
    return _closed(
        capacity_per_s=MAYBE | {"description": "The highest rate found at which nothing did anything but pass."},
        ceiling_per_s=MAYBE | {"description": "The lowest rate above it that did not pass."},
        settled={"type": "boolean"},
        why=TEXT,
        probes={"type": "array", "items": probe},
    )


def _telemetry() -> Member:
    source = _closed(name=TEXT, kind=TEXT, url=TEXT, missed=COUNT, last_missed={"type": ["string", "null"]})
    figure = _closed(source=TEXT, metric=TEXT, unit=TEXT, n=COUNT, least=NUMBER, mean=NUMBER, most=NUMBER, last=NUMBER)
    found = {"sources": {"type": "array", "items": source}, "figures": {"type": "array", "items": figure}}
    return _closed(**found) | {"description": "What was asked during the run; telemetry.jsonl has it over time."}


def _measurement() -> Member:
    quantiles = {"anyOf": [_closed(p50=NUMBER, p99=NUMBER, max=NUMBER), {"type": "null"}]}
    return _closed(
        error_bounds=_closed(
            sent_late_ms=quantiles | {"description": "How much too late a request can have been sent."},
            stamped_late_ms=quantiles
            | {"description": "How much too late a byte can have been stamped; 0 where the kernel stamped them all."},
        ),
        schedule_lag_ms=_maybe("summary"),
        loop_lag_ms=quantiles,
        cpu_s=MAYBE,
        core_share=MAYBE | {"description": "How much of its core the busiest process used."},
        cpu_us_per_chunk=MAYBE,
        kernel_timestamps={"type": "boolean", "description": "Whether the kernel stamped what was received."},
        kernel_stamp_share=SHARE | {"description": "Of the reads, those that the kernel stamped."},
        chunks=COUNT,
        coalesced=COUNT | {"description": "Token chunks that came in one read with an earlier one."},
        clock_uncertainty_ms=MAYBE
        | {"description": "How well the clocks of workers elsewhere were known, at worst; null where all have one."},
        server_check={
            "anyOf": [
                _closed(client_ttft_ms=MAYBE, server_ttft_ms=MAYBE, network_ms=MAYBE, requests=COUNT, why=TEXT),
                {"type": "null"},
            ],
            "description": "Mean TTFT on the wire against the servers' own; network_ms lies between them.",
        },
    )
