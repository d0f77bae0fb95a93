"""vLLM's log lines, in the forms that 0.32.0 really printed, and what must never be kept of them."""

from __future__ import annotations

import pytest

from serving.agent.engine_log import KEPT_LINES, LogReader, Sign, read_line
from serving.facts.model import KvCache, State

WORKER = "(Worker pid=2731) INFO 11-23 09:45:14 [cpu_model_runner.py:68] "
CORE = "(EngineCore pid=2689) INFO 11-23 09:45:20 [core.py:402] "
ERROR = "(EngineCore pid=2689) ERROR 11-23 09:45:20 [core.py:1100] "


@pytest.mark.parametrize(
    ("line", "sign"),
    [
        pytest.param(WORKER + "Starting to load model /m...", Sign(State.LOADING, "loading weights"), id="loading"),
        pytest.param(
            "Loading safetensors checkpoint shards:  25% Completed | 1/4 [00:01<00:03,  1.35s/it]",
            Sign(State.LOADING, "loading weights: shard 1 of 4 (25 %)"),
            id="shards",
        ),
        pytest.param(
            WORKER + "Loading weights took 1.36 seconds",
            Sign(State.COMPILING, "Loading weights took 1.36 seconds"),
            id="CPU weights",
        ),
        pytest.param(
            "(Worker_TP0 pid=7) INFO 11-23 09:45:14 [gpu_model_runner.py:9] "
            "Model loading took 14.99 GiB memory and 2.5 seconds",
            Sign(State.COMPILING, "Model loading took 14.99 GiB memory and 2.5 seconds"),
            id="GPU weights",
        ),
        pytest.param(
            "Fetching 12 files:  33%|###   | 4/12", Sign(State.DOWNLOADING, "downloading the model: 33 %"), id="hub"
        ),
        pytest.param(
            CORE + "init engine (profile, create kv cache, warmup model) took 2.91 s",
            Sign(State.COMPILING, "init engine (profile, create kv cache, warmup model) took 2.91 s"),
            id="init",
        ),
        pytest.param(
            CORE + "GPU KV cache size: 46,592 tokens, Maximum concurrency for 2,048 tokens per request: 22.75x",
            Sign(State.COMPILING, "KV cache of 46592 tokens allocated", kv_tokens=46592, kv_concurrency=22.75),
            id="KV cache in one line",
        ),
        pytest.param(
            CORE + "Maximum concurrency for 2,048 tokens per request: 22.75x",
            Sign(kv_concurrency=22.75),
            id="second KV line",
        ),
        pytest.param(
            CORE + "Initializing a V1 LLM engine (v0.32.0) with config: model='/m', device_config=cpu, seed=0",
            Sign(State.STARTING, "the engine core is starting", version="0.32.0", device="cpu"),
            id="version and device",
        ),
        pytest.param("INFO:     Application startup complete.", Sign(listening=True), id="listening"),
        pytest.param("\x1b[32mINFO\x1b[0m:     Application startup complete.", Sign(listening=True), id="in colour"),
        pytest.param(CORE + "something that no version ever printed", None, id="unknown"),
        pytest.param("", None, id="empty"),
        pytest.param("(((pid=ERROR] \x00\xff", None, id="noise"),
    ],
)
def test_what_a_line_tells(line: str, sign: Sign | None):
    assert read_line(line) == sign


def read_all(*lines: str) -> LogReader:
    reader = LogReader()
    for line in lines:
        reader.read(line)
    return reader


