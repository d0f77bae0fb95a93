"""Decides whether an endpoint is ready: seven questions, seven findings, in the order of the evidence chain.

Every layer is judged on its own evidence, whatever became of the others. What nobody could look at is UNKNOWN, and what
nobody asked for (no memory target, no GPU in the host) is NOT_APPLICABLE; neither passes. Pure.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from serving import codes
from serving.expectations import Readiness
from serving.facts.model import Heartbeat, Modelz, State, Warmup
from serving.facts.readiness import AgentFacts, Host, Listing, Probe, ReadinessFacts
from serving.facts.seen import Fact, Seen, Unseen
from serving.judge.blind import CORRECT_BASE_URL, START_AGENT, could_not_look
from serving.judge.latency import judge_latency
from serving.judge.memory import FREE_GPU_MEMORY, judge_gpu_memory, judge_host_memory
from serving.judge.phrases import duration, excerpt
from serving.judge.prediction import judge_prediction
from serving.verdict import Finding, Report, Verdict

STATE_REMEDIES: Final = {
    State.FAILED: "read `reason` and the engine's last lines, mend the cause, and start it again",
    State.STOPPED: "start it again",
    State.DRAINING: "it is on its way out: verify its successor",
    State.SLEEPING: "wake the engine (POST /wake_up)",
    State.STALLED: "the engine does not move: look at its log and its GPU, then restart it",
    State.OVER_BUDGET: FREE_GPU_MEMORY,
}


def judge_readiness(facts: ReadinessFacts, expectations: Readiness) -> Report:
    """One finding for each layer, always seven."""
    name = expected_name(facts.agent.modelz, expectations)
    findings = (
        judge_process(facts.agent.modelz),
        judge_model(facts.agent, expectations),
        judge_endpoint(facts.listing, facts.gateway, name),
        judge_latency(facts.latency, expectations),
        judge_host_memory(facts.agent.modelz, expectations),
        judge_gpu_memory(facts.agent.modelz, expectations),
        judge_prediction(facts.prediction, expectations),
    )
    return Report(f"verify {f'{name} at ' if name else ''}{facts.base_url}", findings)


def expected_name(modelz: Fact[Modelz], expectations: Readiness) -> str | None:
    """The name asked for; else the one that the agent expects; None when nobody could say."""
    if expectations.model is not None:
        return expectations.model
    return modelz.value.identity.expected_name if isinstance(modelz, Seen) else None


def judge_process(modelz: Fact[Modelz]) -> Finding:
    """WG101. The agent must answer, and the engine it supervises must be alive."""
    base = Finding(codes.PROCESS_RUNNING, Verdict.PASS, "engine process", "", "running", "", source=modelz.source)
    if isinstance(modelz, Unseen):
        return could_not_look(base, modelz, START_AGENT)
    model, engine = modelz.value, modelz.value.engine
    version = f"vLLM {engine.version}" if engine.version else "engine"
    agent = f"agent {model.agent_version} up {duration(model.uptime_s)}"
    if model.state in (State.FAILED, State.STOPPED) or engine.exit_code is not None:
        ended = f"{model.state}" + ("" if engine.exit_code is None else f", exit code {engine.exit_code}")
        last = f"; last line: {excerpt(engine.last_lines[-1], 120)}" if engine.last_lines else ""
        return replace(
            base,
            verdict=Verdict.FAIL,
            observed=ended,
            why=f"{model.reason}{last}",
            remedy="read the engine's log above this line, mend its cause, and start it again",
        )
    if engine.pid is None:
        return replace(
            base,
            verdict=Verdict.FAIL,
            observed=f"no process yet ({model.state})",
            why=f"{agent}, but it has no engine process: {model.reason}",
            remedy="wait for it (--wait), or read the agent's log",
        )
    if not model.live:
        return replace(
            base,
            verdict=Verdict.FAIL,
            observed=f"pid {engine.pid}, not live",
            why=f"{agent} answers 503 on /livez: {model.reason}",
            remedy="restart it: the agent says that nothing else would help",
        )
    return replace(base, observed=f"pid {engine.pid}, {version}", why=agent)


def judge_model(agent: AgentFacts, expectations: Readiness) -> Finding:
    """WG102. State ready, the expected name served, at least one warm-up generation done, and /readyz of one mind."""
    modelz, readyz = agent.modelz, agent.readyz
    base = Finding(codes.MODEL_WARM, Verdict.PASS, "model", "", "ready and warm", "", source=modelz.source)
    if isinstance(modelz, Unseen):
        return could_not_look(base, modelz, START_AGENT)
    model = modelz.value
    name = expectations.model or model.identity.expected_name
    base = replace(base, expected=f"warm, serves {name}")
    served = ", ".join(model.identity.served_names) or "no name"
    fail = replace(base, verdict=Verdict.FAIL, observed=f"{model.state}, serves {served}")
    if model.state is not State.READY or not model.ready:
        spent = model.phases.get(model.state)
        contradiction = _contradiction(model, readyz)
        return replace(
            fail,
            observed=f"{model.state}" + ("" if spent is None else f" for {duration(spent)}"),
            why=f"{model.reason}{contradiction}",
            remedy=STATE_REMEDIES.get(model.state, "wait for it: --wait 600"),
        )
    if name not in model.identity.served_names:
        return replace(
            fail,
            why=f"the engine serves {served}, not {name}",
            remedy=f"serve it with --served-model-name {name}, or verify with --model <one of those>",
        )
    if model.warmup is None or model.warmup.requests < 1:
        return replace(
            fail,
            observed="ready, never warmed up",
            why="the agent reports no finished warm-up generation",
            remedy="let the agent warm it up before it turns ready: see --warmup-* of `warmgate serve`",
        )
    if isinstance(readyz, Unseen):
        return replace(
            fail,
            verdict=Verdict.UNKNOWN,
            why=f"/modelz says ready, but /readyz could not be asked: {readyz.why}",
            remedy="probes see only /readyz: make it reachable",
            source=readyz.source,
        )
    if readyz.value.status != 200:
        return replace(
            fail,
            why=f"/modelz says ready, but /readyz answers {readyz.value.status} ({readyz.value.state or 'no state'})",
            remedy="probes see only /readyz, so no traffic comes; restart the agent if this stays",
            source=readyz.source,
        )
    return replace(
        base, observed=f"ready, serves {served}", why=f"{_warmup(model.warmup)}; {_heartbeat(model.heartbeat)}"
    )


def judge_endpoint(listing: Fact[Listing], gateway: Fact[tuple[Host, ...]] | None, name: str | None) -> Finding:
    """WG103. The base URL lists the model; where Envoy's admin was named, at least one host gets traffic."""
    base = Finding(
        codes.ENDPOINT_LISTED, Verdict.PASS, "endpoint", "", f"lists {name or 'the model'}", "", source=listing.source
    )
    hosts = _hosts(gateway)
    if isinstance(gateway, Seen) and not any(host.healthy for host in gateway.value):
        return replace(
            base,
            verdict=Verdict.FAIL,
            observed=f"{hosts}",
            expected="at least one healthy host",
            why="; ".join(f"{host.cluster} {host.address}: {', '.join(host.flags)}" for host in gateway.value[:4])
            or "the gateway has no upstream host at all",
            remedy="make the replica's /readyz answer 200 where the gateway's health check asks it",
            source=gateway.source,
        )
    if isinstance(listing, Unseen):
        return could_not_look(base, listing, CORRECT_BASE_URL)
    seen = listing.value
    if seen.status != 200:
        return replace(
            base,
            verdict=Verdict.FAIL,
            observed=f"HTTP {seen.status}",
            why=f"GET /v1/models: {seen.detail or 'no body'}" + (f"; {hosts}" if hosts else ""),
            remedy="the gateway answers, but has no ready replica behind it: see the layers above"
            if seen.status >= 500
            else "let the gateway route /v1/ to the model, or correct --base-url",
        )
    listed = ", ".join(seen.names) or "no model"
    if name is None:
        return replace(
            base,
            verdict=Verdict.UNKNOWN,
            observed=f"lists {listed}",
            why="the agent could not be asked which name is expected",
            remedy="name it: --model NAME",
        )
    if name not in seen.names:
        return replace(
            base,
            verdict=Verdict.FAIL,
            observed=f"lists {listed}",
            why=f"{name} is not among the {len(seen.names)} listed",
            remedy="the base URL leads to another server, or the model has another name: correct --base-url or --model",
        )
    if isinstance(gateway, Unseen):
        return could_not_look(replace(base, source=gateway.source), gateway, "correct --gateway-admin, or leave it out")
    return replace(
        base, observed=f"lists {listed}", why=f"{hosts} in the gateway" if hosts else "asked through the base URL"
    )


