"""What the agent waits for before it looks at the model."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from serving.agent import guard
from serving.agent.engine_args import EngineArgs, read_engine_args

ASYNC = {"MODEL_INIT_MODE": "async"}


def engine(model: str) -> EngineArgs:
    return read_engine_args([f"--model={model}"], {}, {})


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The naps that are taken; no time passes in them."""
    taken: list[float] = []
    monkeypatch.setattr(time, "sleep", taken.append)
    return taken


def test_an_announced_model_is_waited_for(tmp_path: Path, sleeps: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "models"

    def arrive(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) == 3:
            model.mkdir()

    monkeypatch.setattr(time, "sleep", arrive)
    guard.await_model(engine(str(model)), ASYNC)
    assert len(sleeps) == 3


@pytest.mark.usefixtures("sleeps")
def test_the_wait_for_an_announced_model_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MODEL_LINK_S", 0.05)
    guard.await_model(engine(str(tmp_path / "none")), ASYNC)


@pytest.mark.parametrize(
    ("model", "environ"),
    [
        pytest.param("/none/models", {}, id="nothing-announced"),
        pytest.param("/none/models", {"MODEL_INIT_MODE": "sync"}, id="another-mode"),
        pytest.param("Qwen/Qwen3-0.6B", ASYNC, id="a-name-on-a-hub"),
        pytest.param("/", ASYNC, id="already-there"),
    ],
)
def test_nothing_else_is_waited_for(model: str, environ: dict[str, str], sleeps: list[float]) -> None:
    guard.await_model(engine(model), environ)
    assert sleeps == []
