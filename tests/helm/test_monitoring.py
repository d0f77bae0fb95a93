"""What is scraped, recorded and shown: of metrics that exist, with labels that tell versions apart."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import helm_python
import pytest

from serving.agent.metrics import ModelzCollector
from serving.facts.model import State
from tests.fakes.modelz import gpu, modelz
from tests.helm import promtool
from tests.helm.alert_cases import of
from tests.helm.scenarios import CHART, only, render

needs_promtool = pytest.mark.skipif(promtool.path() is None, reason=promtool.HOW_TO_GET_IT)

RULES: dict[str, Any] = {"monitoring": {"rules": {"enabled": True}, "dcgm": {"enabled": True}}}
SCRAPED: dict[str, Any] = {"monitoring": {"podMonitor": {"enabled": True}}}
DASHBOARD = json.loads((CHART / "dashboards" / "warmgate.json").read_text())
DCGM = {"DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_XID_ERRORS"}  # both in dcgm-exporter's default counters
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
ADDED = {"namespace", "pod", "model_endpoint", "deployment"}


def groups(values: dict[str, Any] = RULES) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = only(render(values), "PrometheusRule")["spec"]["groups"]
    return found


def rules() -> list[dict[str, Any]]:
    return [rule for group in groups() for rule in group["rules"]]


def alerts(values: dict[str, Any] = RULES) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in groups(values) for rule in group["rules"] if "alert" in rule}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    """The dashboard's queries, with what Grafana would put in the place of its variables."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    asked += [variable["definition"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
    shown = [re.sub(r"label_values\((.*), \w+\)", r"\1", expr).replace("$__rate_interval", "1m") for expr in asked]
    return [re.sub(r"\$\w+", "x", expr) for expr in shown]


@cache
def of_agent() -> dict[str, set[str]]:
    """The agent's metrics and their labels, as a scrape has them."""
    samples: dict[str, set[str]] = {}
    for family in ModelzCollector(lambda: modelz(gpus=(gpu(),))).collect():
        for sample in family.samples:
            samples.setdefault(sample.name, set()).update(sample.labels)
    return samples