def _contradiction(model: Modelz, readyz: Fact[Probe]) -> str:
    if model.state is State.READY:
        return "; state `ready`, yet `ready` is false"
    if isinstance(readyz, Seen) and readyz.value.status == 200:
        return "; yet /readyz answers 200, so traffic may come"
    return ""


def _warmup(warmup: Warmup) -> str:
    last = f", last TTFT {warmup.ttft_ms[-1]:,.0f} ms" if warmup.ttft_ms else ""
    settled = "settled" if warmup.settled else "TTFT had NOT settled"
    spread = "" if warmup.spread is None else f" (spread {warmup.spread:.0%})"
    return f"{warmup.requests} warm-up generations in {duration(warmup.seconds)}{last}, {settled}{spread}"


def _heartbeat(heartbeat: Heartbeat | None) -> str:
    if heartbeat is None:
        return "no heartbeat figure"
    moved = "no iteration seen yet" if heartbeat.idle_s is None else f"last moved {duration(heartbeat.idle_s)} ago"
    return f"heartbeat: {heartbeat.running} running, {heartbeat.waiting} waiting, {moved}"


def _hosts(gateway: Fact[tuple[Host, ...]] | None) -> str:
    if not isinstance(gateway, Seen):
        return ""
    return f"{sum(host.healthy for host in gateway.value)} of {len(gateway.value)} hosts healthy"
