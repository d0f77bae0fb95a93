"""Locust as the shell of the same engine: `locust -f loadtest/locustfile.py --host URL`, with its web UI or --headless.

The profile says how much, so users and spawn rate have no meaning: a shape keeps one User for each load process, which
carries the run and ends with it. Each stream becomes one Locust request event (E2E from the scheduled time). With
--processes or --master, workers carry out shards of the one schedule, and the master keeps the ledger and judges. The
exit code is that of our own gates and begins at 3. `warmgate loadtest` drives the engine without Locust.
"""

from __future__ import annotations

import signal
import sys
from typing import Any, Final
from weakref import WeakKeyDictionary

import gevent
from gevent.event import Event
from locust import LoadTestShape, User, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtest.options import OPTIONS
from loadtest.session import NOT_JUDGED, Session
from loadtest.station import Station
from loadtest.web_tab import add_tab
from loadtest.workers_remote import ORDER, REPORT, Post
from serving.child import die_with_parent

CONCLUDE_WAIT_S: Final = 60.0
SHOWN_S: Final = 5.0  # Locust keeps an answer for 2 s, and its UI asks every 2 s
STOP_TIMEOUT_S: Final = 2.0  # what open streams need, they get in `stop`: this is for the Users alone
NO_MEANING: Final = {"num_users": "--users", "spawn_rate": "--spawn-rate", "run_time": "--run-time"}


class Shell:
    """What belongs to one Locust environment: its session, or on a worker its station."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self.session: Session | None = None
        self.post: Post | None = None
        self.station: Station | None = None
        self.stopping = Event()
        runner = environment.runner
        if isinstance(runner, MasterRunner):
            self.post = Post()
            runner.register_message(REPORT, self.post)
        elif isinstance(runner, WorkerRunner):
            self.station = Station(runner)
            runner.register_message(ORDER, self.station.obey)

    def begin(self) -> None:
        """Begin a run, or be ready to serve one."""
        self.stopping.clear()
        if self.station is None:
            self.session = Session(self._environment, self.post)

    def stop(self, why: str) -> None:
        """Cut short what runs: open streams are recorded as censored."""
        self.stopping.set()
        if self.session is not None:
            self.session.stop(why)
        if self.station is not None:
            self.station.stop()

    def wait(self) -> None:
        """Wait for the report, or until all is reported to the master."""
        if self.session is not None:
            self.session.wait(CONCLUDE_WAIT_S)
        if self.station is not None:
            self.station.wait(CONCLUDE_WAIT_S)


SHELLS: Final = WeakKeyDictionary[Environment, Shell]()


class Carrier(User):
    """Stands for one load process: Locust's count of users is the count of those. It ends when all is recorded."""

    @task
    def carry(self) -> None:
        """Wait until Locust stops the test, and then until nothing is lost any more."""
        shell = SHELLS[self.environment]
        shell.stopping.wait()
        shell.wait()


class ProfileShape(LoadTestShape):
    """The shape of the profile: a User for each load process, until the schedule and its last streams have ended."""

    def reset_time(self) -> None:
        """A test begins: what was before it has no say any more."""
        super().reset_time()
        shell = self._shell()
        if shell is not None and shell.session is not None and shell.session.over:
            shell.session = None

    def tick(self) -> tuple[int, float] | None:
        """How many users, and how many of them to start a second; None ends the test."""
        shell = self._shell()
        if shell is not None and shell.session is not None and shell.session.over_for(self._shown_s()):
            return None
        processes = self._processes()
        if processes == 0:
            sys.stderr.write("warmgate: no worker is connected: start some with --worker\n")
            return None
        return processes, processes

    def _shell(self) -> Shell | None:
        return None if self.runner is None else SHELLS.get(self.runner.environment)

    def _shown_s(self) -> float:
        """How long to go on when all is over: a web UI asks for figures only as long as the test runs."""
        return 0.0 if self.runner is None or self.runner.environment.web_ui is None else SHOWN_S

    def _processes(self) -> int:
        if not isinstance(self.runner, MasterRunner):
            return 1
        if self.runner.state in ("spawning", "running"):
            return self.runner.target_user_count  # a worker that is lost is not replaced: its requests have no record
        return len(self.runner.clients.ready)


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    """The harness's own options, beside Locust's. Those that name files, keys or processes stay out of the web form."""
    for option in OPTIONS:
        if option.name == "profile":  # Locust has one
            continue
        names = [f"--{option.name}", *([option.also] if option.also else [])]
        settings: dict[str, Any] = {"env_var": option.variable, "help": option.help, "include_in_web_ui": option.web}
        if option.kind == "flag":
            settings |= {"action": "store_true"}
        elif option.kind == "files":
            settings |= {"action": "append"}
        elif option.kind == "law":
            settings |= {"choices": ["", "constant", "poisson", "gamma"], "default": ""}
        else:
            settings |= {"default": ""}
        parser.add_argument(*names, **settings)


