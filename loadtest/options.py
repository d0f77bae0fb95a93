"""Every option of a load test, once: for `warmgate loadtest`, and for Locust's command line and web form.

It decides how options are called and what they mean for the profile and the run; it runs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar

import click

from loadtest.profile import Profile, load_profile, shipped
from loadtest.run import Run
from loadtest.schedule import Law
from loadtest.target import Target, target_of
from serving.errors import Refused

F = TypeVar("F", bound=Callable[..., Any])
Kind = Literal["text", "number", "count", "law", "flag", "file", "files", "directory"]

EXAMPLES: Final = """\b
Examples:
  warmgate loadtest --profile demo --base-url http://127.0.0.1:8000
  warmgate loadtest --profile steady --rate 5 --duration 300 --base-url https://llm.example.com --api-key-env KEY
  warmgate loadtest --streams 32 --requests 500 --prompt-tokens 512 --output-tokens 128 --no-gates
  warmgate loadtest --profile canary --base-url http://stable:8000 --candidate http://canary:8000
  warmgate loadtest --profile sweep --output json > capacity.json"""


class Option(NamedTuple):
    """One option. `web` says whether Locust's web form offers it: files, keys and processes are not for a browser."""

    name: str
    kind: Kind
    help: str
    default: str | None = None
    web: bool = True
    also: str | None = None

    @property
    def variable(self) -> str:
        """The environment variable that may give it."""
        return f"WARMGATE_{self.name.upper().replace('-', '_')}"


OPTIONS: Final = (
    Option(
        "profile", "text", f"A shipped profile ({', '.join(shipped())}) or the path of a YAML file.", "demo", web=False
    ),
    Option(
        "base-url",
        "text",
        "The gateway or server, as clients reach it, without /v1.",
        "http://127.0.0.1:8000",
        web=False,
    ),
    Option("model", "text", "Served model name.  [default: the first of /v1/models]"),
    Option("rate", "number", "Arrivals per second: an open loop."),
    Option("arrivals", "law", "How requests arrive around the rate."),
    Option("burstiness", "number", "Shape of the gamma law: 1 is Poisson, less is burstier."),
    Option("streams", "count", "So many streams at a time: a closed loop."),
    Option("requests", "count", "End after so many requests."),
    Option("duration", "number", "End after so many seconds."),
    Option("prompt-tokens", "count", "Length of each prompt."),
    Option("output-tokens", "count", "Length of each answer."),
    Option("seed", "count", "Seed of arrivals and prompts."),
    Option("workers", "count", "Processes that share the load.", web=False),
    Option("no-gates", "flag", "Measure and judge nothing."),
    Option("candidate", "text", "A/B: a second base URL, interleaved with the first and compared with it.", web=False),
    Option("candidate-model", "text", "A/B: the candidate's served model name.", web=False),
    Option("engines", "text", "Addresses of the vLLM replicas to sample /metrics from, with commas.", web=False),
    Option("agents", "text", "Addresses of the agents' admin ports to sample /modelz from, with commas.", web=False),
    Option(
        "report-dir",
        "directory",
        "Directory of the report.  [default: reports/<UTC time>, and the link reports/latest]",
        web=False,
        also="--out",
    ),
    Option("api-key-env", "text", "The variable that holds the API key.", web=False),
    Option("api-key-file", "file", "The file that holds the API key.", web=False),
    Option("ca-cert", "file", "PEM file of the CA to trust instead of the system's.", web=False),
    Option("client-cert", "file", "PEM file of the certificate to show to the server.", web=False),
    Option("client-key", "file", "PEM file of that certificate's key, if it is in another file.", web=False),
    Option(
        "attach",
        "files",
        "Show this report (JSON of `warmgate verify`) in report.html too.  May be repeated.",
        web=False,
    ),
)
TYPES: Final[dict[str, Any]] = {
    "text": str,
    "number": float,
    "count": click.IntRange(min=0),
    "law": click.Choice(["constant", "poisson", "gamma"]),
    "file": click.Path(dir_okay=False, path_type=Path),
    "files": click.Path(dir_okay=False, path_type=Path),
    "directory": click.Path(file_okay=False, path_type=Path),
}


def with_options(command: F) -> F:
    """Give a click command all of them."""
    for option in reversed(OPTIONS):
        names = [f"--{option.name}", *([option.also] if option.also else []), option.name.replace("-", "_")]
        settings: dict[str, Any] = {"envvar": option.variable, "help": option.help}
        if option.kind == "flag":
            settings |= {"is_flag": True}
        else:
            settings |= {"type": TYPES[option.kind], "default": option.default, "multiple": option.kind == "files"}
            settings |= {"show_default": option.default is not None}
        command = click.option(*names, **settings)(command)
    return command


@dataclass(frozen=True)
class Asked:
    """What was asked for on a command line or in a form."""

    profile: str = "demo"
    base_url: str = "http://127.0.0.1:8000"
    model: str | None = None
    rate: float | None = None
    arrivals: Law | None = None
    burstiness: float | None = None
    streams: int | None = None
    requests: int | None = None
    duration: float | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    seed: int | None = None
    workers: int | None = None
    no_gates: bool = False
    candidate: str | None = None
    candidate_model: str | None = None
    engines: str | None = None
    agents: str | None = None
    report_dir: Path | None = None
    api_key_env: str | None = None
    api_key_file: Path | None = None
    ca_cert: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    attach: tuple[Path, ...] = ()

    def load_profile(self) -> Profile:
        """The profile with what was asked for in its place. Raises Refused."""
        profile = load_profile(
            self.profile,
            self.rate,
            self.duration,
            self.seed,
            streams=self.streams,
            arrivals=self.arrivals,
            burstiness=self.burstiness,
            requests=self.requests,
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            workers=self.workers,
            no_gates=self.no_gates,
        )
        sources = {"engines": _addresses(self.engines), "agents": _addresses(self.agents)}
        return profile.sampling({name: addresses for name, addresses in sources.items() if addresses})

    def run(self, profile: Profile, say: Callable[[str], None]) -> Run:
        """The run of this profile. Raises Refused or CannotObserve."""
        return Run(
            Path(self.profile).stem,
            profile,
            self.target(self.base_url),
            self.model,
            say=say,
            candidate=None if self.candidate is None else self.target(self.candidate),
            candidate_model=self.candidate_model,
            ca_cert=self.ca_cert,
        )

    def target(self, url: str) -> Target:
        """The endpoint at this URL. Raises Refused or CannotObserve."""
        return target_of(url, self._api_key(), self.ca_cert, self.client_cert, self.client_key)

    def _api_key(self) -> str | None:
        """The key; it never comes on a command line, where others could read it."""
        if self.api_key_env is not None and self.api_key_file is not None:
            raise Refused("--api-key-env and --api-key-file: give one of them")
        if self.api_key_file is not None:
            try:
                return self.api_key_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                said = error.strerror if isinstance(error, OSError) else "not UTF-8"
                raise Refused(f"--api-key-file {self.api_key_file}: {said}") from error
        if self.api_key_env is None:
            return None
        if self.api_key_env not in os.environ:
            raise Refused(f"--api-key-env {self.api_key_env}: there is no such environment variable: export it")
        return os.environ[self.api_key_env]


def _addresses(text: str | None) -> list[str]:
    return [address for part in (text or "").split(",") if (address := part.strip())]
