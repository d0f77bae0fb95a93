"""The agent's `warmgate_*` metrics, read off the document at scrape time, so that they cannot disagree with /modelz."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.facts.model import Modelz, State


class ModelzCollector(Collector):
    """Turns the document of the moment into metric families."""

    def __init__(self, read: Callable[[], Modelz]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """One family after the other; what was not seen has no sample rather than a zero."""
        now = self._read()
        state = GaugeMetricFamily("warmgate_state", "1 for the current state, 0 for every other.", labels=["state"])
        for one in State:
            state.add_metric([one.value], float(one is now.state))
        yield state
        yield GaugeMetricFamily("warmgate_ready", "Whether /readyz answers 200.", float(now.ready))
        yield GaugeMetricFamily("warmgate_live", "Whether /livez answers 200.", float(now.live))
        spent = CounterMetricFamily("warmgate_state_seconds", "Seconds spent in each state so far.", labels=["state"])
        for phase, seconds in now.phases.items():
            spent.add_metric([phase.value], seconds)
        yield spent
        info = GaugeMetricFamily(
            "warmgate_info", "Versions and the model's name; always 1.", labels=["agent", "engine", "model_name"]
        )
        info.add_metric([now.agent_version, now.engine.version or "", now.identity.expected_name], 1.0)
        yield info
        if now.engine.resident_bytes is not None:
            about = "Resident memory of the engine's process tree."
            yield GaugeMetricFamily("warmgate_engine_resident_bytes", about, now.engine.resident_bytes)
        if now.heartbeat is not None and now.heartbeat.idle_s is not None:
            about = "Seconds since the engine last proved that it moves."
            yield GaugeMetricFamily("warmgate_heartbeat_age_seconds", about, now.heartbeat.idle_s)
        if now.warmup is not None:
            yield GaugeMetricFamily("warmgate_warmup_requests", "Warm-up generations done.", now.warmup.requests)
            yield GaugeMetricFamily("warmgate_warmup_settled", "Whether TTFT settled.", float(now.warmup.settled))
            yield GaugeMetricFamily("warmgate_warmup_seconds", "Duration of the warm-up.", now.warmup.seconds)
            if now.warmup.ttft_ms:
                about = "TTFT of the last warm-up generation."
                yield GaugeMetricFamily("warmgate_warmup_ttft_seconds", about, now.warmup.ttft_ms[-1] / 1000)
        for name, about in (("used", "Used memory"), ("free", "Free memory"), ("total", "Total memory")):
            family = GaugeMetricFamily(f"warmgate_gpu_memory_{name}_bytes", f"{about} of a GPU.", labels=["uuid"])
            for gpu in now.gpus or ():
                family.add_metric([gpu.uuid], getattr(gpu, f"{name}_bytes"))
            if now.gpus:
                yield family
