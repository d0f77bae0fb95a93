"""The table of Kubernetes' own kinds against the published schemas of each release."""

from __future__ import annotations

import json
from pathlib import Path

import kubernetes_validate

from serving.facts.kube.api_kinds import FORMER, OPERATORS, OWN, RELEASES, by_worth, last_served, versions

SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
FIRST, LAST = (int(each.removeprefix("1.")) for each in RELEASES.split(" to "))


def published(minor: int) -> set[tuple[str, str]]:
    """apiVersion and kind of every object of one release; what is only ever an answer is left out."""
    schema = json.loads((SCHEMAS / f"v1.{minor}.0-local" / "_definitions.json").read_text())
    found = set()
    for each in (schema.get("$defs") or schema["definitions"]).values():
        kinds = each.get("x-kubernetes-group-version-kind", [])
        if len(kinds) == 1 and {"apiVersion", "metadata"} <= set(each.get("properties", {})):
            (one,) = kinds
            if not one["kind"].endswith("List") and one["kind"] != "Status":
                found.add((f"{one['group']}/{one['version']}".lstrip("/"), one["kind"]))
    return found


def test_the_table_has_what_the_releases_serve_and_nothing_else() -> None:
    served = set().union(*(published(minor) for minor in range(FIRST, LAST + 1)))
    assert {(api, kind) for api, kinds in OWN.items() for kind in kinds.split()} == served


def test_what_is_gone_is_served_by_no_release_and_was_by_its_last() -> None:
    for release, api, kinds in FORMER:
        for kind in kinds.split():
            assert kind not in OWN.get(api, "").split()
            assert last_served(api, kind) == release
            minor = int(release.removeprefix("1."))
            if (SCHEMAS / f"v1.{minor}.0-local").is_dir():
                assert (api, kind) in published(minor)
                assert (api, kind) not in published(minor + 1)


def test_operators_own_no_group_of_kubernetes() -> None:
    assert not {api.rpartition("/")[0] for api in OPERATORS} & {api.rpartition("/")[0] for api in OWN}


def test_the_best_version_comes_first() -> None:
    names = ["v1alpha1", "v1", "odd", "v2beta2", "v2", "v2beta10", "v10"]
    assert list(by_worth(names)) == ["v10", "v2", "v1", "v2beta10", "v2beta2", "v1alpha1", "odd"]
    assert versions()["autoscaling", "HorizontalPodAutoscaler"] == ("v2", "v1")
