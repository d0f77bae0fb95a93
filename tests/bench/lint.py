"""`make bench-lint`: how long `warmgate lint` takes over 2,000 documents, and where the time goes.

The documents are the chart's own scenarios, rendered, under as many different names as it takes. The whole command is
timed as a process; its parts are timed in this one, so they need not add up. The yardstick is what libyaml takes to
load the same text. Prints figures; asserts nothing.
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from serving.facts.kube.manifests import Bundle
from serving.judge.lint import RULES, judge_manifests
from serving.observe.helm_chart import ChartOptions, render_chart
from serving.observe.manifests import read_manifests
from serving.report.text import render_text
from tests.helm.scenarios import CHART
from tests.rendered import scenarios

DOCUMENTS = 2000
ROUNDS = 7
COMMAND = (sys.executable, "-m", "serving.cli.main", "lint")


def write_documents(directory: Path, wanted: int = DOCUMENTS) -> int:
    """Every scenario as a release of its own, namespace after namespace, each a file; gives the number of documents."""
    written, turn = 0, 0
    while written < wanted:
        for name, values in scenarios().items():
            options = ChartOptions((values,) if values else (), (), f"{name[:12].strip('-')}-{turn}", f"team-{turn}")
            if written < wanted:
                text = "---\n".join(render_chart(CHART, options).values())
                (directory / f"{turn:03}-{name}.yaml").write_text(text)
                written += len(read_manifests([str(directory / f"{turn:03}-{name}.yaml")]).documents)
        turn += 1
    return written


def process_seconds(*arguments: str) -> float:
    began = time.perf_counter()
    done = subprocess.run([*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    assert done.returncode in (0, 1), done.stderr.decode()
    return time.perf_counter() - began


def seconds(act: Callable[[], object]) -> float:
    """The fastest of the rounds: what disturbs a measurement only ever adds."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        act()
        took.append(time.perf_counter() - began)
    return min(took)


def main() -> None:
    gc.disable()  # as the command does
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        number = write_documents(directory)
        files = sorted(directory.iterdir())
        text = "---\n".join(file.read_text() for file in files)
        whole = [process_seconds(name) for _ in range(ROUNDS)]
        start = min(process_seconds("--rules") for _ in range(ROUNDS))
        documents = read_manifests([name]).documents
        assert len(documents) == number
        read = seconds(lambda: read_manifests([name]))
        report = judge_manifests(Bundle(documents), "bench")
        judge = seconds(lambda: judge_manifests(Bundle(documents), "bench"))
        render = seconds(lambda: render_text(report))
        plain = seconds(lambda: list(yaml.load_all(text, yaml.CSafeLoader)))
    megabytes = len(text) / 1e6
    print(f"{number} documents in {len(files)} files, {megabytes:.1f} MB; {len(RULES)} rules; {report.verdict.value}")
    print(f"whole command   {statistics.median(whole):6.2f} s  median of {ROUNDS}, best {min(whole):.2f}, goal 5")
    print(f"  start         {start:6.2f} s  Python, imports, options")
    print(f"  read          {read:6.2f} s  {megabytes / read:.1f} MB/s")
    print(f"  judge         {judge:6.2f} s  {judge / number * 1e6:.0f} us a document")
    print(f"  render        {render:6.2f} s  {len(report.findings)} findings")
    ratio = min(whole) / plain
    print(f"yaml.load_all   {plain:6.2f} s  {megabytes / plain:.1f} MB/s; the command takes {ratio:.1f} times that")


if __name__ == "__main__":
    main()
