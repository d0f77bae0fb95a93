"""What vLLM's own log lines tell: how far loading is, the KV cache's size, and why the engine died. Pure.

It knows the lines of vLLM 0.24 to 0.32 (GPU and CPU runners). A line that it does not know changes nothing. It never
keeps a line that could hold a request: only known loading lines, and warnings and errors of the engine's processes.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Final

from serving.facts.model import KvCache, State

LONGEST_LINE: Final = 300
KEPT_LINES: Final = 20

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PREFIX = re.compile(
    r"^(?:\((?P<process>[\w-]+)[^)]*pid=\d+\) ?)?(?:(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) [\d-]+ [\d:.]+ )?"
    r"(?:\[(?P<source>[\w./]+):\d+\] ?)?"
)
_EXCEPTION = re.compile(
    r"^(?P<type>[A-Za-z_][\w.]*(?:Error|Exception|Exit|NotFound|BadAlloc|OutOfMemory)\w*)(?:: (?P<message>.*))?$"
)
_USAGE_ERROR = re.compile(r"^[\w. -]+: error: (?P<message>.+)$")
_NATIVE = re.compile(
    r"(std::bad_alloc|terminate called after throwing.*|[Cc]annot allocate memory.*|can't start new thread.*"
    r"|failed to map segment from shared object.*|DefaultCPUAllocator: .*|Fatal Python error: .*)"
)
_PYDANTIC = re.compile(r"\d+ validation errors? for \w+$")
_CHAIN = ("During handling of the above exception", "The above exception was the direct cause")
_SECOND_HAND = (
    "Engine core initialization failed",
    "WorkerProc initialization failed",
    "Failed core proc",
    "EngineCore encountered an issue",
    "cancelled",
    "terminated",
)
_PRIVATE = ("prompt", "Dumping input", "SamplingParams", "Received request", "Generated", "Chat template rejected")

_SHARDS = re.compile(
    r"Loading (?:safetensors|pt|bin|np)[\w ]* checkpoint shards: +(\d+)% Completed \| (\d+)/(\d+)", re.IGNORECASE
)
_FETCH = re.compile(r"(?:Fetching (\d+) files|Downloading [^:]*): +(\d+)%")
_KV_TOKENS = re.compile(r"(?:GPU|CPU|TPU|XPU) KV cache size: ([\d,]+) tokens")
_KV_CONCURRENCY = re.compile(r"Maximum concurrency for [\d,]+ tokens per request: ([\d.]+)x")
_VERSION = re.compile(r"Initializing a V\d LLM engine \(v([^)]+)\)")
_DEVICE = re.compile(r"\bdevice_config=(\w+)")
_PHASES: Final = (
    (re.compile(r"Starting to load model"), State.LOADING, "loading weights"),
    (re.compile(r"Loading weights took [\d.]+ seconds"), State.COMPILING, ""),
    (re.compile(r"Model loading took [\d.]+ GiB memory and [\d.]+ seconds"), State.COMPILING, ""),
    (re.compile(r"torch\.compile took [\d.]+ s"), State.COMPILING, ""),
    (re.compile(r"Capturing CUDA graphs?.*?:? +\d+%"), State.COMPILING, "capturing CUDA graphs"),
    (re.compile(r"Graph capturing finished in [\d.]+ secs"), State.COMPILING, ""),
    (re.compile(r"init engine \(profile, create kv cache, warmup model\) took [\d.]+ s"), State.COMPILING, ""),
    (re.compile(r"Starting vLLM (API )?server"), State.COMPILING, "the HTTP server is starting"),
)


@dataclass(frozen=True)
class Sign:
    """What one line told. `phase` is None where it told no progress; `listening` means that HTTP is being served."""

    phase: State | None = None
    detail: str = ""
    listening: bool = False
    version: str | None = None
    device: str | None = None
    kv_tokens: int | None = None
    kv_concurrency: float | None = None


def read_line(line: str) -> Sign | None:
    """What a line tells, or None for one that tells nothing."""
    text = _bare(line)[1]
    if "Application startup complete" in text:
        return Sign(listening=True)
    if shards := _SHARDS.search(text):
        percent, done, total = shards.groups()
        return Sign(State.LOADING, f"loading weights: shard {done} of {total} ({percent} %)")
    if fetch := _FETCH.search(text):
        return Sign(State.DOWNLOADING, f"downloading the model: {fetch.group(2)} %")
    if tokens := _KV_TOKENS.search(text):
        concurrency = _KV_CONCURRENCY.search(text)
        count = int(tokens.group(1).replace(",", ""))
        return Sign(
            State.COMPILING,
            f"KV cache of {count} tokens allocated",
            kv_tokens=count,
            kv_concurrency=float(concurrency.group(1)) if concurrency else None,
        )
    if concurrency := _KV_CONCURRENCY.search(text):
        return Sign(kv_concurrency=float(concurrency.group(1)))
    if version := _VERSION.search(text):
        device = _DEVICE.search(text)
        told = device.group(1) if device else None
        return Sign(State.STARTING, "the engine core is starting", version=version.group(1), device=told)
    for pattern, state, detail in _PHASES:
        if found := pattern.search(text):
            return Sign(state, detail or _clip(found.group(0)))
    return None


class LogReader:
    """Follows the engine's log: the facts it told so far, the lines worth keeping, and the root cause of a death."""

    def __init__(self) -> None:
        self.version: str | None = None
        self.device: str | None = None
        self._kv_tokens: int | None = None
        self._kv_concurrency = 0.0
        self._kept: deque[str] = deque(maxlen=KEPT_LINES)
        self._cause: str | None = None
        self._cause_process = ""
        self._chained = False
        self._serving = False

    def read(self, line: str) -> Sign | None:
        """Take the next line."""
        sign = read_line(line)
        self._keep(line, sign)
        if sign is not None:
            self.version = sign.version or self.version
            self.device = sign.device or self.device
            self._kv_tokens = sign.kv_tokens or self._kv_tokens
            self._kv_concurrency = sign.kv_concurrency or self._kv_concurrency
            self._serving = self._serving or sign.listening
        return sign

    @property
    def kv_cache(self) -> KvCache | None:
        """The KV cache as the engine reported it, or None before it did."""
        return None if self._kv_tokens is None else KvCache(self._kv_tokens, self._kv_concurrency)

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last telling lines, oldest first. Never a request's content."""
        return tuple(self._kept)

    @property
    def root_cause(self) -> str | None:
        """The exception that started the engine's death, in one line; None when its log names none."""
        return self._cause

    def _keep(self, line: str, sign: Sign | None) -> None:
        match, text = _bare(line)
        process, level = match["process"] or "", match["level"] or ""
        if not text.strip() or any(word.lower() in text.lower() for word in _PRIVATE):
            return
        if any(mark in text for mark in _CHAIN):
            self._chained = process == self._cause_process
        if self._cause is not None and _PYDANTIC.search(self._cause) and text.startswith("  "):
            self._cause = _clip(text.partition(" [type=")[0])  # pydantic names the reason on the line after
        exception = _EXCEPTION.match(text) or _USAGE_ERROR.match(text)
        native = _NATIVE.search(text)
        if exception is not None or (native is not None and level != "INFO"):
            self._note_cause(process, text if exception else _clip(native.group(0) if native else ""), exception)
        told = sign is not None and (sign.phase is not None or sign.listening) and "%" not in sign.detail
        engine_process = not self._serving or process.startswith(("Engine", "Worker"))
        bad = level in ("WARNING", "ERROR", "CRITICAL") and engine_process and not text.startswith((" ", "Traceback"))
        if told or bad or (exception is not None and not self._serving):
            self._kept.append(_clip(text))

    def _note_cause(self, process: str, text: str, exception: re.Match[str] | None) -> None:
        if any(word in text for word in _SECOND_HAND) or text.startswith(("KeyboardInterrupt", "SystemExit")):
            return
        if exception is not None and exception.re is _EXCEPTION:
            name = exception["type"].rpartition(".")[2]
            text = f"{name}: {exception['message']}" if exception["message"] else name
        if self._cause is None or self._chained:
            self._cause, self._cause_process, self._chained = _clip(text), process, False


def _bare(line: str) -> tuple[re.Match[str], str]:
    """The line without colour, process, level, time and source; and the match that holds those."""
    plain = _ANSI.sub("", line).rstrip()
    match = _PREFIX.match(plain)
    assert match is not None  # every part of the pattern is optional
    return match, plain[match.end() :]


def _clip(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 1] + "…"
