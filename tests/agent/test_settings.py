"""Options, their sum, what they refuse, and the command line that carries them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from serving.agent.engine_args import read_engine_args
from serving.agent.guard import added_arguments, engine_environment
from serving.agent.settings import Settings, check_combination
from serving.cli.serve import command
from serving.errors import Refused


@pytest.mark.parametrize(
    ("options", "grace"),
    [
        pytest.param([], "75", id="defaults"),
        pytest.param(["--lame-duck", "15", "--drain-timeout", "120"], "145", id="stated"),
        pytest.param(["--lame-duck", "0.5"], "71", id="rounded up"),
    ],
)
def test_print_grace_is_the_sum_of_the_parts(options: list[str], grace: str):
    result = CliRunner().invoke(command, [*options, "--print-grace"], standalone_mode=False)
    assert result.output == f"{grace}\n"


def test_every_setting_is_an_option_and_a_variable_of_the_same_name():
    shown = CliRunner().invoke(command, ["--help"]).output
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in shown
    run = CliRunner(env={"WARMGATE_LAME_DUCK": "20", "WARMGATE_DRAIN_TIMEOUT": "100"})
    assert run.invoke(command, ["--print-grace"], standalone_mode=False).output == "130\n"


@pytest.mark.parametrize(
    ("options", "vllm", "says"),
    [
        pytest.param({"admin_port": 8080}, ["--port", "8080"], "belongs to vLLM alone", id="one port for both"),
        pytest.param({}, ["--shutdown-timeout", "5"], "contradicts --drain-timeout 60", id="two drain bounds"),
        pytest.param({"warmup_requests": 2}, [], "can never be filled", id="window wider than the warm-up"),
        pytest.param({"poll_every": 30}, [], "well below --stall-after", id="looking too seldom"),
        pytest.param({"drain_timeout": 1.5}, [], "whole seconds", id="half a second of drain"),
    ],
)
def test_combinations_that_cannot_work_are_refused(options: dict[str, float], vllm: list[str], says: str):
    engine = read_engine_args(["--model", "m", *vllm], {}, {})
    with pytest.raises(Refused, match=says):
        check_combination(Settings.model_validate(options), engine)


def test_a_shutdown_timeout_that_agrees_is_passed_on_once():
    engine = read_engine_args(["--model", "m", "--shutdown-timeout", "60"], {}, {})
    check_combination(Settings(), engine)
    assert "--shutdown-timeout" not in added_arguments(engine, Settings())
    bare = read_engine_args(["--model", "m"], {}, {})
    assert added_arguments(bare, Settings())[:2] == ["--shutdown-timeout", "60"]


def test_a_service_link_that_would_kill_vllm_is_dropped_and_told():
    environ, warnings = engine_environment({"VLLM_PORT": "tcp://10.0.0.1:80", "HOME": "/h"}, Settings())
    assert "VLLM_PORT" not in environ
    assert environ["HOME"] == "/h"
    assert len(warnings) == 1
    assert "enableServiceLinks: false" in warnings[0]
    assert engine_environment({"VLLM_PORT": "8080"}, Settings()) == (
        {**engine_environment({}, Settings())[0], "VLLM_PORT": "8080"},
        [],
    )


def test_the_engines_own_ready_timeout_is_not_shorter_than_ours_unless_someone_said_so():
    assert engine_environment({}, Settings(startup_timeout=3600))[0]["VLLM_ENGINE_READY_TIMEOUT_S"] == "3600"
    stated = {"VLLM_ENGINE_READY_TIMEOUT_S": "5"}
    assert engine_environment(stated, Settings())[0]["VLLM_ENGINE_READY_TIMEOUT_S"] == "5"


def test_a_service_link_of_our_own_name_is_no_setting():
    """A Service named warmgate-admin injects such a variable into every Pod of its namespace."""
    run = [sys.executable, "-m", "serving.cli.main", "serve", "--print-grace"]
    environ = {**os.environ, "WARMGATE_ADMIN_PORT": "tcp://10.0.0.1:80"}
    done = subprocess.run(run, capture_output=True, text=True, timeout=90, check=False, env=environ)
    assert (done.returncode, done.stdout) == (0, "75\n")
    assert "ignoring WARMGATE_ADMIN_PORT=tcp://10.0.0.1:80" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["--lame-duck", "-1", "--", "--model", "m"], "--lame-duck -1", id="out of range"),
        pytest.param(["--", "--port", "8080"], "name the model after", id="no model"),
        pytest.param(
            ["--", "--model", "m", "--config", "/no/such.yaml"], "cannot read vLLM's --config", id="no config"
        ),
        pytest.param(["--lame-dukc", "1"], "no option '--lame-dukc'", id="misspelt"),
        pytest.param(["--model", "m"], "vLLM's arguments go after `--`", id="forgotten dashes"),
        pytest.param(["--admin-port", "8000", "--", "--model", "m"], "both the engine's --port", id="same port"),
    ],
)
def test_a_refusal_is_one_line_and_exit_code_2(arguments: list[str], says: str):
    run = [sys.executable, "-m", "serving.cli.main", "serve", *arguments]
    done = subprocess.run(run, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