@cache
def of_vllm() -> dict[str, set[str]]:
    """vLLM's metrics and their labels, out of its source."""
    spec = find_spec("vllm")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("vLLM is not installed: make setup")
    text = Path(spec.submodule_search_locations[0], "v1", "metrics", "loggers.py").read_text()
    found: dict[str, set[str]] = {
        "vllm:cache_config_info": {"engine", "num_gpu_blocks"}
    }  # made of CacheConfig's fields
    made = re.compile(
        r'self\._(\w+)_cls\(\s*name="(vllm:\w+)"(.*?)labelnames=([^)]*?),?\s*(?:\)|multiprocess)', re.DOTALL
    )
    for kind, name, _, labels in made.findall(text):
        endings = {"gauge": [""], "counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}[kind]
        own = (
            {"model_name", "engine"} | set(re.findall(r'"(\w+)"', labels)) | ({"le"} if kind == "histogram" else set())
        )
        found |= {f"{name}{ending}": own for ending in endings}
    return found


def recorded() -> dict[str, set[str]]:
    return {rule["record"]: set() for rule in rules() if "record" in rule}


def selectors() -> Iterator[tuple[str, str]]:
    for expr in [rule["expr"] for rule in rules()] + queries():
        yield from SELECTOR.findall(expr)


def test_nothing_of_it_is_rendered_unless_asked_for():
    assert not {document["kind"] for document in render({})} & {"PodMonitor", "PrometheusRule", "ConfigMap"}


class TestMetrics:
    def test_every_metric_that_is_asked_for_exists(self):
        known = {**of_agent(), **of_vllm(), **recorded()}
        assert {name for name, _ in selectors()} - known.keys() == DCGM

    def test_every_label_that_is_asked_for_is_one_of_the_metric_or_added_by_the_scrape(self):
        known = {**of_agent(), **of_vllm(), **recorded()}
        for name, matchers in selectors():
            if name not in DCGM:
                assert set(MATCHER.findall(matchers)) <= known[name] | ADDED, name

    def test_what_vllm_is_known_to_have_is_found_in_its_source(self):
        assert of_vllm()["vllm:request_success_total"] == {"model_name", "engine", "finished_reason"}
        assert of_vllm()["vllm:num_requests_waiting_by_reason"] == {"model_name", "engine", "reason"}
        assert "le" in of_vllm()["vllm:time_to_first_token_seconds_bucket"]
        assert "vllm:num_preemptions" not in of_vllm()

    def test_the_states_that_are_asked_for_are_the_agents(self):
        asked = {s for _, matchers in selectors() for s in re.findall(r'\bstate=~?"([^"]*)"', matchers)}
        assert {state for one_of in asked for state in one_of.split("|")} <= {state.value for state in State}

    def test_every_query_is_about_one_endpoint(self):
        for name, matchers in selectors():
            found = set(MATCHER.findall(matchers))
            assert name in DCGM or "model_endpoint" in found or name == "warmgate_ready", (name, matchers)


@needs_promtool
class TestRules:
    def test_promtool_finds_nothing_wrong_with_them(self, tmp_path: Path):
        assert promtool.complaint({"groups": groups()}, tmp_path) == ""

    def test_promtool_would_find_what_is_wrong(self, tmp_path: Path):
        broken = {"groups": [{"name": "g", "rules": [{"alert": "A", "expr": "sum(warmgate_ready{"}]}]}
        assert "parse error" in promtool.complaint(broken, tmp_path)

    def test_promtool_can_parse_every_query_of_the_dashboard(self, tmp_path: Path):
        each = [{"record": f"q{number}", "expr": expr} for number, expr in enumerate(queries())]
        assert promtool.complaint({"groups": [{"name": "dashboard", "rules": each}]}, tmp_path) == ""

    def test_a_quantile_is_recorded_for_each_version_by_itself(self, tmp_path: Path):
        within = {("r1", "0.01"): 100, ("r1", "0.1"): 100, ("r2", "0.01"): 0, ("r2", "0.1"): 100}
        within |= {("r1", "+Inf"): 100, ("r2", "+Inf"): 100}
        bucket = "vllm:inter_token_latency_seconds_bucket"
        buckets = {of(bucket, deployment=version, le=le): f"0+{n}x10" for (version, le), n in within.items()}
        name = "deployment:vllm_inter_token_latency_seconds:p50_5m"
        found = promtool.values({"groups": groups()}, tmp_path, f"{name} * 1000", buckets, "10m")
        assert found == {"r1": pytest.approx(5), "r2": pytest.approx(55)}


class TestAlerts:
    def test_each_says_what_is_wrong_and_what_to_do_and_how_bad_it_is(self):
        for name, rule in alerts().items():
            assert set(rule["annotations"]) == {"summary", "description", "runbook"}, name
            assert rule["labels"]["severity"] in ("critical", "warning", "info"), name

    def test_the_schema_knows_their_names(self):
        schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["monitoring"]["properties"]
        assert set(schema["rules"]["properties"]["disabled"]["items"]["enum"]) == set(alerts())

    def test_one_can_be_left_out_by_its_name_and_a_wrong_name_is_refused(self):
        off = {"enabled": True, "disabled": ["WarmgateKvBlocksDiffer"]}
        values = {"monitoring": {"rules": off, "dcgm": {"enabled": True}}}
        assert set(alerts()) - set(alerts(values)) == {"WarmgateKvBlocksDiffer"}
        with pytest.raises(helm_python.HelmError, match="disabled"):
            render({"monitoring": {"rules": {"enabled": True, "disabled": ["WarmgateKvBlockDiffers"]}}})

    def test_their_bounds_come_from_the_values(self):
        values = {
            "endpoint": {"replicas": 5, "loadSeconds": 700, "loadMargin": 2},
            "monitoring": {"rules": {"enabled": True, "ttftP95Seconds": 0.4, "alertLabels": {"team": "llm"}}},
        }
        changed = alerts(values)
        assert "< 5 > 0" in changed["WarmgateWarmCapacityLow"]["expr"]
        assert changed["WarmgateNotReady"]["for"] == "1400s"
        assert "[1400s]" in changed["WarmgateNotReady"]["expr"]
        assert "> 700" in changed["WarmgateLoadSlow"]["expr"]
        assert "> 0.4" in changed["WarmgateTtftHigh"]["expr"]
        assert {rule["labels"]["team"] for rule in changed.values()} == {"llm"}
        assert not any("DCGM" in rule["expr"] for rule in changed.values())

    def test_honored_labels_of_a_dcgm_exporter_are_used_as_they_are(self):
        dcgm = {"enabled": True, "namespaceLabel": "namespace", "podLabel": "pod"}
        expr = alerts({"monitoring": {"rules": {"enabled": True}, "dcgm": dcgm}})["WarmgateGpuXid"]["expr"]
        assert 'DCGM_FI_DEV_XID_ERRORS{namespace="llm",pod!=""}' in expr


class TestPodMonitor:
    def deployment_of(self, values: dict[str, Any], **meta: str) -> str | None:
        """What Prometheus makes of a Pod's labels: its regular expressions match all or nothing."""
        (rule,) = {
            json.dumps(rule)
            for endpoint in only(render(SCRAPED | values), "PodMonitor")["spec"]["podMetricsEndpoints"]
            for rule in endpoint["relabelings"]
            if rule["targetLabel"] == "deployment"
        }
        found = json.loads(rule)
        matched = re.fullmatch(found["regex"], meta[found["sourceLabels"][0].removeprefix("__meta_kubernetes_pod_")])
        return matched and matched[1]

    def test_the_stable_release_and_a_canary_are_told_apart_by_kserves_own_label(self):
        for release in ("qwen-r1-predictor", "qwen-r2-predictor"):
            assert self.deployment_of({}, label_app=f"isvc.{release}") == release

    def test_without_kserve_the_deployment_is_the_replica_sets(self):
        plain = {"kserve": {"enabled": False}}
        assert self.deployment_of(plain, controller_name="qwen-small-7d9c6f5b8d") == "qwen-small"

    def test_its_ports_are_ports_of_the_container(self):
        scraped = only(render(SCRAPED), "PodMonitor")["spec"]["podMetricsEndpoints"]
        (container,) = only(render(SCRAPED), "ServingRuntime")["spec"]["containers"]
        assert {endpoint["port"] for endpoint in scraped} == {port["name"] for port in container["ports"]}

    def test_without_kserve_its_selector_meets_the_deployments_pods(self):
        documents = render(SCRAPED | {"kserve": {"enabled": False}})
        selector = only(documents, "PodMonitor")["spec"]["selector"]["matchLabels"]
        assert selector.items() <= only(documents, "Deployment")["spec"]["template"]["metadata"]["labels"].items()

    def test_with_kserve_its_selector_is_of_labels_that_kserve_sets(self):
        selector = only(render(SCRAPED), "PodMonitor")["spec"]["selector"]["matchLabels"]
        assert selector == {"serving.kserve.io/inferenceservice": "qwen", "component": "predictor"}


class TestDashboard:
    def test_it_is_shipped_as_it_is(self):
        values = {"monitoring": {"dashboard": {"enabled": True, "labels": {"grafana_dashboard": "1"}}}}
        shipped = only(render(values), "ConfigMap")
        assert json.loads(shipped["data"]["warmgate.json"]) == DASHBOARD
        assert shipped["metadata"]["labels"]["grafana_dashboard"] == "1"

    def test_its_panels_have_ids_of_their_own_and_do_not_overlap(self):
        ids = [panel["id"] for panel in DASHBOARD["panels"]]
        assert len(set(ids)) == len(ids)
        cells = [
            (x, y)
            for panel in DASHBOARD["panels"]
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        assert len(set(cells)) == len(cells)
        assert max(x for x, _ in cells) < 24

    def test_it_uses_the_variables_that_it_has_and_no_other_data_source(self):
        named = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
        text = json.dumps(DASHBOARD["panels"])
        used = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval"}
        assert used == named
        assert set(re.findall(r'"uid": "([^"]*)"', text)) == {"${datasource}"}

    def test_every_state_of_the_agent_has_its_line(self):
        (panel,) = (panel for panel in panels() if panel["type"] == "state-timeline")
        (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
        shown = {state["text"]: number for number, state in mapping["options"].items()}
        asked = dict(re.findall(r'state="(\w+)"[^)]*\) \* (\d+)', panel["targets"][0]["expr"]))
        assert shown == asked
        assert set(shown) == {state.value for state in State}
