"""The documents that lint is timed over are as many as asked for, each another object."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.observe.manifests import read_manifests


def test_the_documents_are_the_charts_own_under_many_names(tmp_path: Path) -> None:
    pytest.importorskip("helm_python", reason="needs the extra lint")
    from tests.bench.lint import write_documents

    number = write_documents(tmp_path, 150)
    documents = read_manifests([str(tmp_path)]).documents
    assert 150 <= len(documents) == number < 200
    assert len({(each.api_version, each.kind, each.namespace, each.name) for each in documents}) == number
    assert {"InferenceService", "ServingRuntime", "Deployment"} <= {each.kind for each in documents}
