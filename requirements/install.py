"""Makes the development environment: a virtual environment, the lock, the project itself, and a check of the result.

Only the standard library, since nothing is installed yet. Every refusal is one line with its remedy. The caller (make)
puts the stamp that says "ready", after this ended with 0, so an interrupted setup is never taken for a finished one.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = (3, 11)
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
TORCH_MISSING = "No matching distribution found for torch"


class Stop(Exception):
    """Setup cannot go on; the message is one line and names the remedy."""


def main(arguments: list[str]) -> int:
    """Set up the environment in the directory named by the one argument."""
    try:
        check_interpreter(sys.version_info[:2])
        directory = Path(arguments[0])
        python = environment(directory)
        install(python)
        check_result(python)
    except Stop as stop:
        print(f"setup: {stop}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; run `make setup` again to go on", file=sys.stderr)
        return 130
    print(f"setup: ready in {directory}")
    return 0


def check_interpreter(version: tuple[int, ...]) -> None:
    """The lock holds for one Python; Debian splits venv off into a package of its own."""
    if tuple(version) != PYTHON:
        need, have = ".".join(map(str, PYTHON)), ".".join(map(str, version))
        raise Stop(f"the lock is for Python {need}, this is {have}: make setup PY=/path/to/python{need}")
    if importlib.util.find_spec("ensurepip") is None:
        raise Stop("this Python cannot make virtual environments: apt-get install python3-venv")


def environment(directory: Path) -> Path:
    """The environment's interpreter; makes the environment where it is missing, half made, or of another Python."""
    python = directory / "bin" / "python"
    probe = "import pip, sys; print(*sys.version_info[:2])"
    try:
        found = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False).stdout.split()
    except OSError:
        found = []
    if found != [str(part) for part in PYTHON]:
        say(f"making {directory}")
        venv.create(directory, with_pip=True, clear=(directory / "pyvenv.cfg").exists())
    return python


def install(python: Path) -> None:
    """Install torch, the lock and the project. Nothing is resolved, so nothing beyond the lock can come in."""
    say("installing torch")
    install_torch(python)
    say("installing the lock (1.5 GB of downloads the first time)")
    pip(python, "install", "--no-deps", "--requirement", str(HERE / "lock.txt"))
    say("installing the project, editable")
    pip(python, "install", "--no-deps", "--no-build-isolation", "--editable", str(HERE.parent))


def install_torch(python: Path) -> None:
    """From the configured indexes; from PyTorch's own index of CPU builds only where those do not have it."""
    command = ["install", "--no-deps", "--requirement", str(HERE / "torch.txt")]
    code, said = pip_relayed(python, *command)
    if code and TORCH_MISSING in said:
        say(f"the configured indexes have no CPU build of torch: trying {TORCH_INDEX}")
        code, said = pip_relayed(python, *command, "--extra-index-url", TORCH_INDEX)
    if code:
        raise Stop("torch could not be installed (pip says why above): see requirements/README.md")


def check_result(python: Path) -> None:
    """Transformers must import, and pip may complain only about what README.md explains."""
    say("checking the result")
    probe = "from transformers import LlamaConfig"
    done = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Stop(f"transformers does not import ({last}): remove {python.parent.parent} and run `make setup` again")
    done = subprocess.run([python, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    complaints = {line.strip() for line in done.stdout.splitlines()} - {"", "No broken requirements found."}
    known = known_complaints((HERE / "README.md").read_text(encoding="utf-8"))
    if complaints != known:
        odd = "; ".join(sorted(complaints ^ known))
        raise Stop(f"pip check says other than requirements/README.md ({odd}): remove {python.parent.parent} and retry")


def known_complaints(readme: str) -> set[str]:
    """The lines of pip check that the README lists, each indented as a code block."""
    return set(re.findall(r"^    (\S+ \S+ requires .*)$", readme, re.MULTILINE))


def pip(python: Path, *arguments: str) -> None:
    """Run pip with its progress shown; it says itself what failed."""
    if subprocess.run([python, *_PIP, *arguments], check=False).returncode:
        raise Stop("pip failed (it says why above): put that right and run `make setup` again")


def pip_relayed(python: Path, *arguments: str) -> tuple[int, str]:
    """Run pip with its progress shown, and return its exit code and what it wrote to stderr."""
    with subprocess.Popen([python, *_PIP, *arguments], stderr=subprocess.PIPE, text=True) as process:
        said = []
        for line in process.stderr or ():
            said.append(line)
            sys.stderr.write(line)
    return process.returncode, "".join(said)


_PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")


def say(text: str) -> None:
    """One line of progress."""
    print(f"setup: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