def test_the_kv_cache_is_known_from_one_line_or_from_two():
    one = read_all("GPU KV cache size: 1,000 tokens, Maximum concurrency for 10 tokens per request: 5.00x")
    two = read_all("GPU KV cache size: 1,000 tokens", "Maximum concurrency for 10 tokens per request: 5.00x")
    assert one.kv_cache == two.kv_cache == KvCache(1000, 5.0)
    assert read_all("nothing").kv_cache is None


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        pytest.param(
            [
                "(Worker pid=6999) ERROR 11-23 13:23:52 [multiproc_executor.py:953] WorkerProc failed to start.",
                "(Worker pid=6999) ERROR 11-23 13:23:52 [multiproc_executor.py:953] Traceback (most recent call last):",
                '(Worker pid=6999) ERROR 11-23 13:23:52 [multiproc_executor.py:953]   File "x.py", line 1, in f',
                "(Worker pid=6999) ERROR 11-23 13:23:52 [multiproc_executor.py:953] "
                "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata",
                ERROR + "Exception: WorkerProc initialization failed due to an exception in a background process.",
                "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
            ],
            "SafetensorError: Error while deserializing header: incomplete metadata",
            id="the first process that failed names the cause",
        ),
        pytest.param(
            ["ValueError: the first", "(APIServer pid=1) a line between", "OSError: a later one, of another process"],
            "ValueError: the first",
            id="a later exception is a consequence",
        ),
        pytest.param(
            [
                "FileNotFoundError: [Errno 2] No such file",
                "During handling of the above exception, another exception occurred:",
                "OSError: Can't load the configuration of '/m'",
            ],
            "OSError: Can't load the configuration of '/m'",
            id="of a chain, the last link",
        ),
        pytest.param(
            [
                "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
                "  Value error, max_model_len is greater than 8192 [type=value_error, input_value=..., input_type=X]",
            ],
            "Value error, max_model_len is greater than 8192",
            id="pydantic's reason is on the next line",
        ),
        pytest.param(
            ["usage: entry.py [-h]", "entry.py: error: unrecognized arguments: --x"],
            "entry.py: error: unrecognized arguments: --x",
            id="argparse",
        ),
        pytest.param(
            ["terminate called after throwing an instance of 'std::bad_alloc'"], "std::bad_alloc", id="bad_alloc"
        ),
        pytest.param(["MemoryError"], "MemoryError", id="an exception without a message"),
        pytest.param(["KeyboardInterrupt: terminated"], None, id="our own SIGTERM is no cause"),
        pytest.param(
            ["(APIServer pid=1) WARNING 11-23 09:44:46 [u.py:2] limit errors like `OSError: [Errno 24] Too many`"],
            None,
            id="an exception quoted in a warning is no cause",
        ),
    ],
)
def test_the_root_cause_of_a_death(lines: list[str], cause: str | None):
    found = read_all(*lines).root_cause
    assert found == cause or (cause == "std::bad_alloc" and cause in (found or ""))


@pytest.mark.parametrize(
    "line",
    [
        "(APIServer pid=1) INFO 11-23 09:44:46 [logger.py:40] Received request c1: prompt: 'SECRET', params: x",
        "(APIServer pid=1) WARNING 11-23 09:44:46 [serving.py:40] Chat template rejected the request: SECRET",
        "(EngineCore pid=1) ERROR 11-23 09:44:46 [dump_input.py:69] Dumping input data for V1 engine SECRET",
        "(APIServer pid=1) ERROR 11-23 09:44:46 [serving.py:40] bad thing SECRET",
        "ValueError: SECRET",
        'INFO:     127.0.0.1:1 - "POST /v1/completions?key=SECRET HTTP/1.1" 200 OK',
        "SECRET",
    ],
)
def test_once_serving_no_line_that_may_hold_a_request_is_kept(line: str):
    reader = read_all("INFO:     Application startup complete.", line)
    assert not any("SECRET" in kept for kept in reader.last_lines)


def test_kept_lines_are_bounded_in_number_and_length():
    reader = read_all(*(f"{ERROR}failure {n} {'x' * 1000}" for n in range(100)))
    assert len(reader.last_lines) == KEPT_LINES
    assert all(len(line) <= 300 for line in reader.last_lines)
    assert reader.last_lines[-1].startswith("failure 99 ")
