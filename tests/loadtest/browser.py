"""A headless Chromium that shows one page: over the DevTools protocol, on a pipe, without a port."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
FLAGS: Final = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--disable-background-networking", "--remote-debugging-pipe")  # fmt: skip
PATIENCE_S: Final = 60.0


def chromium() -> str | None:
    """The browser's path, where it is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One page. What it said on its console and which addresses it asked for is kept."""

    def __init__(self, process: subprocess.Popen[bytes], sink: int, source: int) -> None:
        self._process, self._sink, self._source = process, sink, source
        self._buffer, self._number, self._session = b"", 0, ""
        self.console: list[str] = []
        self.requested: list[str] = []
        self._asked: dict[str, str] = {}
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, path: Path, width: int, *, dark: bool = False, mobile: bool = False) -> None:
        """Show a file in a window of this width until its pictures are drawn."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=mobile)
        self.scheme(dark=dark)
        self._call("Page.navigate", url=path.as_uri())
        self.until("document.readyState === 'complete'")

    def scheme(self, *, dark: bool) -> None:
        """Prefer dark or light from now on."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[feature])

    def until(self, expression: str) -> None:
        """Wait until this is true."""
        give_up = time.monotonic() + PATIENCE_S
        while not self.value(expression):
            assert time.monotonic() < give_up, f"never true: {expression}; the console says {self.console}"
            time.sleep(0.05)

    def value(self, expression: str) -> Any:
        """What the page makes of an expression."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """The whole page as a picture."""
        found = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self, path: Path) -> None:
        """The page as it is printed."""
        path.write_bytes(base64.b64decode(self._call("Page.printToPDF", printBackground=True)["data"]))

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._sink, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._source], [], [], PATIENCE_S)
            piece = os.read(self._source, 1 << 16) if ready else b""
            assert piece, f"the browser said no more; exit code {self._process.poll()}"
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.consoleAPICalled":
            self.console.append(" ".join(str(argument.get("value")) for argument in params["args"]))
        elif method == "Runtime.exceptionThrown":
            self.console.append(str(params["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.console.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self._asked[params["requestId"]] = params["request"]["url"]
            self.requested.append(params["request"]["url"])
        elif method == "Network.loadingFailed" and params.get("blockedReason"):
            self.requested.remove(self._asked[params["requestId"]])  # it never left the browser


def _above_four(low: int) -> int:
    """The same end of a pipe under a number out of the way of 3 and 4, which are the browser's."""
    high = fcntl.fcntl(low, fcntl.F_DUPFD, 10)
    os.close(low)
    return high


@contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """A browser with its own, new profile directory, ended with the block."""
    path = chromium()
    assert path is not None
    to_browser, sink = os.pipe()
    source, from_browser = os.pipe()
    to_browser, from_browser = _above_four(to_browser), _above_four(from_browser)
    plumbing = f"exec {path} {' '.join(FLAGS)} --user-data-dir='{profile}' 3<&{to_browser} 4>&{from_browser}"
    process = subprocess.Popen(
        ["bash", "-c", plumbing],
        pass_fds=(to_browser, from_browser),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Tab(process, sink, source)
    finally:
        process.kill()
        process.wait()
        os.close(sink)
        os.close(source)
