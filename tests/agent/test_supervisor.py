"""The engine's processes, with small real ones in vLLM's place: output, exit, orphans, and an end without remainder."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.agent.procfs import descendants, read_process, title
from serving.agent.supervisor import Supervisor
from serving.errors import CannotAct


class Watching:
    """A supervisor and everything it told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.exits: list[int] = []
        self.lost: list[str] = []
        self.supervisor = Supervisor(self.lines.append, self.exits.append, self.lost.append)


def supervise(script: str, until: Callable[[Watching], object], timeout_s: float = 60) -> Watching:
    """Run a Python script as the engine until something is true, then close."""

    async def work() -> Watching:
        watching = Watching()
        watching.supervisor.start([sys.executable, "-u", "-c", script], os.environ)
        try:
            async with asyncio.timeout(timeout_s):
                while not until(watching):
                    watching.supervisor.look()
                    await asyncio.sleep(0.02)
        finally:
            watching.supervisor.close()
        return watching

    return asyncio.run(work())


def test_every_line_arrives_once_whether_it_ends_in_newline_or_carriage_return(capfd: pytest.CaptureFixture[str]):
    script = (
        r"import sys; sys.stdout.write('a\nb 10%\rb 20%\rb 30%\n'); sys.stderr.write('error\n'); sys.stdout.write('c')"
    )
    told = supervise(script + "; sys.stdout.write('\\n')", lambda watching: watching.exits)
    assert sorted(told.lines) == ["a", "b 10%", "b 20%", "b 30%", "c", "error"]
    assert "b 10%\rb 20%\rb 30%\n" in capfd.readouterr().out.replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param("raise SystemExit(3)", 3, id="its own code"),
        pytest.param("import os; os.kill(os.getpid(), 9)", -9, id="killed"),
    ],
)
def test_the_exit_is_told_once_and_after_the_last_line(script: str, code: int):
    told = supervise("print('last words');" + script, lambda watching: watching.exits)
    assert told.exits == [code]
    assert told.lines == ["last words"]
    assert told.supervisor.exit_code == code
    assert told.supervisor.pid is None


# A child that renames itself as vLLM's are named, in a session of its own, so that no process group reaches it.
CORE = (
    "import ctypes, os, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    ctypes.CDLL(None).prctl(15, b'VLLM::EngineCore', 0, 0, 0)\n"
    "    print(os.getpid()); time.sleep({core})\n"
    "    os._exit(0)\n"
    "time.sleep({parent})\n"
)


def test_the_death_of_an_engine_process_is_told_while_its_parent_lives():
    told = supervise(CORE.format(core=0.5, parent=60), lambda watching: watching.lost)
    assert told.exits == []
    assert f"(pid {told.lines[0]}) died" in told.lost[0]


@pytest.mark.parametrize("parent", [pytest.param(60, id="below its parent"), pytest.param(0.2, id="orphaned")])
def test_closing_ends_a_grandchild_in_another_session_too(parent: float):
    def ready(watching: Watching) -> bool:
        return bool(watching.lines) and (parent > 1 or bool(watching.exits))

    told = supervise(CORE.format(core=60, parent=parent), ready)
    gone = read_process(int(told.lines[0]))
    assert gone is None or gone.state == "Z"
    assert [process.pid for process in descendants(os.getpid())] == [os.getpid()]


def test_an_engine_that_floods_its_output_is_neither_blocked_nor_cut():
    told = supervise("for n in range(20000): print(n, 'x' * 80)", lambda watching: watching.exits)
    assert len(told.lines) == 20000


def test_a_command_that_cannot_be_run_is_one_line():
    async def work() -> None:
        Watching().supervisor.start(["/no/such/vllm"], {})

    with pytest.raises(CannotAct, match="No such file or directory; see --engine-command"):
        asyncio.run(work())


def test_procfs_reads_this_process_and_not_one_that_is_gone(tmp_path: Path):
    me = read_process(os.getpid())
    assert me is not None
    assert me.parent == os.getppid()
    assert me.resident_bytes > 1e6
    speaks = [sys.executable, "-c", "print('up', flush=True); input()"]
    with subprocess.Popen(speaks, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()  # in the midst of its exec a process has no command line
        assert title(other.pid) == sys.executable
        other.communicate(b"\n")
    assert read_process(2**22 + 1) is None
    assert title(2**22 + 1) == ""
