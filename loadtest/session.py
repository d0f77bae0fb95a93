"""One run under Locust: from its options to the exit code. It knows of Locust's environment only what it touches here.

It works in a greenlet of its own, which no end of a User can kill. The exit code begins at 3, so that nothing that goes
wrong on the way can pass.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click
import gevent
from gevent.event import Event

from loadtest.carrier import Carrier, Job, Keep
from loadtest.conclude import verdict_text
from loadtest.crew import Crew
from loadtest.directory import new_directory
from loadtest.options import OPTIONS, TYPES, Asked, Option
from loadtest.orders import NAMED
from loadtest.progress import Progress
from loadtest.report import read_attachment
from loadtest.run import Run
from loadtest.verdicts import concluded
from loadtest.workers_remote import Post, RemoteWorkers
from serving.errors import CannotAct, Refused, WarmgateError
from serving.facts.traffic import Outcome, RequestSeen
from serving.report.text import color_wanted

NOT_JUDGED: Final = 3


class StreamFailed(Exception):
    """What Locust shows for a request that did not end well."""


class Session:
    """A run. With a `post`, its load comes from the workers of the environment's runner; else from here."""

    def __init__(self, environment: Any, post: Post | None) -> None:
        self._environment, self._post = environment, post
        self._why: str | None = None
        self.run: Run | None = None
        self.directory: Path | None = None
        self.verdict: str | None = None
        self.error: str | None = None
        self.over_s: float | None = None
        environment.process_exit_code = NOT_JUDGED
        self._greenlet = gevent.spawn(self._work)

    @property
    def over(self) -> bool:
        """Whether its report is written, or it failed."""
        return bool(self._greenlet.dead)

    def over_for(self, seconds: float) -> bool:
        """Whether it has been over for so long."""
        return self.over and time.monotonic() >= (self.over_s or 0.0) + seconds

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the report."""
        self._greenlet.join(seconds)

    def stop(self, why: str) -> None:
        """Cut the run short, if it is not over."""
        self._why = self._why or why
        if self.run is not None and not self.over:
            self.run.stop(why)

    def _work(self) -> None:
        try:
            self._environment.process_exit_code = self._perform()
        except WarmgateError as error:
            self.error = str(error)
            sys.stderr.write(f"warmgate: {error}\n")
            self._environment.process_exit_code = error.exit_code
        finally:
            self.over_s = time.monotonic()

    def _perform(self) -> int:
        asked = asked_of(self._environment)
        if self._post is not None:
            asked = replace(asked, workers=self._connected(asked))
        profile = asked.load_profile()
        attached = [read_attachment(path) for path in asked.attach]
        self.run = run = asked.run(profile, _say)
        run.on_record = _event_for_each(self._environment, run)
        if self._post is not None:
            run.carrier_of = self._carrier_of(asked, self._post)
        if self._why is not None:
            raise CannotAct(f"{self._why} before the run began")
        run.preflight()
        self.directory = directory = new_directory(asked.report_dir)
        shown = Progress(run) if self._environment.web_ui is None else nullcontext()
        with shown:
            traffic = run.perform(directory)
        conclusion = concluded(run, traffic, attached, directory)
        self.verdict = str(conclusion.body["verdict"])
        sys.stdout.write(verdict_text(conclusion, directory, color=color_wanted(sys.stdout, os.environ)))
        for problem in conclusion.unwritten:
            _say(f"warmgate: {problem}")
        return conclusion.exit_code

    def _connected(self, asked: Asked) -> int:
        """How many workers there are; all that are expected must be."""
        clients = self._environment.runner.clients.values()
        found = int(sum(client.state != "missing" for client in clients))
        expected = max(getattr(self._environment.parsed_options, "expect_workers", None) or 1, asked.workers or 1)
        if found < expected:
            raise CannotAct(f"{found} of {expected} workers are connected: start the others, or expect fewer")
        return found

    def _carrier_of(self, asked: Asked, post: Post) -> Callable[..., Carrier]:
        def carrier_of(job: Job, keep: Keep, stop: Event, trouble: Callable[[str], None]) -> Carrier:
            given = {name: getattr(asked, name) for name in NAMED}
            names = {name: None if value is None else str(value) for name, value in given.items()}
            return Crew(job, RemoteWorkers(self._environment.runner, post, names), keep, stop, trouble)

        return carrier_of


def asked_of(environment: Any) -> Asked:
    """The options as they are now: the web form may have changed them, and sends an empty text for an empty field."""
    options = vars(environment.parsed_options or object())
    given = {}
    for option in OPTIONS:
        value = options.get(option.name.replace("-", "_"))
        if option.name != "profile" and value not in (None, "", []):
            given[option.name.replace("-", "_")] = _typed(option, value)
    given["profile"] = environment.profile or os.environ.get("WARMGATE_PROFILE") or "demo"
    if environment.host:
        given["base_url"] = environment.host
    return Asked(**given)


def _typed(option: Option, value: Any) -> Any:
    if option.kind == "flag":
        return value is True or str(value).lower() in ("true", "1", "yes", "on")
    kind = TYPES[option.kind]
    convert = kind.convert if isinstance(kind, click.ParamType) else lambda text, *_: kind(text)
    try:
        if option.kind == "files":
            return tuple(convert(each, None, None) for each in value)
        return convert(value, None, None)
    except click.BadParameter as error:
        raise Refused(f"--{option.name} {value!r}: {error.message}") from error
    except ValueError as error:
        raise Refused(f"--{option.name} {value!r}: not a number") from error


def _event_for_each(environment: Any, run: Run) -> Callable[[RequestSeen], None]:
    def fire(request: RequestSeen) -> None:
        took_ms = None if request.end_s is None else (request.end_s - request.scheduled_s) * 1e3
        phase = run.phases[request.phase].name if request.phase < len(run.phases) else run.name
        environment.events.request.fire(
            request_type="stream",
            name=f"{phase}{request.arm and f', {request.arm}'} (E2E from schedule)",
            response_time=took_ms,
            response_length=request.completion_tokens or 0,
            exception=None if request.outcome is Outcome.OK else StreamFailed(f"{request.outcome}: {request.reason}"),
            context={},
        )

    return fire


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
