from __future__ import annotations

from typing import Any

import pytest

from serving.agent.engine_args import EngineArgs, config_file, read_engine_args
from serving.errors import Refused


def read(*arguments: str, config: dict[str, Any] | None = None, **environ: str) -> EngineArgs:
    return read_engine_args(arguments, config or {}, environ)


@pytest.mark.parametrize(
    ("arguments", "names", "url"),
    [
        pytest.param(["--model", "m"], ("m",), "http://127.0.0.1:8000", id="vLLM's defaults"),
        pytest.param(["m", "--port", "1"], ("m",), "http://127.0.0.1:1", id="the model as first argument"),
        pytest.param(["--model=m", "--port=2"], ("m",), "http://127.0.0.1:2", id="with equals signs"),
        pytest.param(
            ["--model", "m", "--port", "1", "--port", "3"], ("m",), "http://127.0.0.1:3", id="the last one wins"
        ),
        pytest.param(
            ["--model", "m", "--served-model-name", "a", "b", "--port", "4"],
            ("a", "b"),
            "http://127.0.0.1:4",
            id="several names",
        ),
        pytest.param(["--model", "m", "--served_model_name", "a"], ("a",), "http://127.0.0.1:8000", id="underscores"),
        pytest.param(["--model", "m", "--host", "0.0.0.0"], ("m",), "http://127.0.0.1:8000", id="every address"),
        pytest.param(["--model", "m", "--host", "::1"], ("m",), "http://[::1]:8000", id="IPv6"),
        pytest.param(
            ["--model", "m", "--ssl-certfile", "c", "--ssl-keyfile", "k"], ("m",), "https://127.0.0.1:8000", id="TLS"
        ),
        pytest.param(
            ["--model", "m", "--enforce-eager", "--port", "5"], ("m",), "http://127.0.0.1:5", id="after a flag"
        ),
    ],
)
def test_where_the_engine_listens_and_what_it_serves(arguments: list[str], names: tuple[str, ...], url: str):
    engine = read(*arguments)
    assert (engine.served_names, engine.url) == (names, url)
    assert engine.given == tuple(arguments)


def test_the_config_file_stands_below_the_command_line():
    config = {"model": "m", "served-model-name": ["a"], "port": 9000, "dtype": "float16"}
    assert read(config=config).url == "http://127.0.0.1:9000"
    assert read("--port", "9001", config=config).url == "http://127.0.0.1:9001"
    assert read(config=config).served_names == ("a",)
    assert config_file(["--config", "x.yaml"]) == "x.yaml"
    assert config_file(["--model", "m"]) is None


def test_the_api_key_comes_from_the_arguments_or_from_the_environment():
    assert read("--model", "m", "--api-key", "k").api_key == "k"
    assert read("--model", "m", VLLM_API_KEY="e").api_key == "e"
    assert read("--model", "m").api_key is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param([], "name the model after `--`", id="no model"),
        pytest.param(["--port", "1"], "name the model after `--`", id="a port only"),
        pytest.param(["--model", "m", "--port", "x"], "must be a number from 1 to 65535, not 'x'", id="no number"),
        pytest.param(["--model", "m", "--port", "65536"], "must be a number", id="too large"),
        pytest.param(["--model", "m", "--uds", "/s"], "--uds is not supported", id="unix socket"),
        pytest.param(["--model", "m", "--headless"], "serves no HTTP", id="headless"),
    ],
)
def test_what_can_never_be_ready_is_refused(arguments: list[str], says: str):
    with pytest.raises(Refused, match=says):
        read(*arguments)
