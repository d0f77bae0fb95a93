"""One request through the real transport to the ground-truth server, and its record."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from loadtest.outcome import settle
from loadtest.profile import Profile
from loadtest.prompts.prompt import Prompt, user
from loadtest.request import Requests
from loadtest.target import find_model, target_of
from loadtest.transport import Limits, Wire, exchange
from serving.expectations import Slo
from serving.facts.traffic import RequestSeen

LIMITS = Limits(connect_s=5, first_byte_s=10, idle_s=10, total_s=20)
PROMPT = "the secret words of a person"


@dataclass(frozen=True)
class Asked:
    """The record, the wire beneath it, and the moment from which the record counts."""

    seen: RequestSeen
    wire: Wire
    origin_ns: int


def profile_of(**fields: object) -> Profile:
    """A small profile with one gate, with these fields changed."""
    body: dict[str, object] = {
        "load": {"arrivals": "constant", "rate_rps": 10, "duration_s": 1},
        "slos": (Slo(metric="goodput", at_least_share=0.5),),
    }
    return Profile.model_validate(body | fields)


def ask(url: str, limits: Limits = LIMITS, ca_cert: Path | None = None, api_key: str | None = None) -> Asked:
    """Find the model, ask once, settle."""
    target = target_of(url, api_key, ca_cert)
    requests = Requests(target, find_model(target, None, 5), profile_of())
    request = requests.bytes_of(Prompt("synthetic-0-0", (user(PROMPT),)), "warmgate-0-0")
    wire, origin_ns = Wire(), time.perf_counter_ns()
    exchange(target.peer, request, limits, wire)
    return Asked(settle(0, "synthetic-0-0", 0.0, wire, origin_ns), wire, origin_ns)