@events.init.add_listener
def fail_first(environment: Environment, **_: Any) -> None:
    """Begin with a failing exit code; say what has no meaning here."""
    environment.process_exit_code = NOT_JUDGED
    shell = SHELLS[environment] = Shell(environment)
    environment.stop_timeout = environment.stop_timeout or STOP_TIMEOUT_S
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    if shell.station is not None:
        if getattr(environment.parsed_options, "processes", None):  # a fork of the master: without it, nothing is left
            die_with_parent(signal.SIGKILL)
        signal.signal(signal.SIGINT, lambda *_: _interrupted(environment, shell))
        return
    options = environment.parsed_options
    given = [option for name, option in NO_MEANING.items() if getattr(options, name, None) is not None]
    if given:
        sys.stderr.write(f"warmgate: {', '.join(given)}: no meaning here: the profile says how much and how long\n")
    if environment.web_ui is not None:
        add_tab(environment.web_ui, lambda: shell.session)


def _as_ctrl_c(*_: object) -> None:
    """What SIGTERM does. With a shape and without a web UI, Locust heeds it only when the shape has ended."""
    raise KeyboardInterrupt


def _interrupted(environment: Environment, shell: Shell) -> None:
    """Ctrl-C in a worker: report first what is open, then quit. A run that loses a worker so is not judged."""
    if shell.station is None or not shell.station.busy:
        raise KeyboardInterrupt
    shell.station.stop()

    def quit_after() -> None:
        shell.wait()
        if environment.runner is not None:
            environment.runner.quit()

    gevent.spawn(quit_after)


@events.test_start.add_listener
def begin(environment: Environment, **_: Any) -> None:
    """Locust starts its test: the run begins, or on a worker its service."""
    shell = SHELLS.get(environment)
    if shell is not None:
        shell.begin()
        if environment.shape_class is None and shell.session is not None:  # a locustfile that took the User alone
            gevent.spawn(_end_without_shape, environment, shell.session)


def _end_without_shape(environment: Environment, session: Session) -> None:
    session.wait()
    if environment.runner is not None:
        (environment.runner.quit if environment.web_ui is None else environment.runner.stop)()


@events.test_stopping.add_listener
def stop(environment: Environment, **_: Any) -> None:
    """Locust stops its test: wait here for what is open to be recorded, before it takes our means to do so away.

    But not in one of the master's own greenlets: they bring the workers' reports.
    """
    shell = SHELLS.get(environment)
    if shell is None:
        return
    shell.stop("Locust stopped the test")
    runner = environment.runner
    if not isinstance(runner, MasterRunner) or gevent.getcurrent() not in runner.greenlet:
        shell.wait()


@events.quitting.add_listener
def conclude_first(environment: Environment, **_: Any) -> None:
    """Wait for the report before Locust reads the exit code."""
    shell = SHELLS.get(environment)
    if shell is None:
        return
    shell.stop("Locust is quitting")
    shell.wait()
    if shell.station is not None and shell.station.served:
        environment.process_exit_code = 0
