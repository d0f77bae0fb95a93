"""Locust as the shell of the same engine: `locust -f loadtest/locustfile.py --host URL`, with its web UI or --headless.

A single User carries the run: it starts our dispatcher, which walks the profile's schedule, and each stream becomes one
Locust request event (E2E from the scheduled time). The profile says how much; users and spawn rate have no meaning.
The exit code is that of our own gates and begins at 3, so that nothing that goes wrong can pass. `python -m loadtest`
drives the engine without Locust. The profile is Locust's own --profile, or WARMGATE_PROFILE.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

import gevent
from locust import User, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import LocalRunner

from loadtest.cli import api_key
from loadtest.conclude import conclude, verdict_text
from loadtest.profile import load_profile
from loadtest.progress import Progress
from loadtest.report import read_attachment
from loadtest.run import Run, new_directory
from loadtest.target import target_of
from serving.errors import Refused, WarmgateError
from serving.facts.traffic import Outcome, RequestSeen
from serving.report.text import color_wanted

NOT_JUDGED: Final = 3
CONCLUDE_WAIT_S: Final = 60.0


class StreamFailed(Exception):
    """What Locust shows for a request that did not end well."""


class Session:
    """One run under Locust: from the profile to the exit code, in a greenlet of its own that no User's end can kill."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._run: Run | None = None
        environment.process_exit_code = NOT_JUDGED
        self._greenlet = gevent.spawn(self._work)

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the report."""
        self._greenlet.join(seconds)

    def stop(self, why: str) -> None:
        """Cut the run short, if it still runs."""
        if self._run is not None and not self._greenlet.dead:
            self._run.stop(why)

    def _work(self) -> None:
        try:
            self._environment.process_exit_code = self._perform(_options(self._environment))
        except WarmgateError as error:
            sys.stderr.write(f"warmgate: {error}\n")
            self._environment.process_exit_code = error.exit_code

    def _perform(self, options: Namespace) -> int:
        name = self._environment.profile or os.environ.get("WARMGATE_PROFILE") or "demo"
        profile = load_profile(name, options.rate, options.duration, options.seed)
        if not self._environment.host:
            raise Refused("give the endpoint with --host http://HOST:PORT")
        attached = [read_attachment(Path(options.attach))] if options.attach else []
        target = target_of(
            self._environment.host,
            api_key(options.api_key_env or None),
            Path(options.ca_cert) if options.ca_cert else None,
        )
        run = Run(Path(name).stem, profile, target, options.model or None, _event_for_each(self._environment, name))
        self._run = run
        run.preflight()
        directory = new_directory(Path(options.out) if options.out else None)
        shown = Progress(run, sys.stderr) if self._environment.web_ui is None else nullcontext()
        with shown:
            traffic = run.perform(directory / "ledger.jsonl")
        conclusion = conclude(traffic, profile, attached, directory)
        sys.stdout.write(verdict_text(conclusion, directory, color=color_wanted(sys.stdout, os.environ)))
        sys.stderr.writelines(f"warmgate: {problem}\n" for problem in conclusion.unwritten)
        return conclusion.exit_code


def _event_for_each(environment: Environment, name: str) -> Callable[[RequestSeen], None]:
    def fire(request: RequestSeen) -> None:
        took_ms = None if request.end_s is None else (request.end_s - request.scheduled_s) * 1e3
        environment.events.request.fire(
            request_type="stream",
            name=f"{name} (E2E from schedule)",
            response_time=took_ms,
            response_length=request.completion_tokens or 0,
            exception=None if request.outcome is Outcome.OK else StreamFailed(f"{request.outcome}: {request.reason}"),
            context={},
        )

    return fire


SESSIONS: Final = WeakKeyDictionary[Environment, Session]()


class Carrier(User):
    """The one User that carries the run, whatever number of users was asked for."""

    fixed_count = 1

    @task
    def carry(self) -> None:
        """Run the profile once, then end Locust's test."""
        session = Session(self.environment)
        SESSIONS[self.environment] = session
        try:
            session.wait()
        finally:  # also when Locust stops its users
            session.stop("Locust stopped the test")
        runner = self.environment.runner
        if runner is not None:
            headless = self.environment.web_ui is None
            gevent.spawn(runner.quit if headless else runner.stop)
        gevent.sleep(CONCLUDE_WAIT_S)  # until Locust ends this User


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    """The harness's own options, beside Locust's. Those that name files or variables stay out of the web UI."""
    for name, shown, text in (
        ("model", True, "Served model name; empty for the first of /v1/models."),
        ("rate", True, "Arrivals per second, instead of the profile's."),
        ("duration", True, "Seconds, instead of the profile's."),
        ("seed", True, "Seed of arrivals and prompts, instead of the profile's."),
        ("out", False, "Directory of the report."),
        ("api-key-env", False, "The environment variable that holds the API key."),
        ("ca-cert", False, "PEM file of the CA to trust instead of the system's."),
        ("attach", False, "Show this report (JSON of `warmgate verify`) in report.html too."),
    ):
        variable = f"WARMGATE_{name.replace('-', '_').upper()}"
        parser.add_argument(f"--{name}", env_var=variable, default="", help=text, include_in_web_ui=shown)


def _options(environment: Environment) -> Namespace:
    """The options as they are now: the web UI may have changed them, and sends an empty text for an empty field."""
    options = environment.parsed_options or Namespace()
    for name, kind in (("rate", float), ("duration", float), ("seed", int)):
        value = getattr(options, name, None)
        try:
            setattr(options, name, None if value in (None, "") else kind(value))
        except ValueError as error:
            raise Refused(f"--{name} {value!r}: not a number") from error
    return options


@events.init.add_listener
def fail_first(environment: Environment, **_: Any) -> None:
    """Begin with a failing exit code; refuse what the engine does not do yet, rather than measure it wrongly."""
    environment.process_exit_code = NOT_JUDGED
    if not isinstance(environment.runner, LocalRunner):
        sys.stderr.write("warmgate: --master, --worker and --processes are not supported: run one Locust process\n")
        raise SystemExit(2)


@events.quitting.add_listener
def conclude_first(environment: Environment, **_: Any) -> None:
    """Wait for the report before Locust reads the exit code."""
    session = SESSIONS.get(environment)
    if session is not None:
        session.stop("Locust is quitting")
        session.wait(CONCLUDE_WAIT_S)
