"""The engine tests run real vLLM (CPU build); where it is not installed they are skipped and say so."""

from __future__ import annotations

import importlib.util

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = importlib.util.find_spec("vllm") is None
    for item in items:
        if "/engine/" in str(item.path):
            item.add_marker(pytest.mark.engine)
            item.add_marker(pytest.mark.timeout(420))
            if missing:
                item.add_marker(pytest.mark.skip(reason="vLLM is not installed (make setup installs its CPU build)"))
