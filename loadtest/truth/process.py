"""The ground truth in a process of its own, so that its lateness is not its client's: started, steered, ended."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from loadtest.truth.program import Program
from serving.errors import CannotObserve

STEER_S: Final = 60.0
END_S: Final = 10.0


@dataclass(frozen=True)
class Truth:
    """A running server of another process."""

    url: str
    pid: int

    def summary(self) -> dict[str, Any]:
        """Its figures since the last reset. Raises CannotObserve when it does not answer."""
        found: dict[str, Any] = json.loads(self._ask("GET", "/truth"))
        return found

    def requests(self) -> list[dict[str, Any]]:
        """Its record of each request since the last reset."""
        return [json.loads(line) for line in self._ask("GET", "/truth/requests").splitlines()]

    def reset(self, program: Program | None = None) -> None:
        """Forget the figures; from now on answer by this program."""
        if program is not None:
            self._ask("POST", "/truth/program", json.dumps(asdict(program)))
        self._ask("POST", "/truth/reset")

    def freeze(self, seconds: float) -> None:
        """Send nothing for so long."""
        self._ask("POST", f"/truth/freeze?seconds={seconds}")

    def _ask(self, method: str, path: str, body: str = "") -> bytes:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=STEER_S)
        try:
            connection.request(method, path, body.encode(), {"Connection": "close"})
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise CannotObserve(f"the ground truth at {self.url} does not answer ({error}): run it again") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise CannotObserve(f"the ground truth refused {path}: {said.decode(errors='replace')[:200]}: run it again")
        return said


@contextmanager
def truth_process(program: Program | None = None, *, core: int | None = None, model: str = "truth") -> Iterator[Truth]:
    """A server in its own process, on `core` if given, for the length of the block; it ends with us in any case."""
    command = [sys.executable, "-P", "-m", "loadtest.truth", "--model", model]
    command += [] if core is None else ["--core", str(core)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip() if process.stdout is not None else ""
            if not url:
                raise CannotObserve("the ground truth did not start: run `python -m loadtest.truth` to see why")
            truth = Truth(url, process.pid)
            if program is not None:
                truth.reset(program)
            yield truth
        finally:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
